#!/usr/bin/env python3
"""Accepted means durable: kill -9 under load, again and again; nothing accepted is lost or doubled."""
import json
import subprocess
import time
import random

from harness import LONG, SANITIZED, Gateway, pqb, program, run_cases

KILLS = 500 if LONG else 5 if SANITIZED else 25


def test_a_message_to_somebody_offline_survives_kill_9(directory):
    with Gateway(directory) as gateway:
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--wait", "accepted", "hello, bob")
        gateway.kill9()
        gateway.start()
        got = pqb(gateway, "listen", "bob", "phone", "--count", 1, "--timeout", 20)
        assert got.stdout == "alice\thello, bob\n", got.stdout
        again = pqb(gateway, "listen", "bob", "phone", "--count", 1, "--timeout", 1, check=1)
        assert again.stdout == "", again.stdout


def test_kills_under_load_lose_and_double_nothing(directory):
    seed = random.randrange(2**32)
    print(f"seed {seed}, {KILLS} kills", flush=True)
    rng = random.Random(seed)
    with Gateway(directory) as gateway:
        load = subprocess.Popen(
            [program("pqbsim"), "load", "--target", gateway.target, "--clients", "100", "--rate",
             "500", "--duration", str(KILLS * 0.7), "--settle", "120", "--offline", "0.2", "--loss",
             "0.02", "--json", "--seed", str(seed)], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        time.sleep(1)
        kills = 0
        while kills < KILLS:
            time.sleep(rng.uniform(0.05, 0.9))
            gateway.kill9()
            gateway.start()
            kills += 1
        out, _ = load.communicate(timeout=KILLS * 2 + 200)
        report = json.loads(out)
        print(f"{kills} kills: {json.dumps(report)}", flush=True)
        assert load.returncode == 0, "the load reports a broken promise"
        assert report["accepted"] > KILLS and report["lost"] == 0
        assert report["duplicated"] == 0 and report["out_of_order"] == 0
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)


if __name__ == "__main__":
    run_cases(globals())
