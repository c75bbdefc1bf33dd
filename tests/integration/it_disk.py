#!/usr/bin/env python3
"""A disk that is full, and one that is slow: nothing accepted is lost, and it heals by itself."""
import contextlib
import json
import os
import subprocess
import tempfile
import time

from harness import (BUILD, LONG, SANITIZED, Gateway, finish_load, load, pqb, run_cases, start_load, start_pqb,
                     wait_until)

SHIM = os.path.join(BUILD, "tests", "integration", "slow_disk.so")
BODY = 1000


def shim(**settings):
    """The environment of a gateway whose disk misbehaves."""
    options = os.environ.get("ASAN_OPTIONS", "")
    return {"LD_PRELOAD": SHIM, "ASAN_OPTIONS": options + ":verify_asan_link_order=0",
            **{"SLOW_DISK_" + name: str(value) for name, value in settings.items()}}


@contextlib.contextmanager
def small_disk(directory, megabytes):
    """A data directory on a disk of that size, and the environment that its gateway needs. A real
    file system for root; for others writes fail from that size of a file on."""
    where = os.path.join(directory, "disk")
    os.makedirs(where)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", where]
    if os.geteuid() == 0 and subprocess.run(mount, stderr=subprocess.DEVNULL,
                                            check=False).returncode == 0:
        try:
            yield os.path.join(where, "data"), {}
        finally:
            subprocess.run(["umount", "-l", where], check=True)
    else:
        print("  (no mount allowed: a shim refuses the writes)", flush=True)
        yield os.path.join(where, "data"), shim(BYTES=megabytes << 20)


def fill_until_refused_then_drain(gateway, directory, count, is_small=False):
    """alice sends `count` messages, more than the disk holds, to bob, who is away. bob comes back
    when she is refused. All must arrive, each once and in order."""
    memory = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)

    def states(name):  # not on the disk that is full; and clients need not wait for one
        return os.path.join(memory.name, name)

    lines = [f"{i:06d} " + "x" * (BODY - 7) for i in range(count)]
    path = os.path.join(directory, "lines")
    with open(path, "w", encoding="ascii") as out:
        out.write("".join(line + "\n" for line in lines))
    with open(path, encoding="ascii") as source:
        sender = start_pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--wait", "accepted",
                           "--timeout", 150, stdin=source, state=states("alice"))

    def refusals(stats):
        return stats["nack.storage"] + stats["nack.busy"]

    wait_until(lambda: refusals(gateway.stats()) > 0 or sender.poll() is not None, timeout=60)
    wait_until(lambda: gateway.stats()["store.degraded"] == 1)
    time.sleep(1)
    stats = gateway.stats()
    stored = stats["msg.accepted"]
    figures = (f"accepted {stored} of {count}, then refused {refusals(stats)}, "
               f"{stats['commit.aborts']} batches given up")
    print(f"  {figures}", flush=True)
    assert 0 < stored < count, stored
    assert sender.poll() is None, sender.communicate()
    assert json.loads(gateway.ctl("user", "bob", "--json").stdout)["inbox_count"] == stored

    # Neither a restart nor a crash on a full disk loses anything; somebody else takes the last blocks.
    assert gateway.stop() == 0
    with contextlib.suppress(OSError), open(os.path.join(os.path.dirname(gateway.data), "junk"),
                                            "wb", buffering=0) as junk:
        while is_small and junk.write(b"x" * 4096):
            pass
    gateway.start()
    gateway.kill9()
    gateway.start()
    assert json.loads(gateway.ctl("user", "bob", "--json").stdout)["inbox_count"] >= stored

    bob = start_pqb(gateway, "listen", "bob", "phone", "--count", count, "--timeout", 120,
                    state=states("bob"))
    out, err = bob.communicate(timeout=140)
    got = [line.split("\t")[1] for line in out.splitlines()]
    assert got == lines, (len(got), err, sender.poll())
    out, err = sender.communicate(timeout=30)
    assert sender.returncode == 0, err
    wait_until(lambda: json.loads(gateway.ctl("user", "bob", "--json").stdout)["inbox_count"] == 0)
    wait_until(lambda: gateway.stats()["store.degraded"] == 0)
    pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--timeout", 20, "room again",
        state=states("alice"))
    assert gateway.stop() == 0
    gateway.ctl("verify", gateway.data)
    return f"{figures}; then all {count} arrived once, in order, and room came back by itself"


def test_a_full_file_system_refuses_loses_nothing_and_heals(directory):
    megabytes, count = (64, 40000) if LONG else (16, 9000)
    with small_disk(directory, megabytes) as (data, env):
        with Gateway(directory, "--batch-bytes-max", "256KiB", "--checkpoint-bytes", "512KiB",
                     "--checkpoint-interval", "500ms", data=data, env=env) as gateway:
            return f"{megabytes} MB: " + fill_until_refused_then_drain(gateway, directory, count,
                                                                       is_small=not env)


def test_a_full_map_refuses_loses_nothing_and_heals(directory):
    with Gateway(directory, "--map-size", "16MiB", "--journal-max", "4MiB", "--checkpoint-bytes",
                 "512KiB", "--checkpoint-interval", "500ms") as gateway:
        return "16 MiB: " + fill_until_refused_then_drain(gateway, directory, 9000)


def test_a_small_journal_is_checkpointed_in_time(directory):
    with Gateway(directory, "--journal-max", "1MiB", "--checkpoint-bytes", "1000KiB",
                 "--checkpoint-interval", "1d") as gateway:
        load(gateway.target, "--clients", 20, "--rate", 300 if SANITIZED else 1500, "--duration", 4,
             "--size", 1000, "--offline", 0.5)
        stats = gateway.stats()
        print(f"  {stats['checkpoint.count']} checkpoints, {stats['nack.storage']} refusals", flush=True)
        assert stats["checkpoint.count"] > 0


def slow(directory, ms, rate):
    with Gateway(directory, env=shim(US=ms * 1000)) as gateway:
        load(gateway.target, "--clients", 100, "--rate", rate, "--duration", 3, "--loss", 0.02,
             "--offline", 0.1, title=f"+{ms} ms a sync")
        stats = gateway.stats()
        print(f"  {stats['commit.messages'] / stats['commit.count']:.1f} messages a commit, "
              f"{stats['commit.ns'] / stats['commit.count'] / 1e6:.2f} ms each", flush=True)
        assert stats["commit.ns"] >= stats["commit.count"] * ms * 1000000
        assert stats["store.degraded_entries"] == 0


def test_a_sync_that_fails_ends_the_process_and_loses_nothing(directory):
    sign = os.path.join(directory, "broken")
    with Gateway(directory, "--checkpoint-interval", "500ms", env=shim(BROKEN=sign)) as gateway:
        sender = start_load(gateway.target, "--clients", 10, "--rate", 400, "--duration", 4)
        for _ in range(3):
            time.sleep(0.7)
            with open(sign, "wb"):
                pass
            status = gateway.process.wait(10)
            assert status == 3, status
            os.unlink(sign)
            assert "fatal error" in gateway.log()
            gateway.ctl("verify", gateway.data)
            gateway.start()
        report = finish_load(sender)
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)
        return f"3 times EIO: exit 3 each, accepted={report['accepted']} lost={report['lost']}"


def test_2_ms_a_sync_more_lose_nothing(directory):
    slow(directory, 2, 200 if SANITIZED else 1000)


def test_10_ms_a_sync_more_lose_nothing(directory):
    slow(directory, 10, 200 if SANITIZED else 1000)


if __name__ == "__main__":
    run_cases(globals())
