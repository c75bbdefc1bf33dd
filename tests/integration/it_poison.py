#!/usr/bin/env python3
"""A message that kills the application each time it takes it (fault table, row 24): after LIMIT deaths
over it, it is a dead letter, and what follows flows."""
import array
import fcntl
import json
import os
import signal
import termios

from harness import (Gateway, pqb, run_cases, run_tool, start_pqb, stored_by_pull_app,
                     wait_until)

BEFORE, AFTER, LIMIT = 5, 20, 3
POISON = "drink me"
LINES = [f"before {i}" for i in range(BEFORE)] + [POISON] + [f"after {i}" for i in range(AFTER)]
GOOD = [line for line in LINES if line != POISON]


def send(gateway, user):
    pqb(gateway, "send", "alice", "laptop", "--to", user, "--wait", "accepted",
        stdin="".join(line + "\n" for line in LINES))


def readable_bytes(pipe):
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_an_application_that_aborts_on_a_message_gets_past_it(directory):
    state = os.path.join(directory, "app")
    with Gateway(directory) as gateway:
        send(gateway, "bob")
        took, deaths = [], 0
        while True:
            left = len(LINES) - len(took)
            done = run_tool("poison_app", gateway.target, "bob", "phone", state, left, POISON, LIMIT,
                            check=None)
            took += [line[5:] for line in done.stdout.splitlines() if line.startswith("took ")]
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGABRT, done
            deaths += 1
            assert deaths <= LIMIT + 1, "the application never gets past the message"
            assert took == GOOD[:BEFORE], took
        # The first death was not charged: the message was not the first of its run.
        assert deaths == LIMIT + 1, deaths
        assert took == GOOD, took
        told = [line for line in done.stdout.splitlines() if line.startswith("dead_letter")]
        assert told == [f"dead_letter from=alice size={len(POISON)} attempts={LIMIT} body=0"], told
        letters = run_tool("pqb", "dead-letters", "--state", state, "--json").stdout.splitlines()
        assert len(letters) == 1, letters
        letter = json.loads(letters[0])
        assert (letter["body"], letter["attempts"], letter["from"]) == (POISON, LIMIT, "alice"), letter
        text = run_tool("pqb", "dead-letters", "--state", state).stdout
        assert text == f"{letter['iseq']}\t{LIMIT}\talice\t{POISON}\n", text
    return (f"{deaths} deaths over one message of {len(LINES)} (limit {LIMIT}), 1 dead letter, "
          f"{len(took)} others taken once and in order")


def test_an_application_with_its_own_atomic_store_gets_past_it_too(directory):
    path = os.path.join(directory, "carol.app")
    with Gateway(directory) as gateway:
        send(gateway, "carol")
        deaths = 0
        while True:
            done = run_tool("pull_app", gateway.target, "carol", "phone", path, len(LINES), 0, POISON,
                            LIMIT, check=None)
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL and deaths <= LIMIT, (done, deaths)
            deaths += 1
        assert deaths == LIMIT + 1, deaths
        assert stored_by_pull_app(path) == GOOD, stored_by_pull_app(path)
        assert f"dead_letter from=alice size={len(POISON)} attempts={LIMIT}\n" in done.stdout, done
    return (f"{deaths} deaths (limit {LIMIT}), {len(GOOD)} others stored once and in order")


def test_without_a_limit_nothing_is_put_aside(directory):
    state = os.path.join(directory, "app")
    with Gateway(directory) as gateway:
        send(gateway, "dave")
        for _ in range(2 * LIMIT):
            done = run_tool("poison_app", gateway.target, "dave", "phone", state, len(LINES), POISON, 0,
                            check=-signal.SIGABRT)
            assert "dead_letter" not in done.stdout, done
        assert run_tool("pqb", "dead-letters", "--state", state).stdout == ""
        got = pqb(gateway, "listen", "dave", "phone", "--count", len(LINES) - BEFORE, "--timeout", 20,
                  state=state).stdout.splitlines()
        assert got == [f"alice\t{line}" for line in LINES[BEFORE:]], got
    return (f"{2 * LIMIT} deaths without a limit, the message still comes")


def test_listen_killed_over_one_message_goes_on_without_it(directory):
    state = os.path.join(directory, "erin")
    huge = "x" * 65530  # more than a pipe that nobody reads can take: listen hangs in it
    with Gateway(directory) as gateway:
        pqb(gateway, "send", "alice", "laptop", "--to", "erin", "--wait", "accepted",
            stdin=f"{huge}\nnext\n")
        for _ in range(2):
            listen = start_pqb(gateway, "listen", "erin", "phone", "--json", "--poison-limit", 2,
                               state=state)
            wait_until(lambda out=listen.stdout: readable_bytes(out) > 0)
            listen.kill()
            listen.communicate()
        done = pqb(gateway, "listen", "erin", "phone", "--json", "--poison-limit", 2, "--count", 1,
                   "--timeout", 20, state=state)
        assert json.loads(done.stdout)["body"] == "next", done
        assert "from alice (65530 bytes) is put aside: 2 runs died over it" in done.stderr, done
        text = run_tool("pqb", "dead-letters", "--state", state).stdout
        assert text.endswith(f"\t2\talice\t{huge}\n"), text[-100:]
    return ("2 kills over one message (limit 2), 1 dead letter, the next message printed")


if __name__ == "__main__":
    run_cases(globals())
