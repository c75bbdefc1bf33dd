"""What the integration tests share: a gateway on loopback with a data directory of its own, the tools,
and temporary directories that go away. Standard library only.

A test is a script with cases named test_*; run_cases() runs them and prints one line each. The
environment names the programs (meson sets it): PQB_BIN is the build directory.
"""
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

BUILD = os.environ.get("PQB_BIN", "build")
SANITIZED = os.environ.get("PQB_SANITIZED", "no") == "yes"  # slower: tests shrink their load
SECURITY = os.environ.get("PQB_SECURITY", "noise")           # of gateways that are not told
LONG = os.environ.get("PQB_LONG", "0") == "1"                # full campaigns
SKIPPED = 77                                                # meson's exit status for a skip


def program(name):
    for folder in ("gateway", "tools", "tests/integration"):
        path = os.path.join(BUILD, folder, name)
        if os.path.isfile(path):
            return path
    raise FileNotFoundError(f"{name} is not built in {BUILD}")


class Target(str):
    """A gateway's address that knows the gateway's public key; None: it speaks plaintext."""
    server_key = None

    def __new__(cls, address, server_key):
        target = super().__new__(cls, address)
        target.server_key = server_key
        return target


def environment(args, env=None):
    """A program's environment: with the key of the gateway whose address is among its arguments."""
    keys = [arg.server_key for arg in args if isinstance(arg, Target) and arg.server_key]
    return {**os.environ, **({"PQB_SERVER_KEY": keys[0]} if keys else {}), **(env or {})}


def run_tool(name, *args, stdin=None, check=0, timeout=60, env=None):
    """Runs a tool; its exit status must be `check` (None: any). Returns the finished process."""
    done = subprocess.run([program(name), *map(str, args)], input=stdin, text=True, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment(args, env), check=False)
    if check is not None and done.returncode != check:
        raise AssertionError(f"{name} {' '.join(map(str, args))}: exit {done.returncode}, not {check}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def start_tool(name, *args, **kwargs):
    """The same in the background; stdout is captured unless told."""
    kwargs = {"stdout": subprocess.PIPE, "text": True, **kwargs}
    return subprocess.Popen([program(name), *map(str, args)], env=environment(args), **kwargs)


class Gateway:
    """A paquebotd. Restarting it keeps the data directory and, once known, the port."""

    def __init__(self, directory, *options, listen=("127.0.0.1:0",), data=None, env=None,
                 security=SECURITY):
        self.data = data or os.path.join(directory, "data")
        self.log_path = os.path.join(directory, "gateway.log")
        self.options = list(map(str, options))
        self.listen = list(listen)
        self.env = {**os.environ, **(env or {})}
        self.security = security
        self.server_key = None  # once it is known
        self.process = None
        self.ready = ""

    def start(self, timeout=30):
        command = [program("paquebotd"), "--security", self.security, "--data", self.data]
        if "--auth" not in self.options:
            command += ["--auth", "any"]
        for address in self.listen:
            command += ["--listen", address]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command + self.options, stdout=subprocess.PIPE,
                                            stderr=log, env=self.env)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.ready, deadline = "", time.monotonic() + timeout
        while not self.ready.endswith("\n"):
            chunk = self.process.stdout.read()
            self.ready += (chunk or b"").decode()
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the gateway did not get ready:\n" + self.log())
            if not chunk:
                time.sleep(0.01)
        assert self.ready.startswith("ready "), self.ready
        words = [word.split("=", 1) for word in self.ready.split()[1:]]
        self.server_key = dict(words).get("server-key")
        assert (self.server_key is None) == (self.security == "plaintext"), self.ready
        self.listen = [Target(value, self.server_key) for word, value in words if word == "listen"]
        return self

    @property
    def target(self):
        return self.listen[0]

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=20):
        """SIGTERM; returns the exit status."""
        if self.process is None or self.process.poll() is not None:
            return None if self.process is None else self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def ctl(self, *args, check=0, **kwargs):
        return run_tool("pqbctl", "--data", self.data, *args, check=check, **kwargs)

    def stats(self):
        return json.loads(self.ctl("stats", "--json").stdout)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def pqb_args(gateway, verb, user, device, *args, state=None, server=None):
    state = state or os.path.join(os.path.dirname(gateway.data), "state", f"{user}.{device}")
    key = ["--server-key", gateway.server_key] if gateway.server_key else []
    return [verb, "--server", server or gateway.target, *key, "--user", user, "--device", device,
            "--state", state, *map(str, args)]


def pqb(gateway, verb, user, device, *args, state=None, server=None, **kwargs):
    """`pqb VERB` against the gateway; state (a directory) defaults to one beside the data's."""
    return run_tool("pqb", *pqb_args(gateway, verb, user, device, *args, state=state,
                                     server=server), **kwargs)


def start_pqb(gateway, verb, user, device, *args, state=None, server=None, stdin=None):
    """The same in the background, output captured. stdin: a file."""
    return subprocess.Popen([program("pqb"), *pqb_args(gateway, verb, user, device, *args,
                                                       state=state, server=server)],
                            stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def token_in(directory, token):
    """The options by which pqb reads a token: from a file."""
    path = os.path.join(directory, "token." + hashlib.sha256(token.encode()).hexdigest()[:8])
    with open(path, "w", encoding="utf-8") as out:
        out.write(token + "\n")
    return ["--token", path]


def wait_until(condition, timeout=20, interval=0.05):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("timed out waiting")
        time.sleep(interval)


def start_load(target, *args):
    """`pqbsim load` in the background; finish_load() waits for it."""
    return start_tool("pqbsim", "load", "--target", target, "--json", *args, stderr=subprocess.PIPE)


def finish_load(process, timeout=120, title="load"):
    """The report of a load that kept every promise; prints the telling figures."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode in (0, 1) and out, f"exit {process.returncode}\n{out}{err[-2000:]}"
    report = json.loads(out)
    latency = report["latency_us"]
    print(f"  {title}: " + " ".join(f"{key}={report[key]}" for key in (
        "sent", "accepted", "stored", "delivered", "nacked", "lost", "duplicated", "out_of_order",
        "unresolved", "retransmitted", "rebinds", "settle_seconds", "seed")) +
        f" accepted_p50/p99_us={latency['accepted']['p50']}/{latency['accepted']['p99']}"
        f" delivered_p50/p99_us={latency['delivered']['p50']}/{latency['delivered']['p99']}",
        flush=True)
    for promise in ("lost", "duplicated", "out_of_order", "refused_but_delivered", "unresolved",
                    "uncertain"):
        assert report[promise] == 0, f"{promise}: {json.dumps(report)}"
    assert process.returncode == 0, f"exit {process.returncode}: {json.dumps(report)}"
    assert 0 < report["accepted"] == report["delivered"], json.dumps(report)
    return report


def load(target, *args, timeout=120, title="load"):
    return finish_load(start_load(target, *args), timeout, title)


PULL_APP_HEADER = struct.Struct("=IIQIIQII")
PULL_APP_MESSAGE = 1  # a kind of record


def stored_by_pull_app(path):
    """The messages that tests/integration/pull_app.c stored, in the order it stored them."""
    with open(path, "rb") as stored:
        data = stored.read()
    at, found = 0, []
    while at < len(data):
        length, _, _, _, kind, *_ = PULL_APP_HEADER.unpack_from(data, at)
        body = data[at + PULL_APP_HEADER.size:at + PULL_APP_HEADER.size + length]
        if kind == PULL_APP_MESSAGE:
            found.append(body.decode())
        at += PULL_APP_HEADER.size + length
    return found


class Link:
    """`pqbsim link` in front of a gateway: clients go to `target`."""

    def __init__(self, target, *impairments, listen="127.0.0.1:0"):
        self.command = [program("pqbsim"), "link", "--listen", listen, "--target", target,
                        *map(str, impairments)]
        self.server_key = getattr(target, "server_key", None)
        self.process = None
        self.target = ""
        self.report = []  # what it said at its end

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        assert ready.startswith("ready listen="), ready
        self.target = Target(ready.split()[1][7:], self.server_key)
        return self

    def __exit__(self, *exc):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=10)
        self.report = out.splitlines()
        print("  link " + "; ".join(self.report), flush=True)


class Skip(Exception):
    """Raised by a case that can't run here; the text says what is missing."""


def run_cases(cases):
    """Runs test_* functions from a dict (globals()), each with a temporary directory; only those that
    the command line names, if it names any. What a case returns, the figures it measured, ends its
    line."""
    wanted = sys.argv[1:]
    unknown = [name for name in wanted if not name.startswith("test_") or name not in cases]
    if unknown:
        sys.exit(f"no such case: {' '.join(unknown)}. There are: "
                 f"{' '.join(name for name in cases if name.startswith('test_'))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # meson's timeout: clean up all the same
    failed = skipped = 0
    for name, case in [(n, c) for n, c in cases.items()
                       if n in wanted or (not wanted and n.startswith("test_"))]:
        directory = tempfile.mkdtemp(prefix="paquebot.")
        start = time.monotonic()
        try:
            told = case(directory)
            print(f"ok {name} ({time.monotonic() - start:.1f} s)" + (f": {told}" if told else ""),
                  flush=True)
        except Skip as why:
            skipped += 1
            print(f"skip {name}: {why}", flush=True)
        except Exception:  # a failed case must not hide the next
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
            log = os.path.join(directory, "gateway.log")
            if os.path.exists(log):
                with open(log, encoding="utf-8", errors="replace") as lines:
                    print("".join(lines.readlines()[-40:]), flush=True)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if failed else SKIPPED if skipped else 0)
