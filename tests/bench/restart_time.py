#!/usr/bin/env python3
"""From the start of the daemon to the first login, with a million messages in the store.

Exit status 1 when the best of the rounds takes longer than a second (other work on the machine can only
add), but for the last store, which says what a journal far above its checkpoint limit costs.
"""
import argparse
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

LIMIT = 1.0
# What it is, messages in inboxes, messages in the journal, whether the limit holds.
STORES = (("empty", 0, 0, True), ("journal of 0.6 M, far above 64 MiB", 400000, 600000, False),
          ("1 M in inboxes", 1000000, 0, True),
          ("0.8 M in inboxes and 64 MiB of journal, where a checkpoint begins", 800000, 200000, True))


def pack(value):
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, bytes):
        return b"\xc4" + bytes([len(value)]) + value
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value)]) + value.encode()
    return bytes([0x90 | len(value)]) + b"".join(map(pack, value))


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def log_in(port):
    """Asks every 10 ms; returns when the login has been registered: its first request is answered."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.connect(("127.0.0.1", port))
    peer.settimeout(0.01)
    body = pack(["first", "device", "", 0, 1, 0])
    init = (b"\x11\0\0\0" + os.urandom(8) + b"\0" + struct.pack(">H", len(body)) + body).ljust(1200, b"\0")
    question, number = init, 0
    while True:
        try:
            peer.send(question)
            answer = peer.recv(1200)
        except OSError:  # nobody there yet, or no answer
            if not peer.gettimeout():
                raise
            time.sleep(0.001)
            continue
        if answer[0] == 0x13 and number == 0:
            cid = int.from_bytes(answer[16:24], "big")
            body = pack([os.urandom(16)])
            question = (b"\x16" + struct.pack(">QQIH", cid, 1, 0, 0) + struct.pack(">BH", 0x20, len(body)) +
                        body)
            number = 1
        elif answer[0] == 0x16:
            return


def measure(build, data):
    port = free_port()
    begun = time.monotonic()
    daemon = subprocess.Popen([os.path.join(build, "gateway/paquebotd"), "--auth", "any", "--data", data,
                               "--listen", f"127.0.0.1:{port}"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    log_in(port)
    login = time.monotonic() - begun
    with open(f"/proc/{daemon.pid}/stat", encoding="ascii") as stat:
        ticks = sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13]))
    daemon.kill()
    daemon.communicate()
    return login, ticks / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default="build")
    parser.add_argument("--dir", help="where the stores are made; should be a real disk")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    slowest = 0
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        for name, inbox, journal, is_limited in STORES:
            made, data = os.path.join(folder, "made"), os.path.join(folder, "data")
            subprocess.run([os.path.join(options.bin, "tests/bench/bench_store"), "--fill", made, str(inbox),
                            str(journal)], check=True, stdout=subprocess.DEVNULL)
            times = []
            for _ in range(options.rounds):
                shutil.copytree(made, data)
                os.sync()  # what a kill leaves was synced
                times.append(measure(options.bin, data))
                shutil.rmtree(data)
            shutil.rmtree(made)
            wall, cpu = [time[0] for time in times], statistics.median(time[1] for time in times)
            if is_limited:
                slowest = max(slowest, min(wall))
            print(f"{name}: start to first login {statistics.median(wall):.2f} s ({min(wall):.2f} to "
                  f"{max(wall):.2f}), {cpu:.2f} s of CPU", flush=True)
    sys.exit(0 if slowest < LIMIT else 1)


if __name__ == "__main__":
    main()
