#!/usr/bin/env python3
"""Somebody else reads the store's file and dies: the pages it pinned are used again."""
import os
import subprocess
import sys
import time

from harness import (LONG, SANITIZED, Gateway, finish_load, program, pqb, run_cases, start_load,
                     wait_until)

HOLD = 60 if LONG else 2
AFTER = 10 if LONG else 2
CHECKPOINTS = ["--checkpoint-interval", "500ms"]
MIB = 1 << 20


def size(gateway):
    return os.path.getsize(os.path.join(gateway.data, "data.mdb"))


class Reader:
    """A snapshot of the store, held until it is killed."""

    def __init__(self, gateway):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lmdb_file.py")
        self.process = subprocess.Popen([sys.executable, script, gateway.data], stdout=subprocess.PIPE,
                                        text=True)
        assert self.process.stdout.readline() == "holding\n"

    def kill9(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def checkpoints_pass(gateway, count):
    done = gateway.stats()["checkpoint.count"]
    wait_until(lambda: gateway.stats()["checkpoint.count"] >= done + count)


def test_the_file_stops_growing_when_a_reader_died(directory):
    with Gateway(directory, *CHECKPOINTS) as gateway:
        load = start_load(gateway.target, "--pairs", 8, "--window", 4, "--duration", HOLD + AFTER + 4)
        time.sleep(1)
        begun, reader = size(gateway), Reader(gateway)
        time.sleep(HOLD)
        held = size(gateway)
        reader.kill9()
        checkpoints_pass(gateway, 2)
        freed = size(gateway)
        time.sleep(AFTER)
        after, cleared = size(gateway), gateway.stats()["store.readers_cleared"]
        finish_load(load)
        assert held > begun + MIB, "the reader pinned nothing: the test shows nothing"
        assert cleared == 1, cleared
        # A tenth of what it would have grown by at the rate of before.
        assert after - freed <= MIB / 2 + 0.1 * (held - begun) * AFTER / HOLD, (begun, held, freed, after)
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)
        return (f"held {HOLD} s the file grew by {(held - begun) / MIB:.1f} MiB, in {AFTER} s after kill -9 by "
                f"{(after - freed) / MIB:.1f} MiB")


def test_a_map_that_a_reader_filled_heals_when_it_died(directory):
    with Gateway(directory, *CHECKPOINTS, "--map-size", "16MiB", "--journal-max", "4MiB",
                 "--checkpoint-bytes", "512KiB") as gateway:
        reader = Reader(gateway)
        load = start_load(gateway.target, "--pairs", 8, "--window", 4, "--duration", 4, "--size", 1000)
        wait_until(lambda: gateway.stats()["store.degraded"] == 1, 30)
        time.sleep(1)
        gateway.ctl("status")  # it serves, and says no
        aborts, full = gateway.stats()["commit.aborts"], size(gateway)
        reader.kill9()
        wait_until(lambda: gateway.stats()["store.degraded"] == 0)
        report = finish_load(load)
        assert full <= 16 * MIB and aborts > 0
        pqb(gateway, "send", "alice", "phone", "--to", "bob", "--timeout", 20, "room again")
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)
        return (f"map of 16 MiB filled to {full / MIB:.1f} MiB, healed; accepted={report['accepted']} "
                f"lost={report['lost']}")


def test_pqbctl_killed_in_a_backup_pins_nothing(directory):
    with Gateway(directory, *CHECKPOINTS) as gateway:
        load = start_load(gateway.target, "--pairs", 8, "--window", 4, "--duration", 8 if SANITIZED else 3)
        time.sleep(0.5)
        for i in range(5):
            copy = subprocess.Popen([program("pqbctl"), "--data", gateway.data, "backup",
                                     os.path.join(directory, f"copy{i}")], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
            time.sleep(0.002 * i)
            copy.kill()
            copy.wait()
            watch = subprocess.Popen([program("pqbctl"), "--data", gateway.data, "stats"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.002 * i)
            watch.kill()
            watch.wait()
        checkpoints_pass(gateway, 2)
        before = size(gateway)
        checkpoints_pass(gateway, 2)
        after = size(gateway)
        finish_load(load)
        assert after - before <= 2 * MIB, (before, after)
        return f"in two checkpoints after it the file grew by {(after - before) / MIB:.1f} MiB"


if __name__ == "__main__":
    run_cases(globals())
