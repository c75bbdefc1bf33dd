#!/usr/bin/env python3
"""Accepted means durable: kill -9 under load, again and again; nothing accepted is lost or doubled."""
import json
import os
import time
import random

from harness import BUILD, LONG, SANITIZED, Gateway, pqb, run_cases, start_load

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
    return kills_under_load(directory, KILLS)


def kills_under_load(directory, count, env=None):
    seed = random.randrange(2**32)
    print(f"seed {seed}, {count} kills", flush=True)
    rng = random.Random(seed)
    with Gateway(directory, env=env) as gateway:
        load = start_load(gateway.target, "--clients", 100, "--rate", 500, "--duration", count * 0.7,
                          "--settle", 120, "--offline", 0.2, "--loss", 0.02, "--seed", seed)
        time.sleep(1)
        kills = 0
        while kills < count:
            time.sleep(rng.uniform(0.05, 0.9))
            gateway.kill9()
            gateway.start()
            kills += 1
        out, _ = load.communicate(timeout=count * 2 + 200)
        report = json.loads(out)
        print(f"{kills} kills: {json.dumps(report)}", flush=True)
        assert load.returncode == 0, "the load reports a broken promise"
        assert report["accepted"] > count and report["lost"] == 0
        assert report["duplicated"] == 0 and report["out_of_order"] == 0
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)
        return (f"{kills} kills: accepted={report['accepted']} lost={report['lost']} "
                f"duplicated={report['duplicated']} out_of_order={report['out_of_order']}, verify clean")


if LONG:
    def test_kills_on_a_disk_slower_by_2_ms_a_sync(directory):
        return kills_under_load(directory, 50, slow_disk(2000))

    def test_kills_on_a_disk_slower_by_10_ms_a_sync(directory):
        return kills_under_load(directory, 50, slow_disk(10000))


def slow_disk(us):
    """The environment of a gateway whose syncs take so many microseconds longer."""
    return {"LD_PRELOAD": os.path.join(BUILD, "tests", "integration", "slow_disk.so"),
            "SLOW_DISK_US": str(us)}


if __name__ == "__main__":
    run_cases(globals())
