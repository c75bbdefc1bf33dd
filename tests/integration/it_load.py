#!/usr/bin/env python3
"""Many clients through a bad network, some of them away, all of them changing addresses."""
from harness import LONG, SANITIZED, Gateway, load, run_cases

CLIENTS, RATE, SECONDS = (1000, 2000, 20) if LONG else (100, 100, 5) if SANITIZED else (200, 400, 5)


def test_a_bad_network_loses_doubles_and_reorders_nothing(directory):
    with Gateway(directory) as gateway:
        report = load(gateway.target, "--clients", CLIENTS, "--rate", RATE, "--duration", SECONDS,
                      "--loss", 0.2, "--dup", 0.05, "--reorder", 0.1, "--delay", 40, "--jitter", 20,
                      "--offline", 0.2, "--rebind", 5, "--settle", 85, timeout=SECONDS + 95)
        assert report["sent"] >= 0.9 * RATE * SECONDS and report["rebinds"] > 0
        stats = gateway.stats()
        assert stats["msg.accepted"] == report["accepted"], (stats, report)
        assert stats["path.moved"] > 0 and stats["retransmit.messages"] > 0
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)


if __name__ == "__main__":
    run_cases(globals())
