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


def watch(gateway, seconds):
    """The INITs that the gateway saw in a second, and the share of a core it took."""
    seen, cpu, at = inits(gateway), gateway.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - at
    return (inits(gateway) - seen) / passed, (gateway.cpu_seconds() - cpu) / passed


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


def left_alone(gateway, args):
    """Percentiles of delivery, INITs a second, share of a core."""
    users = start_users(gateway, args)
    time.sleep(args.seconds / 2)
    seen = watch(gateway, args.seconds / 4)
    return (percentiles(users), *seen)


def attacked(gateway, args):
    """The same during the flood."""
    calm = 0.75 * args.seconds  # half of its time `inject` only looks how it was before
    floods = [gateway.start_sim("inject", "flood-init", "--rate", args.init_rate // args.senders,
                                "--legitimate-rate", 1, "--seconds", int(2 * calm), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, preexec_fn=yield_to_others)
              for _ in range(args.senders)]
    time.sleep(calm - 1)
    users = start_users(gateway, args)
    time.sleep(args.seconds / 2)
    seen = watch(gateway, args.seconds / 4)
    delivered = percentiles(users)
    for flood in floods:
        flood.wait()
    time.sleep(10)  # what is half open ends
    return (delivered, *seen)


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
    ratios, rates, costs = [], [], []
    with Gateway(args.bin, "noise", "--shards", args.shards, directory=args.dir) as gateway:
        for number in range(args.rounds):
            row = {}
            for is_attacked in ((False, True), (True, False))[number % 2]:
                row[is_attacked] = (attacked if is_attacked else left_alone)(gateway, args)
            (calm, _, idle), (flooded, rate, busy) = row[False], row[True]
            ratios.append(flooded["p99"] / calm["p99"])
            rates.append(rate)
            if rate > 0:  # else no sender got so far
                costs.append((busy - idle) / rate * 1e6)
            print(f"round {number + 1}: {rate:.0f} INIT/s; "
                  f"p50 {calm['p50']} to {flooded['p50']} us, p99 {calm['p99']} to {flooded['p99']} us, "
                  f"ratio {ratios[-1]:.2f}", flush=True)
    print(f"p99 of established users, with {statistics.median(rates):.0f} INIT/s to without, median of "
          f"{len(ratios)} rounds: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    if costs:
        print(f"an INIT costs the gateway {statistics.median(costs):.2f} us ({min(costs):.2f} to {max(costs):.2f}); "
              f"50 000 in a second {statistics.median(costs) * 5:.0f} % of a core")
    sys.exit(statistics.median(ratios) > args.limit)


if __name__ == "__main__":
    main()
