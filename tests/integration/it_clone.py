#!/usr/bin/env python3
"""Copies of a device's state (fault table, row 25): an old one restored, two alive at once. Each message
that was handed over arrives once, or its application is told that it is uncertain."""
import collections
import os
import shutil
import time

from harness import LONG, Gateway, pqb, run_cases, start_tool

NOWHERE = "127.0.0.1:9"  # discard: nobody listens there
TAKEN = ("accepted", "stored", "delivered")
FLAP_BURST, FLAP_INTERVAL = 6, 5  # a device replaces its session so often at once, then every 5 s


class Copy:
    """A state directory and what its application knows: id -> body, body -> last news."""

    def __init__(self, path):
        self.path, self.bodies, self.news = path, {}, {}
        self.process = None

    def copy(self, path):
        shutil.copytree(self.path, path)
        copy = Copy(path)
        copy.bodies = dict(self.bodies)
        copy.news = dict(self.news)
        return copy

    def start(self, target, prefix, count, every_ms=5, seconds=20):
        self.process = start_tool("clone_app", target, "alice", "phone", self.path, "bob", prefix, count,
                                  every_ms, seconds)
        return self

    def finish(self, check=0):
        out, _ = self.process.communicate(timeout=120)
        for line in out.splitlines():
            what, which, *rest = line.split()
            if what == "sent":
                self.bodies[which] = rest[0]
                self.news[rest[0]] = "pending"
            elif what == "told":
                self.news[self.bodies[which]] = rest[0]
        assert check is None or self.process.returncode == check, out
        return out

    def run(self, *args, check=0, **kwargs):
        return self.start(*args, **kwargs).finish(check)


class Judge:
    """All that bob took, against all that the copies of alice's phone know."""

    def __init__(self, gateway):
        self.gateway, self.got, self.copies = gateway, collections.Counter(), []

    def check(self, title):
        """(messages told accepted, messages that are only uncertain, figures)"""
        accepted = {body for copy in self.copies for body, news in copy.news.items() if news in TAKEN}
        end = time.monotonic() + 20
        while not accepted <= set(self.got) and time.monotonic() < end:
            self.take(0.3)
        self.take(0.2)  # what nobody expects
        known = {body for copy in self.copies for body in copy.news}
        news = {news for copy in self.copies for news in copy.news.values()}
        assert not set(self.got) - known, f"nobody sent {set(self.got) - known}"
        twice = [body for body, count in self.got.items() if count > 1]
        assert not twice, f"arrived twice: {twice}"
        assert accepted <= set(self.got), f"accepted and lost: {accepted - set(self.got)}"
        assert news <= {*TAKEN, "uncertain"}, f"dropped in silence: {[c.news for c in self.copies]}"
        uncertain = known - accepted
        told = (f"{title}: {len(known)} messages, {len(accepted)} accepted and arrived once, "
                f"{len(uncertain)} told uncertain ({len(uncertain & set(self.got))} of them arrived, "
                "once), 0 dropped in silence")
        return accepted, uncertain, told

    def take(self, seconds):
        done = pqb(self.gateway, "listen", "bob", "pc", "--timeout", seconds, check=None)
        self.got.update(line.split("\t")[1] for line in done.stdout.splitlines())


def test_an_old_copy_of_the_state_is_restored(directory):
    phone = Copy(os.path.join(directory, "phone"))
    with Gateway(directory) as gateway:
        judge = Judge(gateway)
        judge.copies.append(phone)
        phone.run(gateway.target, "first", 10)
        for n in range(20 if LONG else 2):
            # Five are in the queue when the copy is made. The device goes on, sends them and more.
            phone.run(NOWHERE, f"kept{n}", 5, seconds=0.2, check=1)
            backup = phone.copy(os.path.join(directory, f"backup{n}"))
            judge.copies.append(backup)
            phone.run(gateway.target, f"later{n}", 20)
            assert " uncertain" in backup.run(gateway.target, f"new{n}", 40), "nobody noticed the copy"
            accepted, uncertain, told = judge.check(f"restored {n + 1} times")
            assert {f"kept{n}-{i}" for i in range(5)} <= accepted
            assert f"new{n}-0" in uncertain and f"new{n}-39" in accepted, "new epoch: all is well again"
            phone = backup
        return told


def test_two_copies_are_alive_at_once(directory):
    seconds = 60 if LONG else 2
    one = Copy(os.path.join(directory, "one"))
    with Gateway(directory) as gateway:
        judge = Judge(gateway)
        one.run(gateway.target, "first", 10)
        two = one.copy(os.path.join(directory, "two"))
        judge.copies += [one, two]
        start, before = time.monotonic(), gateway.stats()["session.replaced"]
        count = 25 * seconds
        for copy, name in ((one, "one"), (two, "two")):
            copy.start(gateway.target, name, count, every_ms=40, seconds=seconds + 60)
        one.finish()
        two.finish()
        took = time.monotonic() - start
        kicks, most = gateway.stats()["session.replaced"] - before, FLAP_BURST + took / FLAP_INTERVAL + 1
        _, _, told = judge.check(f"two alive for {took:.1f} s, {kicks} kicks (limit {most:.0f})")
        assert 1 <= kicks <= most, f"{kicks} kicks in {took:.1f} s"
        return told


def test_send_tells_what_became_of_messages_that_an_earlier_run_queued(directory):
    state = os.path.join(directory, "phone")
    with Gateway(directory) as gateway:
        pqb(gateway, "send", "alice", "phone", "--to", "bob", "first", state=state)
        pqb(gateway, "send", "alice", "phone", "--to", "bob", "--timeout", 0.2, "kept", state=state,
            server=NOWHERE, check=1)
        backup = state + ".old"
        shutil.copytree(state, backup)
        for text in ("later", "later still"):  # the gateway forgets the first two
            pqb(gateway, "send", "alice", "phone", "--to", "bob", text, state=state)
        done = pqb(gateway, "send", "alice", "phone", "--to", "bob", "new", state=backup, check=1)
        assert "message 1 is uncertain" in done.stderr, done
        assert "of an earlier run is uncertain" in done.stderr, done
        pqb(gateway, "send", "alice", "phone", "--to", "bob", "again", state=backup)
        got = pqb(gateway, "listen", "bob", "pc", "--count", 5, "--timeout", 10).stdout.splitlines()
        assert got == ["alice\t" + text for text in ("first", "kept", "later", "later still", "again")]


if __name__ == "__main__":
    run_cases(globals())
