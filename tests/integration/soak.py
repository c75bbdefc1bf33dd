#!/usr/bin/env python3
"""A gateway under ordinary bad weather for a long time: 1 % loss, addresses that change, clients that
go away and come back. Memory and file stay flat, and no counter moves that should be zero.

`tools/check --soak 1h` runs it. Exit status 1 when something grew, moved, or a message was lost.
"""
import argparse
import os
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time

from harness import Gateway, finish_load, start_load

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}
SETTLE_SECONDS = 60
WARM_UP = 0.4  # part of the run in which pools, pages and tables may still grow
GROWTH_MAX = 0.02
GROWTH_BYTES = 1 << 20  # allocator's and page cache's grain

ALARMS = ("commit.aborts", "login.rollback", "mail.bad", "memory.failed", "push.damaged",
          "shard.view_errors", "store.degraded_entries", "store.records_bad", "tail.bad",
          "udp.kernel_drops")
# What a network that only loses and a client that only moves cannot bring about. (nack.conflict is
# not of them: a repeat that is overtaken by its own answer arrives below the client's low.)
STAYS_ZERO = ALARMS + (
    "ack.cursor_above_head", "answer.dropped", "drop.direction", "drop.field", "drop.long",
    "drop.short", "drop.structure", "drop.type", "drop.unknown_frame", "drop.version", "frag.bad",
    "login.busy_sessions", "login.busy_user", "login.cookie_bad", "login.failed", "login.refused",
    "mail.dropped", "nack.quota", "nack.window", "off.above_head", "reply.dropped",
    "request.failed", "request.full", "session.epoch", "store.generations", "udp.receive_errors",
    "udp.send_dropped")
# What is watched, and judged by the rule of `grown`.
FLAT = ("rss", "file", "map", "journal", "index", "fds")


def seconds_of(text):
    found = re.fullmatch(r"(\d+)(s|m|min|h)?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not a time; try 20min or 1h")
    return int(found.group(1)) * UNITS[found.group(2) or "s"]


def open_files(pid):
    """0 where only root may count them: the daemon is closed to other processes of its account."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return 0


def sample(gateway):
    stats = gateway.stats()
    pid = gateway.process.pid
    file = os.stat(os.path.join(gateway.data, "data.mdb"))
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        # Private memory: pages of the mapped file are the kernel's, and counted by `file`.
        rss = int(re.search(r"RssAnon:\s+(\d+)", status.read()).group(1)) * 1024
    return stats, {"rss": rss, "file": file.st_blocks * 512, "map": stats["store.map_used_bytes"],
                   "journal": stats["store.journal_bytes"], "index": stats["index.entries"],
                   "fds": open_files(pid)}


def grown(samples):
    """{name: (before, after)} of what is larger in the last third than after the warm-up."""
    late = samples[int(len(samples) * WARM_UP):]
    third = max(1, len(late) // 3)
    out = {}
    for name in FLAT:
        before = statistics.median(s[name] for s in late[:third])
        after = statistics.median(s[name] for s in late[-third:])
        grain = GROWTH_BYTES if name in ("rss", "file", "map", "journal") else 8
        # The journal and what follows its fill level swing between two checkpoints.
        swing = max(s[name] for s in late[:third]) - before
        if after > before * (1 + GROWTH_MAX) + max(grain, swing):
            out[name] = (before, after)
    return out


def print_sample(seconds, stats, now):
    print(f"{seconds:6.0f} s  rss {now['rss'] / 1e6:6.1f} MB  file {now['file'] / 1e6:6.1f} MB  "
          f"used {now['map'] / 1e6:6.1f} MB  journal {now['journal'] / 1e6:6.1f} MB  "
          f"sessions {stats['session.current']:5}  accepted {stats['msg.accepted']:9}", flush=True)


def soak(directory, args):
    interval = max(1, min(10, args.duration / 60))
    checkpoint = max(1, min(20, args.duration // 20))  # many of them, however short the run
    with Gateway(directory, "--checkpoint-interval", f"{checkpoint}s") as gateway:
        load = start_load(gateway.target, "--clients", args.clients, "--rate", args.rate,
                          "--duration", args.duration, "--loss", 0.01, "--delay", 20, "--jitter", 10,
                          "--offline", 0.2, "--rebind", 60, "--settle", SETTLE_SECONDS)
        samples, start, told = [], time.monotonic(), 0
        while time.monotonic() - start < args.duration and load.poll() is None:
            time.sleep(interval)
            stats, now = sample(gateway)
            samples.append(now)
            if time.monotonic() - start - told >= args.duration / 20:
                told = time.monotonic() - start
                print_sample(told, stats, now)
        report = finish_load(load, timeout=SETTLE_SECONDS + 120, title="soak")
        stats, _ = sample(gateway)
        larger = grown(samples)
        moved = {name: stats[name] for name in STAYS_ZERO if stats[name]}
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)
    for name, (before, after) in larger.items():
        print(f"GREW {name}: {before:.0f} -> {after:.0f}")
    for name, value in moved.items():
        print(f"MOVED {name}: {value}")
    first, last = samples[int(len(samples) * WARM_UP)], samples[-1]
    print(f"{args.duration} s, {report['accepted']} accepted = delivered, 0 lost, 0 twice; rss "
          f"{first['rss'] / 1e6:.1f} -> {last['rss'] / 1e6:.1f} MB, file {first['file'] / 1e6:.1f} -> "
          f"{last['file'] / 1e6:.1f} MB, {len(larger)} grew, {len(moved)} moved")
    return 1 if larger or moved else 0


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("duration", type=seconds_of, help="90s, 20min, 1h")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=int, default=400, help="messages a second (400)")
    directory = tempfile.mkdtemp(prefix="paquebot.")
    try:
        return soak(directory, parser.parse_args())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
