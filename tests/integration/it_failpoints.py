#!/usr/bin/env python3
"""The daemon dies at every step it has a name for, under load: what was accepted arrives exactly once.

paquebotd_failpoints kills itself where PQB_FAILPOINT says (tests/integration/failpoints.c); the next life
begins at once, with the next step, on the same directory, which must verify in between. The load of
`pqbsim` goes on through all of it and accounts for every message. PQB_LONG=1: each workload by itself,
each step several times later.
"""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

from harness import (LONG, SANITIZED, Gateway, pqb, program, run_cases, run_tool, start_pqb,
                     wait_until)

CHECKPOINTS = ["--checkpoint-interval", "100ms", "--checkpoint-bytes", "64KiB", "--body-max", "20000"]
REACHED_WITHIN = 20 if SANITIZED else 8  # seconds, for a step that its trigger leads to


def steps():
    """{step: kind} of everything that PQB_FAILPOINT may name."""
    listed = run_tool("paquebotd_failpoints", env={"PQB_FAILPOINT": "list"}).stdout
    return {line.split()[0]: line.split()[1] for line in listed.splitlines()}


class Doomed(Gateway):
    """A gateway that will die at a step. In plaintext, which Raw speaks."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, security="plaintext", **kwargs)

    def begin(self, orders):
        """Starts, and returns without waiting: it may die before it is ready."""
        command = [program("paquebotd_failpoints"), "--security", self.security, "--auth", "any",
                   "--data", self.data]
        for address in self.listen:
            command += ["--listen", address]
        self.ready = ""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command + self.options, stdout=subprocess.PIPE, stderr=log,
                                            env={**self.env, "PQB_FAILPOINT": orders})
        os.set_blocking(self.process.stdout.fileno(), False)

    def is_ready(self):
        self.ready += (self.process.stdout.read() or b"").decode()
        return self.ready.endswith("\n")

    def dies(self, within):
        """Whether it dies by its own hand in so many seconds."""
        deadline = time.monotonic() + within
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if self.process.poll() is None:
            return False
        # -SIGTERM: asked to stop before it had come to catching that.
        assert self.process.returncode in (0, -signal.SIGKILL, -signal.SIGTERM), self.process.returncode
        return self.process.returncode == -signal.SIGKILL


# ------------------------------------------------------------------------- a client that abandons

class Raw:
    """As minimal_client.py, for the frames that no tool sends."""

    def __init__(self, target, user):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        host, port = target.rsplit(":", 1)
        self.socket.connect((host, int(port)))
        self.socket.settimeout(0.5)
        self.number = 0
        login = self.pack([user, "raw", "", 0, 1, 0])
        init = b"\x11\0\0\0" + os.urandom(8) + b"\0" + struct.pack(">H", len(login)) + login
        self.socket.send(init.ljust(1200, b"\0"))
        answer = self.socket.recv(1200)
        assert answer[0] == 0x13, answer
        self.cid = int.from_bytes(answer[16:24], "big") if answer[15] == 0xcf else answer[15]

    def pack(self, value):
        if isinstance(value, int):
            return b"\xcf" + struct.pack(">Q", value)
        if isinstance(value, bytes):
            return b"\xc4" + bytes([len(value)]) + value
        if isinstance(value, str):
            return b"\xd9" + bytes([len(value)]) + value.encode()
        return bytes([0x90 | len(value)]) + b"".join(map(self.pack, value))

    def ask(self, kind, fields, answer):
        self.number += 1
        body = self.pack(fields)
        self.socket.send(b"\x16" + struct.pack(">QQIH", self.cid, self.number, 0, 0) +
                         struct.pack(">BH", kind, len(body)) + body)
        while True:
            frames = self.socket.recv(1200)[23:]
            while frames:
                code, size = struct.unpack(">BH", frames[:3])
                if code == answer:
                    return frames[3:3 + size]
                frames = frames[3 + size:]


def abandon(gateway):
    """Abandons a seq that was never sent."""
    with contextlib.suppress(OSError):
        client = Raw(gateway.target, f"skipper{random.randrange(10**9)}")
        client.ask(0x20, [os.urandom(16)], 0x21)  # epoch:R, epoch:A
        client.ask(0x24, [1, [1, 1]], 0x25)       # skip:R, skip:A


# ------------------------------------------------------------------------------------ triggers

class Strangers:
    """Senders that come for the first time, each with one message to somebody new."""

    def __init__(self):
        self.sent = []
        self.under_way = []

    def send(self, gateway, body="new"):
        n = len(self.sent)
        self.sent.append((f"stranger{n}", f"friend{n}", body))
        self.under_way.append(start_pqb(gateway, "send", f"stranger{n}", "phone", "--to", f"friend{n}",
                                        "--timeout", 60, body))

    def refused(self, gateway):
        """One whose message is too long."""
        process = start_pqb(gateway, "send", f"wordy{random.randrange(10**9)}", "phone", "--to", "nobody",
                            "--timeout", 60, "x" * 20001)
        self.under_way.append(process)

    def check(self, gateway):
        """Each was told `accepted` (or refused), and each message is there, once."""
        for process in self.under_way:
            _, err = process.communicate(timeout=90)
            assert process.returncode == 0 or "too" in err, err
        for sender, friend, body in self.sent:
            got = pqb(gateway, "listen", friend, "phone", "--count", 2, "--timeout", 0.3, check=None)
            assert got.stdout == f"{sender}\t{body}\n", (friend, got.stdout, got.stderr)


def trigger_of(step, gateway, strangers, directory):
    """What leads to a step that the load by itself does not come to."""
    if step in ("put.user", "put.device", "put.epoch"):
        return lambda: strangers.send(gateway)
    if step == "put.refusal":
        return lambda: strangers.refused(gateway)
    if step == "put.skip":
        return lambda: abandon(gateway)
    if step.startswith("backup."):
        copy = os.path.join(directory, f"copy{random.randrange(10**9)}")
        return lambda: gateway.ctl("backup", copy, check=None)
    if step.startswith(("close.", "drain.")):
        return lambda: gateway.process.send_signal(signal.SIGTERM)
    return lambda: None


# -------------------------------------------------------------------------------------- rounds

def is_at_start(step):
    return step.startswith("recovery.") or step == "start.recovered"


def orders_of(step, nth):
    """Some steps are come to only after another failed."""
    before = "batch.commit:1:ENOSPC," if step == "batch.aborted" else ""
    return f"{before}{step}:{nth}:kill"


def die_once(gateway, step, nth, trigger, within):
    """One life that ends at the step. False when it was not come to; then the life ends by kill -9."""
    gateway.begin(orders_of(step, nth))
    if is_at_start(step):
        is_dead = gateway.dies(1)
        for _ in range(5):
            if is_dead:
                break
            gateway.kill9()  # with something in the journal by now
            gateway.begin(orders_of(step, nth))
            is_dead = gateway.dies(1)
    else:
        wait_until(lambda: gateway.is_ready() or gateway.process.poll() is not None, 20, 0.005)
        if gateway.process.poll() is None:
            trigger()
        is_dead = gateway.dies(within)
    if not is_dead and gateway.process.poll() is None:
        gateway.kill9()
    gateway.ctl("verify", gateway.data)
    return is_dead


class Loads:
    """Several `pqbsim load` that go on, one run after the other, until they are told to end."""

    def __init__(self, gateway, profiles, seconds):
        self.target, self.seconds = gateway.target, seconds
        self.profiles = profiles
        self.running = [self.run(profile) for profile in profiles]
        self.reports = []

    def run(self, profile):
        names = f"load{self.profiles.index(profile)}."  # two loads with the same users would be clones
        return subprocess.Popen([program("pqbsim"), "load", "--target", self.target, "--json", "--settle",
                                 "40", "--duration", str(self.seconds), "--names", names,
                                 *map(str, profile)],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def take(self, process):
        out, _ = process.communicate(timeout=self.seconds + 150)
        report = json.loads(out)
        assert process.returncode == 0, out
        for promise in ("lost", "duplicated", "out_of_order", "refused_but_delivered", "unresolved"):
            assert report[promise] == 0, out
        assert report["accepted"] == report["delivered"] > 0, out
        self.reports.append(report)

    def keep_going(self):
        for i, process in enumerate(self.running):
            if process.poll() is not None:
                self.take(process)
                self.running[i] = self.run(self.profiles[i])

    def finish(self):
        for process in self.running:
            self.take(process)
        return sum(report["accepted"] for report in self.reports)

    def kill(self):
        for process in self.running:
            process.kill()
            process.communicate()


# Not come to by a life under load; each has a case of its own.
SPECIAL = {"recovery.make", "recovery.generation", "put.generation", "put.expire", "checkpoint.expire",
           "put.forget"}
MIX = [["--clients", 40, "--rate", 200, "--offline", 0.4, "--size", 200],
       ["--clients", 6, "--rate", 10, "--offline", 0.3, "--size", 6000]]


@contextlib.contextmanager
def besides(gateway, name, directory):
    """What a workload does besides its load: backups all the time, or a restart in the middle."""
    is_over = threading.Event()

    def work():
        while not is_over.wait(0.1 if name == "backup" else 0.7):
            if name == "backup":
                copy = os.path.join(directory, "beside")
                gateway.ctl("backup", copy, check=None)
                shutil.rmtree(copy, ignore_errors=True)
            elif gateway.process.poll() is None:
                gateway.process.send_signal(signal.SIGTERM)

    thread = threading.Thread(target=work)
    if name in ("backup", "restart"):
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        if thread.ident:
            thread.join()


def campaign(directory, gateway, loads, plan, within, must_reach, workload=""):
    """Dies at every step of `plan` ((step, nth) pairs). Returns those it came to, and how many messages were
    accepted; none was lost."""
    strangers, reached = Strangers(), []
    with besides(gateway, workload, directory):
        for step, nth in plan:
            loads.keep_going()
            if die_once(gateway, step, nth, trigger_of(step, gateway, strangers, directory), within):
                reached.append((step, nth))
            else:
                assert not must_reach, f"{step} was never come to\n{gateway.log()[-2000:]}"
    gateway.start()
    accepted = loads.finish()
    strangers.check(gateway)
    assert gateway.stop() == 0
    gateway.ctl("verify", gateway.data)
    return reached, accepted + len(strangers.sent)


def plan_of(names, times):
    """(step, nth) for each; those that a life comes to once, or seldom, at their first time."""
    once = ("recovery.scan", "recovery.commit", "recovery.committed", "start.recovered", "close.", "drain.",
            "backup.", "put.refusal", "put.skip", "put.user", "put.epoch", "batch.aborted")
    plan = [(step, nth) for step in names for nth in ([1] if step.startswith(once) else times)]
    random.shuffle(plan)
    return plan


def test_no_trace_in_what_is_shipped(_):
    with open(program("paquebotd"), "rb") as shipped, \
            open(program("paquebotd_failpoints"), "rb") as test_build:
        name = b"\0PQB_FAILPOINT\0"
        assert name in test_build.read()
        assert name not in shipped.read()


def test_a_wrong_order_is_refused(_):
    for wrong, why in (("put.mgs:1:kill", "no step 'put.mgs'"), ("put.msg:0:kill", "number from 1"),
                       ("put.msg:1x:kill", "number from 1"), ("put.msg:1:EWHAT", "no action"),
                       ("put.msg:1:sleep:", "milliseconds"), ("put.msg", "STEP:NTH:ACTION"), ("", "empty"),
                       ("put.msg:1:kill,x", "STEP:NTH:ACTION")):
        done = run_tool("paquebotd_failpoints", "--check-config", env={"PQB_FAILPOINT": wrong}, check=2)
        assert why in done.stderr and done.stdout == "", (wrong, done.stderr)
    run_tool("paquebotd_failpoints", "--auth", "any", "--check-config",
             env={"PQB_FAILPOINT": "put.msg:3+:ENOSPC,batch.commit:1:sleep:5"})


def send(gateway, texts, to="bob"):
    pqb(gateway, "send", "alice", "phone", "--to", to, "--timeout", 30, stdin="".join(t + "\n" for t in texts))


def receive(gateway, count, seconds=20, user="bob", device="phone"):
    """At most `count` bodies; waits a little for one too many."""
    got = pqb(gateway, "listen", user, device, "--count", count, "--timeout", seconds, check=None)
    return [line.split("\t")[1] for line in got.stdout.splitlines()]


def die_at(gateway, step, trigger=lambda: None):
    assert die_once(gateway, step, 1, trigger, REACHED_WITHIN), f"{step} was never come to\n{gateway.log()}"


def test_a_new_store_that_died_unmade_is_made(directory):
    gateway = Doomed(directory, *CHECKPOINTS)
    gateway.begin(orders_of("recovery.make", 1))
    assert gateway.dies(REACHED_WITHIN)
    with gateway:
        send(gateway, ["first"])
        assert receive(gateway, 1) == ["first"]
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)


def test_deaths_while_a_backup_is_brought_back(directory):
    texts = [f"before {i}" for i in range(5)]
    copy = os.path.join(directory, "copy")
    with Doomed(directory, *CHECKPOINTS) as gateway:
        send(gateway, texts)
        gateway.ctl("backup", copy)
        assert receive(gateway, 5) == texts  # bob's client is ahead of the copy
        send(gateway, ["never in the copy"])
        gateway.stop()
        gateway.data = copy
        die_at(gateway, "recovery.generation")
        again = []
        die_at(gateway, "put.generation", lambda: again.append(start_pqb(
            gateway, "send", "alice", "tablet", "--to", "bob", "--timeout", 60, "after",
            state=os.path.join(directory, "tablet"))))
        gateway.start()
        assert again[0].wait(60) == 0
        assert receive(gateway, 1) == ["after"]  # what bob had is not handed to him again
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)


def test_deaths_while_messages_expire(directory):
    texts = [f"letter {i:02}" for i in range(30)]
    with Doomed(directory, "--retention-messages", "10", "--checkpoint-interval", "1d") as gateway:
        send(gateway, texts)
        gateway.stop()
        for step in ("put.expire", "checkpoint.expire"):
            die_at(gateway, step, lambda: gateway.ctl("checkpoint", check=None))
        gateway.start()
        gateway.ctl("checkpoint")
        wait_until(lambda: gateway.stats()["msg.expired"] == 20)
        assert receive(gateway, 10) == texts[20:]
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)


def test_a_death_while_a_device_is_forgotten(directory):
    with Doomed(directory, *CHECKPOINTS) as gateway:
        send(gateway, ["one"])
        assert receive(gateway, 1) == ["one"]
        send(gateway, ["two"])
        gateway.stop()
        gateway.env["PQB_DEVICE_IDLE_MS"] = "100"
        die_at(gateway, "put.forget")
        gateway.start()
        assert receive(gateway, 1) == ["two"]
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)


def test_kills_at_every_step_lose_and_double_nothing(directory):
    plan = plan_of([step for step in steps() if step not in SPECIAL], [random.randint(1, 3)])
    with Doomed(directory, *CHECKPOINTS) as gateway:
        gateway.stop()
        loads = Loads(gateway, MIX, len(plan) * 0.3)
        try:
            begun = time.monotonic()
            reached, accepted = campaign(directory, gateway, loads, plan, REACHED_WITHIN, True)
        finally:
            loads.kill()
    return (f"killed once at each of {len(reached)} steps in {time.monotonic() - begun:.0f} s: "
            f"accepted={accepted} lost=0 duplicated=0 out_of_order=0, verify clean after each")


def profiles():
    """Workload -> (loads, options of the gateway)."""
    slow = ["--checkpoint-interval", "1d", "--body-max", "20000"]
    return {
        "login": ([["--clients", 60, "--rate", 30, "--offline", 0.9]], slow),
        "send": ([["--pairs", 10, "--window", 4]], slow),
        "large": ([["--clients", 8, "--rate", 15, "--size", 12000, "--offline", 0.3]], CHECKPOINTS),
        "acknowledge": ([["--clients", 40, "--rate", 300, "--offline", 0.5]], slow),
        "checkpoint": ([["--clients", 40, "--rate", 400, "--offline", 0.6, "--size", 1000]], CHECKPOINTS),
        "backup": (MIX, CHECKPOINTS),
        "restart": (MIX, CHECKPOINTS),
    }


def every_step_under_every_workload(directory):
    names = [step for step in steps() if step not in SPECIAL]
    accepted, pairs, deaths = 0, set(), 0
    for name, (loads_of, options) in profiles().items():
        where = os.path.join(directory, name)
        os.makedirs(where)
        with Doomed(where, *options) as gateway:
            gateway.stop()
            loads = Loads(gateway, loads_of, 20)
            try:
                reached, count = campaign(where, gateway, loads, plan_of(names, [1, 4, 20]), 1.5, False, name)
            finally:
                loads.kill()
        accepted, deaths = accepted + count, deaths + len(reached)
        pairs |= {(step, name) for step, _ in reached}
        missing = sorted(set(names) - {step for step, _ in reached})
        print(f"  {name}: {len(reached)} deaths, accepted={count}, not come to: {' '.join(missing) or 'none'}",
              flush=True)
    assert {step for step, _ in pairs} == set(names)
    return (f"{len(pairs)} pairs of step and workload, {deaths} kills: accepted={accepted} lost=0 "
            "duplicated=0 out_of_order=0, verify clean after each")


if LONG:
    def test_kills_at_every_step_under_every_workload(directory):
        return every_step_under_every_workload(directory)


if __name__ == "__main__":
    run_cases(globals())
