#!/usr/bin/env python3
"""What a rush of strangers costs established users: p99 of delivery beside logins that are never finished,
against the same users' p99 without, in the same round.

    strangers.py --bin BUILD [--rounds 7] [--seconds 8] [--init-rate 50000] [--rate 1000] [--limit 2]
                 [--stolen-max P]

A round is three runs of `pqbsim load` on one encrypted gateway, every message durable before it is accepted:
alone; with `pqbsim inject flood-init` at the gateway, whose strangers know its public key; and with the same
strangers at another gateway. The order changes from round to round. Strangers, users and gateway share this
machine's cores, so the strangers, and the other gateway, get the lowest priority: whatever the gateway leaves
them, the rate that it saw is told. What the strangers cost there is the machine's doing; what they cost here
beyond that is the gateway's. On a machine that is lent (/proc/stat tells what is stolen) a run during which
more than --stolen-max percent of a core were stolen is done again, whatever came out. Exit status 1 when the
median ratio to the run alone is above the limit.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from bench_gateway import TICKS, Gateway


TRIES_MAX = 100  # of one run, until nobody disturbs it


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


def stolen():
    """Seconds of processor time that whoever lends this machine kept for others."""
    with open("/proc/stat", encoding="ascii") as stat:
        return int(stat.readline().split()[8]) / TICKS


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


def beside_strangers(gateway, target, args):
    """The same while they are at `target`, which may be another gateway."""
    calm = 0.75 * args.seconds  # half of its time `inject` only looks how it was before
    floods = [target.start_sim("inject", "flood-init", "--names", f"sender{number}-", "--rate",
                               args.init_rate // args.senders, "--legitimate-rate", 1, "--seconds", int(2 * calm),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=yield_to_others)
              for number in range(args.senders)]
    time.sleep(calm - 1)
    users = start_users(gateway, args)
    time.sleep(args.seconds / 2)
    seen = watch(gateway, args.seconds / 4)
    delivered = percentiles(users)
    for flood in floods:
        flood.wait()
    time.sleep(10)  # what is half open ends
    return (delivered, *seen)


def undisturbed(run, args):
    """What `run` returns, and the percent of a core that were stolen meanwhile."""
    for _ in range(TRIES_MAX):
        stolen_before, at = stolen(), time.monotonic()
        result = run()
        percent = (stolen() - stolen_before) / (time.monotonic() - at) * 100
        if percent <= args.stolen_max:
            return result, percent
        print(f"again: {percent:.1f} % of a core stolen", flush=True)
    sys.exit("strangers: this machine is too busy with others. Try later, or a larger --stolen-max.")


def median_of(name, ratios):
    median = statistics.median(ratios)
    print(f"p99 of established users, {name}, median of {len(ratios)} rounds: {median:.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f})")
    return median


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="build directory (release)")
    parser.add_argument("--dir", help="where the data directory goes (the system's for such)")
    parser.add_argument("--limit", type=float, default=2)
    parser.add_argument("--stolen-max", type=float, default=100, metavar="P")
    for name, value in (("rounds", 7), ("seconds", 8), ("init-rate", 50000), ("rate", 1000), ("clients", 50),
                        ("senders", 2),
                        ("shards", 1)):
        parser.add_argument("--" + name, type=int, default=value)
    args = parser.parse_args()
    of_alone, of_elsewhere, rates, costs = [], [], [], []
    options = ("--shards", args.shards)
    with Gateway(args.bin, "noise", *options, directory=args.dir) as gateway, \
            Gateway(args.bin, "noise", *options, directory=args.dir, preexec_fn=yield_to_others) as other:
        runs = [("alone", lambda: left_alone(gateway, args)),
                ("elsewhere", lambda: beside_strangers(gateway, other, args)),
                ("here", lambda: beside_strangers(gateway, gateway, args))]
        for number in range(args.rounds):
            row, shares = {}, []
            for name, run in (runs, runs[::-1])[number % 2]:
                row[name], percent = undisturbed(run, args)
                shares.append(f"{percent:.1f}")
            p99 = {name: run[0]["p99"] for name, run in row.items()}
            of_alone.append(p99["here"] / p99["alone"])
            of_elsewhere.append(p99["here"] / p99["elsewhere"])
            rates.append(row["here"][1])
            if rates[-1] > 0:  # else no sender got so far
                costs.append((row["here"][2] - row["alone"][2]) / rates[-1] * 1e6)
            print(f"round {number + 1}: {rates[-1]:.0f} INIT/s; p99 {p99['alone']} us alone, {p99['elsewhere']} "
                  f"beside strangers elsewhere, {p99['here']} here: ratios {of_alone[-1]:.2f} and "
                  f"{of_elsewhere[-1]:.2f}; {', '.join(shares)} % of a core stolen in its runs", flush=True)
    median = median_of(f"with {statistics.median(rates):.0f} INIT/s to without", of_alone)
    median_of("to strangers elsewhere", of_elsewhere)
    if costs:
        print(f"an INIT costs the gateway {statistics.median(costs):.2f} us ({min(costs):.2f} to {max(costs):.2f}); "
              f"50 000 in a second {statistics.median(costs) * 5:.0f} % of a core")
    sys.exit(median > args.limit)


if __name__ == "__main__":
    main()
