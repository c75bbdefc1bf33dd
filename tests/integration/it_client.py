#!/usr/bin/env python3
"""The protocol document is enough: a script written from it alone logs in and sends a message."""
import os
import subprocess
import sys

from harness import Gateway, pqb, run_cases


def test_a_script_from_the_document_alone_sends_a_message(directory):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "minimal_client.py")
    lines = [line for line in open(script, encoding="utf-8") if line.strip()]
    assert len(lines) <= 30, f"{len(lines)} lines"
    with Gateway(directory, "--shards", 1, security="plaintext") as gateway:  # on one shard msg:A can say stored at once
        host, port = gateway.target.rsplit(":", 1)
        done = subprocess.run([sys.executable, script, host, port, "sue", "bob", "by hand"],
                              check=True, stdout=subprocess.PIPE, text=True, timeout=30)
        assert done.stdout == "accepted seq 1 state 2\n", done.stdout
        got = pqb(gateway, "listen", "bob", "phone", "--count", 1, "--timeout", 20)
        assert got.stdout == "sue\tby hand\n", got.stdout


if __name__ == "__main__":
    run_cases(globals())
