#!/usr/bin/env python3
"""What a rush of strangers costs established users: p99 of delivery beside logins that are never finished,
against the same users' p99 without, in the same round.

    strangers.py --bin BUILD [--rounds 7] [--seconds 8] [--init-rate 50000] [--rate 1000] [--limit 2]

A round is two runs of `pqbsim load` on one encrypted gateway, every message durable before it is accepted:
one alone, one during `pqbsim inject flood-init`, whose strangers know the gateway's public key. Who goes
first changes from round to round. Strangers, users and gateway share this machine's cores, so the strangers
get the lowest priority: whatever the gateway leaves them, the rate that it saw is told. Exit status 1 when
the median ratio is above the limit.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from bench_gateway import Gateway


def inits(gateway):
    done = subprocess.run([os.path.join(gateway.bin, "tools/pqbctl"), "--data", gateway.data, "stats", "--json"],
                          check=True, stdout=subprocess.PIPE)
    counters = json.loads(done.stdout)
    return counters["login.inits"] + counters["login.mac1_bad"]


def yield_to_others():
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(19)


def start_users(gateway, args):
    # Names of their own: `inject` has legitimate users with the usual ones.
    return gateway.start_sim("load", "--names", "user", "--clients", args.clients, "--rate", args.rate,
                             "--duration", args.seconds, "--json", stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)


def percentiles(users):
    report = json.loads(users.communicate()[0])
    if report["lost"] or report["duplicated"] or not report["delivered"]:
        sys.exit(f"strangers: a promise was broken: {report}")
    return report["latency_us"]["delivered"]


def attacked(gateway, args):
    """Percentiles of delivery during the flood, and the INITs that the gateway saw in a second."""
    calm = 0.75 * args.seconds  # half of its time `inject` only looks how it was before
    floods = [gateway.start_sim("inject", "flood-init", "--rate", args.init_rate // args.senders,
                                "--legitimate-rate", 1, "--seconds", int(2 * calm), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, preexec_fn=yield_to_others)
              for _ in range(args.senders)]
    time.sleep(calm - 1)
    users = start_users(gateway, args)
    time.sleep(args.seconds / 2)
    seen, at = inits(gateway), time.monotonic()
    time.sleep(args.seconds / 4)
    rate = (inits(gateway) - seen) / (time.monotonic() - at)
    delivered = percentiles(users)
    for flood in floods:
        flood.wait()
    time.sleep(10)  # what is half open ends
    return delivered, rate


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="build directory (release)")
    parser.add_argument("--dir", help="where the data directory goes (the system's for such)")
    parser.add_argument("--limit", type=float, default=2)
    for name, value in (("rounds", 7), ("seconds", 8), ("init-rate", 50000), ("rate", 1000), ("clients", 50),
                        ("senders", 2),
                        ("shards", 1)):
        parser.add_argument("--" + name, type=int, default=value)
    args = parser.parse_args()
    ratios, rates = [], []
    with Gateway(args.bin, "noise", "--shards", args.shards, directory=args.dir) as gateway:
        for number in range(args.rounds):
            row = {}
            for is_attacked in ((False, True), (True, False))[number % 2]:
                if is_attacked:
                    row[True], rate = attacked(gateway, args)
                    rates.append(rate)
                else:
                    row[False] = percentiles(start_users(gateway, args))
            ratios.append(row[True]["p99"] / row[False]["p99"])
            print(f"round {number + 1}: {rates[-1]:.0f} INIT/s; p50 {row[False]['p50']} to {row[True]['p50']} us, "
                  f"p99 {row[False]['p99']} to {row[True]['p99']} us, ratio {ratios[-1]:.2f}", flush=True)
    print(f"p99 of established users, with {statistics.median(rates):.0f} INIT/s to without, median of "
          f"{args.rounds} rounds: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    sys.exit(statistics.median(ratios) > args.limit)


if __name__ == "__main__":
    main()
