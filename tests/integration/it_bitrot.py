#!/usr/bin/env python3
"""Bytes of a stopped store's values are flipped: it is detected, counted, told, and nobody else notices."""
import os
import random

from harness import LONG, Gateway, pqb, run_cases, wait_until
from lmdb_file import transaction

FLIPS = 400 if LONG else 60
TEXTS = [f"letter {i:02} " + "x" * 40 for i in range(20)]
OTHERS = ["carol", "dave"]


def send(gateway, sender, to, texts):
    pqb(gateway, "send", sender, "phone", "--to", to, "--timeout", 30, stdin="".join(t + "\n" for t in texts))


def receive(gateway, user, count, seconds=20):
    """(bodies, gaps) that `user` was given."""
    got = pqb(gateway, "listen", user, "phone", "--count", count, "--timeout", seconds, check=None)
    return [line.split("\t")[1] for line in got.stdout.splitlines()], got.stderr


def damage(directory, table, pick, rng):
    """Flips one byte of the value that `pick` takes from the table's (key, value) pairs; CRC and all stay."""
    with transaction(directory, is_write=True) as txn:
        key, value = pick(txn.items(table))
        at = rng.randrange(5, len(value))  # behind the checksum and the schema
        txn.put(table, key, value[:at] + bytes([value[at] ^ (1 << rng.randrange(8))]) + value[at + 1:])


def with_text(text):
    return lambda rows: next((key, value) for key, value in rows if text.encode() in value)


def prepared(directory, is_checkpointed):
    """A store where bob and others have messages waiting; stopped by kill -9."""
    gateway = Gateway(directory, "--checkpoint-interval", "1d")
    with gateway:
        for user in ["bob", *OTHERS]:
            pqb(gateway, "listen", user, "phone", "--timeout", 0.2, check=None)
            send(gateway, "alice", user, TEXTS)
        if is_checkpointed:
            gateway.ctl("checkpoint")
            wait_until(lambda: gateway.stats()["checkpoint.count"] == 1)
            wait_until(lambda: gateway.stats()["store.journal_records"] == 0)
        gateway.kill9()
    assert gateway.ctl("verify", gateway.data)
    return gateway


def others_are_unaffected(gateway):
    for user in OTHERS:
        got, told = receive(gateway, user, len(TEXTS))
        assert got == TEXTS and "damaged" not in told, (user, got, told)
    send(gateway, "alice", "carol", ["still here"])
    assert receive(gateway, "carol", 1)[0] == ["still here"]


def a_message_is_lost_and_told(directory, table, is_checkpointed):
    gateway = prepared(directory, is_checkpointed)
    damage(gateway.data, table, with_text(TEXTS[7]), random.Random(7))
    assert gateway.ctl("verify", gateway.data, check=1)  # detected
    with gateway:
        got, told = receive(gateway, "bob", len(TEXTS) - 1)
        assert got == TEXTS[:7] + TEXTS[8:], got
        assert "damaged" in told, told  # the receiver knows that something is missing
        wait_until(lambda: gateway.stats()["store.records_bad"] + gateway.stats()["push.damaged"] > 0)
        others_are_unaffected(gateway)
        send(gateway, "alice", "bob", ["after"])
        assert receive(gateway, "bob", 1)[0] == ["after"]
        assert gateway.stop() == 0
    return f"1 of {len(TEXTS)} messages of one user lost and told, {len(OTHERS)} others had all of theirs"


def test_a_flipped_byte_in_the_journal(directory):
    return a_message_is_lost_and_told(directory, "journal", False)


def test_a_flipped_byte_in_an_inbox(directory):
    return a_message_is_lost_and_told(directory, "inbox", True)


def test_a_flipped_byte_in_a_device_row(directory):
    gateway = prepared(directory, True)
    with transaction(gateway.data) as txn:
        uid = next(value for key, value in txn.items("name") if key == b"bob")[5:13]
    damage(gateway.data, "device", lambda rows: next((k, v) for k, v in rows if k[:8] == uid), random.Random(7))
    assert gateway.ctl("verify", gateway.data, check=1)
    with gateway:
        assert receive(gateway, "bob", len(TEXTS))[0] == TEXTS  # registered anew, nothing is lost
        wait_until(lambda: gateway.stats()["store.records_bad"] > 0)
        others_are_unaffected(gateway)
        assert gateway.stop() == 0


def test_a_flipped_byte_in_a_user_row_stops_that_user_alone(directory):
    gateway = prepared(directory, True)
    damage(gateway.data, "user", with_text("bob"), random.Random(7))
    assert gateway.ctl("verify", gateway.data, check=1)
    with gateway:
        refused = pqb(gateway, "listen", "bob", "phone", "--count", 1, "--timeout", 1, check=1)
        assert refused.stdout == ""
        wait_until(lambda: gateway.stats()["store.records_bad"] > 0)
        others_are_unaffected(gateway)
        assert gateway.stop() == 0


def test_flipped_bytes_anywhere_in_messages(directory):
    """In the file itself: the bytes of values in leaf pages, wherever they lie."""
    seed = random.randrange(2**32)
    print(f"  seed {seed}", flush=True)
    rng = random.Random(seed)
    gateway = prepared(directory, False)
    path = os.path.join(gateway.data, "data.mdb")
    with open(path, "rb") as file:
        content = file.read()
    # Bodies of bob's and others' messages: x's that only a value holds.
    places = [at for at in range(len(content) - 40) if content[at:at + 40] == b"x" * 40]
    with open(path, "r+b") as file:
        for _ in range(FLIPS):
            at = rng.choice(places) + rng.randrange(40)
            file.seek(at)
            file.write(bytes([content[at] ^ (1 << rng.randrange(8))]))
    report = gateway.ctl("verify", gateway.data, check=None)
    with gateway:
        total = 0
        for user in ["bob", *OTHERS]:
            got, _ = receive(gateway, user, len(TEXTS), 1)
            assert all(text in TEXTS for text in got), got       # nothing damaged is handed over
            assert got == [text for text in TEXTS if text in got]  # in order, each once
            total += len(got)
        bad = gateway.stats()["store.records_bad"]
        assert total + bad >= 3 * len(TEXTS) and (bad > 0) == (report.returncode == 1), (total, bad)
        send(gateway, "alice", "erin", ["still here"])
        assert receive(gateway, "erin", 1)[0] == ["still here"]
        assert gateway.stop() == 0
    return f"{FLIPS} flips: {bad} records quarantined, {total} of {3 * len(TEXTS)} messages whole, none damaged handed over"


if __name__ == "__main__":
    run_cases(globals())
