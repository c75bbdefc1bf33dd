#!/usr/bin/env python3
"""CPU per delivered message: paquebotd (durable before the acknowledgement) against mosquitto QoS 1
(acknowledges from memory), interleaved rounds of the same closed-loop shape.

    compare_mosquitto.py --bin BUILD [--rounds 7] [--seconds 5] [--pairs 64] [--window 4] [--size 200]

Prints one line a round and the medians; the ratio is taken round by round, because the speed of a
shared machine drifts. mosquitto comes from the Debian package of that name.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(pid, command):
    """Runs a load and returns (CPU microseconds of `pid` per message, messages a second)."""
    before = cpu_seconds(pid)
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    used = cpu_seconds(pid) - before
    report = json.loads(out.stdout)
    return used * 1e6 / report["delivered"], report["delivered"] / report["seconds"]


class Mosquitto:
    def __init__(self, directory):
        self.port = free_port()
        config = os.path.join(directory, "mosquitto.conf")
        with open(config, "w", encoding="ascii") as out:
            out.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n"
                      "max_inflight_messages 1000\nmax_queued_messages 100000\n")
        self.process = subprocess.Popen(["mosquitto", "-c", config], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def load(self, args):
        return measure(self.process.pid, [
            os.path.join(args.bin, "tests/bench/mqtt_load"), "127.0.0.1", str(self.port),
            str(args.pairs), str(args.window), str(args.size), str(args.seconds)])


class Paquebot:
    def __init__(self, directory, args):
        self.process = subprocess.Popen(
            [os.path.join(args.bin, "gateway/paquebotd"), "--security", "plaintext", "--auth", "any",
             "--data", os.path.join(directory, "data"), "--listen", "127.0.0.1:0",
             "--shards", str(args.shards)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ready = self.process.stdout.readline()
        self.target = ready.split("listen=")[1].split()[0]

    def load(self, args):
        return measure(self.process.pid, [
            os.path.join(args.bin, "tools/pqbsim"), "load", "--target", self.target,
            "--pairs", str(args.pairs), "--window", str(args.window), "--size", str(args.size),
            "--duration", str(args.seconds), "--json"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="build directory (-Dbench=true, release)")
    for name, value in (("rounds", 7), ("seconds", 5), ("pairs", 64), ("window", 4), ("size", 200),
                        ("shards", 1)):
        parser.add_argument("--" + name, type=int, default=value)
    args = parser.parse_args()
    if shutil.which("mosquitto") is None:
        sys.exit("compare_mosquitto: install the package mosquitto first")
    with tempfile.TemporaryDirectory() as directory:
        peers = [Paquebot(directory, args), Mosquitto(directory)]
        rows = []
        try:
            for number in range(args.rounds):
                ours, theirs = (peer.load(args) for peer in peers)
                rows.append((ours[0], theirs[0], ours[0] / theirs[0], ours[1], theirs[1]))
                print(f"round {number + 1}: paquebotd {ours[0]:.2f} us, {ours[1]:.0f}/s; "
                      f"mosquitto {theirs[0]:.2f} us, {theirs[1]:.0f}/s; ratio {rows[-1][2]:.2f}")
        finally:
            for peer in peers:
                peer.process.send_signal(signal.SIGTERM)
                peer.process.wait()
        ours, theirs, ratio, _, _ = (statistics.median(column) for column in zip(*rows))
        print(f"median: paquebotd {ours:.2f} us, mosquitto {theirs:.2f} us of CPU per delivered "
              f"message; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
