#!/usr/bin/env python3
"""What encryption costs the gateway, against plaintext in the same rounds.

    encrypted.py --bin BUILD [--rounds 7] [--seconds 4] [--pairs 64] [--window 4] [--size 200]

Two things, each with the gateway's CPU time by the kernel's account, ratios taken round by round because
the speed of a shared machine drifts:
  a message   closed-loop pairs, every message durable before it is accepted
  a login     clients that come and go and send next to nothing; with tickets, and without
"""
import argparse
import statistics

from bench_gateway import Gateway


def load(gateway, *options):
    """(CPU seconds of the gateway, report) of one load."""
    before = gateway.cpu_seconds()
    report = gateway.sim("load", *options)
    return gateway.cpu_seconds() - before, report


def message_us(gateway, args, *options):
    cpu, report = load(gateway, "--pairs", args.pairs, "--window", args.window, "--size", args.size,
                               "--duration", args.seconds, *options)
    return cpu * 1e6 / report["delivered"]


def login_us(gateway, args, *options):
    cpu, report = load(gateway, "--clients", args.clients, "--offline", "0.5", "--rate", 1, "--duration",
                               args.seconds, *options)
    return cpu * 1e6 / report["logins"]


def tell(what, rows, base):
    """Medians of each column and of its ratio to the column `base`."""
    names = list(rows[0])
    for name in names:
        values = [row[name] for row in rows]
        ratios = [row[name] / row[base] for row in rows]
        print(f"{what}, {name}: {statistics.median(values):.1f} us of CPU "
              f"({min(values):.1f} to {max(values):.1f}); {statistics.median(ratios):.2f} times "
              f"{base} ({min(ratios):.2f} to {max(ratios):.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="build directory (release)")
    parser.add_argument("--dir", help="where the data directories go (the system's for such)")
    for name, value in (("rounds", 7), ("seconds", 4), ("pairs", 64), ("window", 4), ("size", 200),
                        ("clients", 1000), ("shards", 1)):
        parser.add_argument("--" + name, type=int, default=value)
    args = parser.parse_args()
    plain, sealed = (Gateway(args.bin, security, "--shards", args.shards, directory=args.dir)
                     for security in ("plaintext", "noise"))
    messages, logins = [], []
    try:
        for number in range(args.rounds):
            messages.append({"plaintext": message_us(plain, args),
                             "best cipher": message_us(sealed, args),
                             "ChaChaPoly": message_us(sealed, args, "--no-aes")})
            logins.append({"plaintext": login_us(plain, args), "resumed": login_us(sealed, args),
                           "in full": login_us(sealed, args, "--no-tickets")})
            print(f"round {number + 1}: " + "; ".join(
                f"{kind} {name} {value:.1f}" for kind, row in (("message", messages[-1]),
                                                               ("login", logins[-1]))
                for name, value in row.items()), flush=True)
    finally:
        plain.stop()
        sealed.stop()
    tell("message", messages, "plaintext")
    tell("login", logins, "plaintext")


if __name__ == "__main__":
    main()
