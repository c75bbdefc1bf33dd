#!/usr/bin/env python3
"""Resident bytes of paquebotd for each idle session.

    idle_sessions.py --bin BUILD [--sessions 10000] [--security noise]

Logs in so many clients that say nothing (but for keepalives), and reads the gateway's resident set
before and after (root alone may). Before: a tenth as many are in already, so that what the gateway
needs once, for its first logins and checkpoints, is not laid on the sessions. The kernel holds nothing
for them: all share the gateway's sockets.
"""
import argparse
import signal
import subprocess
import time

from bench_gateway import Gateway


def resident_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        fields = dict(line.split()[:2] for line in rollup if line.count(":") == 1)
    return int(fields["Anonymous:"]) * 1024, int(fields["Rss:"]) * 1024


def log_in(gateway, names, count):
    """Returns when all are in and, two checkpoints later, the writer has forgotten those at rest."""
    load = gateway.start_sim("load", "--names", names, "--clients", count, "--rate", 1, "--duration", 180,
                             "--settle", 1, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(count / 1000 + 40)
    return load


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--sessions", type=int, default=10000)
    parser.add_argument("--security", choices=("noise", "plaintext"), default="noise")
    parser.add_argument("--shards", type=int, default=1)
    args = parser.parse_args()
    with Gateway(args.bin, args.security, "--shards", args.shards, "--checkpoint-interval", "10s") as gateway:
        loads = [log_in(gateway, "first", args.sessions // 10)]
        before = resident_bytes(gateway.process.pid)
        loads.append(log_in(gateway, "load", args.sessions))
        after = resident_bytes(gateway.process.pid)
        for load in loads:
            load.send_signal(signal.SIGINT)
            load.wait()
    anonymous = (after[0] - before[0]) / args.sessions
    print(f"{args.sessions} sessions, {args.security}: {anonymous:.0f} bytes each of private memory "
          f"({(after[1] - before[1]) / args.sessions:.0f} with mapped files)")


if __name__ == "__main__":
    main()
