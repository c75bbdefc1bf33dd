#!/usr/bin/env python3
"""The largest messages, in fragments, through a network that loses a tenth."""
import json
import random

from harness import SANITIZED, Gateway, Link, load, pqb, run_cases

LARGEST = 65536
ALPHABET = [chr(c) for c in range(0x20, 0x7f)] + ["é", "ü", "→", "⛵"]


def text_of(rng, size):
    """`size` bytes of UTF-8 without control characters."""
    text = "".join(rng.choices(ALPHABET, k=size))
    while len(text.encode()) > size:
        text = text[:-1]
    return text + "x" * (size - len(text.encode()))


def test_64_kib_messages_arrive_through_10_percent_loss(directory):
    rate = 4 if SANITIZED else 10
    with Gateway(directory) as gateway:
        report = load(gateway.target, "--clients", 10, "--rate", rate, "--duration", 4, "--size",
                      LARGEST, "--loss", 0.1, "--delay", 5)
        assert report["nacked"] == 0 and report["sent"] >= 3 * rate
        assert gateway.stats()["frag.complete"] >= report["accepted"]


def test_every_byte_of_large_messages_arrives_online_and_offline(directory):
    rng = random.Random(7)
    texts = [text_of(rng, size) for size in (1, 1000, 1100, 1200, 5000, 20000, LARGEST - 1, LARGEST)]
    with Gateway(directory) as gateway, \
            Link(gateway.target, "--loss", 0.1, "--dup", 0.05, "--delay", 5, "--jitter", 5) as link:
        for _ in ("bob was never there", "bob has state"):
            pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--timeout", 60,
                stdin="".join(text + "\n" for text in texts), server=link.target, timeout=80)
            got = pqb(gateway, "listen", "bob", "phone", "--count", len(texts), "--timeout", 60,
                      "--json", server=link.target, timeout=80)
            messages = [json.loads(line) for line in got.stdout.splitlines()]
            assert [message["from"] for message in messages] == ["alice"] * len(texts)
            for message, text in zip(messages, texts):
                assert message["body"] == text, f"a text of {len(text.encode())} bytes differs"


def test_a_body_above_the_limit_is_refused_and_says_why(directory):
    with Gateway(directory, "--body-max", "2KiB") as gateway:
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "x" * 2048)
        done = pqb(gateway, "send", "alice", "laptop", "--to", "bob", "x" * 2049, check=1)
        assert "too_large" in done.stderr or "too large" in done.stderr, done.stderr
        assert gateway.stats()["nack.too_large"] == 1
        done = pqb(gateway, "send", "alice", "laptop", "--to", "bob", stdin="x" * (LARGEST + 1) + "\n",
                   check=None)
        assert done.returncode in (1, 2) and done.stderr, done
        # A refusal does not stand in the way of the next.
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "short")
        got = pqb(gateway, "listen", "bob", "phone", "--count", 2, "--timeout", 20)
        assert got.stdout == "alice\t" + "x" * 2048 + "\nalice\tshort\n"


if __name__ == "__main__":
    run_cases(globals())
