#!/usr/bin/env python3
"""The wall clock jumps, under load and across restarts: nothing expires early, no session ends."""
import glob
import json
import os
import time

from harness import LONG, SANITIZED, Gateway, Skip, finish_load, pqb, run_cases, start_load, wait_until

DAY = 86400
JUMPS = {"+1d": DAY, "+10y": 3650 * DAY, "-1d": -DAY, "-10y": -3650 * DAY}
HOLD = 15 if LONG else 1  # seconds between jumps
CLIENTS, RATE = (1000, 1000) if LONG else (100, 200)


class Clock:
    """The wall clock that a gateway sees; its monotonic clock is left alone."""

    def __init__(self, directory):
        libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if SANITIZED or not libraries:
            raise Skip("a sanitizer comes first" if SANITIZED else "the package faketime is missing")
        self.path = os.path.join(directory, "clock")
        self.set(0)
        self.env = {"LD_PRELOAD": libraries[0], "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, seconds):
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.write(f"{seconds:+d}\n")
        os.replace(self.path + ".new", self.path)


def inbox(gateway):
    return json.loads(gateway.ctl("user", "bob", "--json").stdout)["inbox_count"]


def send(gateway, body):
    """Sends to bob, who is away, and returns how far from ours the gateway's clock was."""
    pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--wait", "accepted", body)
    messages = json.loads(gateway.ctl("inbox", "bob", "--json").stdout)["messages"]
    return messages[-1]["time"] / 1000 - time.time()


def test_jumps_under_load_end_no_session_and_expire_nothing(directory):
    clock = Clock(directory)
    retention = 10 * HOLD  # looks every eighth of its time: while the clock is ahead, too
    with Gateway(directory, "--retention", f"{int(retention * 1000)}ms", "--checkpoint-interval", "500ms",
                 env=clock.env) as gateway:
        load = start_load(gateway.target, "--clients", CLIENTS, "--rate", RATE, "--duration",
                          (len(JUMPS) + 1) * HOLD, "--series")
        wait_until(lambda: gateway.stats()["session.current"] >= CLIENTS)
        begun = time.monotonic()
        send(gateway, "before")
        for name, jump in JUMPS.items():
            clock.set(jump)
            assert abs(send(gateway, name) - jump) < 5, "the gateway does not see the jump"
            time.sleep(HOLD)
        kept, age = inbox(gateway), time.monotonic() - begun
        stats = gateway.stats()
        report = finish_load(load, title="load")
        told = (f"{len(JUMPS)} jumps ({' '.join(JUMPS)}): {report['logins'] - CLIENTS} logins repeated, "
                f"{stats['msg.expired']} expired, {report['lost']} lost, "
                f"p99 {report['latency_us']['accepted']['p99'] / 1e3:.0f} ms")
        assert age < retention, f"the machine was too slow: {age:.1f} s"
        assert kept == len(JUMPS) + 1 and stats["msg.expired"] == 0, told
        assert report["logins"] == CLIENTS and stats["store.clock_doubted"] == 0, told
        # And retention does go on, by time that has really passed.
        wait_until(lambda: inbox(gateway) < kept, timeout=2 * retention)
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)
    return told


def test_a_jump_across_a_restart_expires_nothing_until_confirmed(directory):
    clock = Clock(directory)
    with Gateway(directory, "--retention", "30d", "--checkpoint-interval", "100ms",
                 env=clock.env) as gateway:
        send(gateway, "before")
        for name, jump in JUMPS.items():
            gateway.kill9()
            clock.set(jump)
            gateway.start()
            assert abs(send(gateway, name) - jump) < 5, "the gateway does not see the jump"
            gateway.ctl("checkpoint")
            doubted = gateway.stats()["store.clock_doubted"]
            assert doubted == (jump > 0), (name, doubted)
            assert ("confirm-clock" in gateway.log()) >= doubted
        kept = inbox(gateway)
        assert kept == len(JUMPS) + 1 and gateway.stats()["msg.expired"] == 0, kept
        # The operator says that ten years have passed.
        gateway.kill9()
        clock.set(JUMPS["+10y"])
        gateway.start()
        assert gateway.stats()["store.clock_doubted"] == 1
        gateway.ctl("confirm-clock")
        wait_until(lambda: gateway.stats()["store.clock_doubted"] == 0)
        assert gateway.stop() == 0
        gateway.start()  # retention looks at start
        assert gateway.stats()["store.clock_doubted"] == 0
        wait_until(lambda: inbox(gateway) == 0)
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)
    return f"{len(JUMPS)} jumps ({' '.join(JUMPS)}): {kept} of {kept} kept, those ahead doubted, gone when confirmed"


if __name__ == "__main__":
    run_cases(globals())
