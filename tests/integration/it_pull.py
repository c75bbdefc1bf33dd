#!/usr/bin/env python3
"""The offline inbox: 10 000 messages in pages of 100 cost 101 requests, and an application that stores
message and cursor in one step sees none twice, wherever it is killed."""
import os
import re
import signal

from harness import SANITIZED, Gateway, pqb, run_cases, run_tool, stored_by_pull_app

COUNT = 2000 if SANITIZED else 10000


def fill(gateway, user):
    lines = "".join(f"message {i}\n" for i in range(COUNT))
    pqb(gateway, "send", "alice", "laptop", "--to", user, "--wait", "accepted", "--timeout", 300,
        stdin=lines, timeout=400)


def app(gateway, directory, user, *args, check=0):
    path = os.path.join(directory, user + ".app")
    done = run_tool("pull_app", gateway.target, user, "phone", path, COUNT, *args, check=check,
                    timeout=200)
    return done, stored_by_pull_app(path)


def test_pages_of_100_cost_one_request_more_than_there_are_pages(directory):
    with Gateway(directory) as gateway:
        fill(gateway, "bob")
        done, got = app(gateway, directory, "bob")
        assert got == [f"message {i}" for i in range(COUNT)]
        requests = int(re.search(r"pages_requested=(\d+)", done.stdout).group(1))
        print(f"{COUNT} messages, {requests} distinct requests", flush=True)
        assert requests == COUNT // 100 + 1, done.stdout


def test_an_atomic_application_killed_between_and_within_pages_sees_nothing_twice(directory):
    with Gateway(directory) as gateway:
        fill(gateway, "carol")
        for kill_after in (100, 250, 1, 333):
            done, _ = app(gateway, directory, "carol", kill_after, check=None)
            assert done.returncode == -signal.SIGKILL, done
        _, got = app(gateway, directory, "carol")
        assert got == [f"message {i}" for i in range(COUNT)], "a message twice, lost or out of order"


if __name__ == "__main__":
    run_cases(globals())
