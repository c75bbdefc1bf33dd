#!/usr/bin/env python3
"""What slow consumers cost the others: p99 of delivery beside 1 and 1000 receivers that do not
acknowledge, against the same users' p99 just before, every message synced before it is accepted.

    slow_consumers.py --bin BUILD [--rounds 7] [--seconds 10] [--rate 1000] [--limit 1.25]

A round is a run of `pqbsim inject slow-consumer` with one consumer and one with 1000, each on a fresh
gateway: half of the time without, then the consumers log in and their windows are filled, then the
time with them, while more keeps arriving for them.
The ratio is taken run by run, because the speed of a shared machine drifts. Exit status 1 when a
median is above the limit.
"""
import argparse
import os
import statistics
import sys

from bench_gateway import Gateway


def measure(args, consumers):
    """(p99 before, p99 with) in microseconds, and the gateway's growth in KiB."""
    with Gateway(args.bin, args.security, "--shards", args.shards, directory=args.dir) as gateway:
        report = gateway.sim("inject", "slow-consumer", "--stats", os.path.join(gateway.data, "stats"), "--peers",
                             consumers, "--seconds", args.seconds, "--legitimate-rate", args.rate, "--rate",
                             args.attack)
    broken = [check for check in report["checks"] if not check["kept"]]
    if broken:
        sys.exit(f"slow_consumers: a limit was broken: {broken}")
    fare = report["legitimate"]
    kib = next(check["value"] for check in report["checks"] if check["name"] == "gateway.memory_kib")
    return fare["before"]["delivered_us"], fare["during"]["delivered_us"], kib


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="build directory (release)")
    parser.add_argument("--dir", help="where the data directories go (the system's for such)")
    parser.add_argument("--security", choices=("noise", "plaintext"), default="noise")
    parser.add_argument("--limit", type=float, default=1.25)
    for name, value in (("rounds", 7), ("seconds", 10), ("rate", 1000), ("attack", 600), ("shards", 2)):
        parser.add_argument("--" + name, type=int, default=value)
    args = parser.parse_args()
    ratios = {1: [], 1000: []}
    for number in range(args.rounds):
        for consumers, row in ratios.items():
            before, during, kib = measure(args, consumers)
            row.append(during["p99"] / before["p99"])
            print(f"round {number + 1}, {consumers} consumers: p50 {before['p50']} to {during['p50']} us, "
                  f"p99 {before['p99']} to {during['p99']} us, ratio {row[-1]:.2f}; {kib:.0f} KiB",
                  flush=True)
    told = [f"{consumers}: {statistics.median(row):.2f} ({min(row):.2f} to {max(row):.2f})"
            for consumers, row in ratios.items()]
    print(f"p99 of the others, with slow consumers to without, median of {args.rounds} rounds: "
          + "; ".join(told))
    sys.exit(any(statistics.median(row) > args.limit for row in ratios.values()))


if __name__ == "__main__":
    main()
