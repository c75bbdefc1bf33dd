#!/usr/bin/env python3
"""Who is let in with signed tokens, and for how long: nobody by the names of somebody else, and nobody any more
whose token, key or issuer is gone."""
import json
import os
import shutil
import tempfile

from harness import Gateway, Link, pqb, run_cases, run_tool, start_pqb, token_in, wait_until


class Device:
    """A device with a key of its own and a token that an issuer signed for it."""

    def __init__(self, directory, issuer, user, device, ttl="1h"):
        self.user, self.device = user, device
        self.state = os.path.join(directory, "devices", f"{user}.{device}")
        os.makedirs(os.path.dirname(self.state), exist_ok=True)
        self.key = run_tool("pqb", "device-key", "--state", self.state).stdout.strip()
        self.token = run_tool("pqbctl", "token", "issue", "--issuer", issuer, "--user", user, "--device",
                              device, "--device-key", self.key, "--ttl", ttl).stdout.strip()
        self.options = token_in(directory, self.token)

    def pqb(self, gateway, verb, *args, **kwargs):
        return pqb(gateway, verb, self.user, self.device, *self.options, *args,
                   **{"state": self.state, **kwargs})

    def listen(self, gateway):
        return start_pqb(gateway, "listen", self.user, self.device, *self.options, state=self.state)


def keygen(directory, name):
    path = os.path.join(directory, name)
    run_tool("pqbctl", "keygen", path)
    return path


def write(path, text):
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    return path


def what_is_kept(gateway, user):
    """All that the gateway remembers of a user and its devices, but for when they were seen."""
    kept = json.loads(gateway.ctl("user", user, "--json").stdout)
    for device in kept["devices"]:
        del device["last_seen"]
    return kept, json.loads(gateway.ctl("inbox", user, "--json").stdout)


def attempt(directory, gateway, server, options, state, verb, *words):
    """alice's names with a token and a device's key (None: one of his own), in the background."""
    thief = tempfile.mkdtemp(dir=directory)
    if state is not None:
        shutil.copy(os.path.join(state, "device.key"), thief)
    return start_pqb(gateway, verb, "alice", "phone", *options, "--timeout", 2, *words, server=server,
                     state=thief)


def end(*processes):
    for process in processes:
        process.kill()
        process.communicate()


def test_a_session_ends_with_its_token(directory):
    issuer = keygen(directory, "issuer")
    with Gateway(directory, "--auth", "token", "--issuer-key", issuer + ".pub") as gateway:
        listening = Device(directory, issuer, "short", "phone", ttl="4s").listen(gateway)
        try:
            wait_until(lambda: gateway.stats()["session.opened"] == 1)
            wait_until(lambda: gateway.stats()["session.expired"] == 1)
            wait_until(lambda: gateway.stats()["login.ticket_bad"] > 0)  # that was good no longer
            wait_until(lambda: gateway.stats()["login.refused"] > 0)
            stats = gateway.stats()
            assert stats["session.current"] == 0 and stats["session.opened"] == 1, stats
        finally:
            end(listening)


def test_who_is_revoked_is_kicked_and_his_ticket_refused(directory):
    issuer, revoked = keygen(directory, "issuer"), write(os.path.join(directory, "revoked"), "")
    with Gateway(directory, "--auth", "token", "--issuer-key", issuer + ".pub", "--revoked",
                 revoked) as gateway:
        lost, stolen, kept = (Device(directory, issuer, "ann", name) for name in ("lost", "stolen", "kept"))
        listening = [device.listen(gateway) for device in (lost, stolen, kept)]
        try:
            wait_until(lambda: gateway.stats()["session.current"] == 3)
            wait_until(lambda: all(os.path.exists(os.path.join(d.state, "ticket"))
                                   for d in (lost, stolen, kept)))
            write(revoked, f"device ann lost\nkey {stolen.key}\n")
            gateway.ctl("reload")
            wait_until(lambda: gateway.stats()["session.revoked"] == 2)
            wait_until(lambda: gateway.stats()["login.ticket_bad"] >= 2)
            wait_until(lambda: gateway.stats()["login.refused"] >= 2)
            stats = gateway.stats()
            assert stats["session.current"] == 1 and stats["session.opened"] == 3, stats
        finally:
            end(*listening)


def test_an_issuer_is_rotated_by_two_reloads(directory):
    old, new = keygen(directory, "old"), keygen(directory, "new")
    config = os.path.join(directory, "conf")
    write(config, f"issuer-key = {old}.pub\n")
    with Gateway(directory, "--auth", "token", "--config", config) as gateway:
        first = Device(directory, old, "first", "phone")
        second = Device(directory, new, "second", "phone")
        listening = [first.listen(gateway)]
        try:
            wait_until(lambda: gateway.stats()["session.current"] == 1)
            second.pqb(gateway, "listen", "--count", 1, "--timeout", 1, check=1)
            write(config, f"issuer-key = {old}.pub\nissuer-key = {new}.pub\n")
            gateway.ctl("reload")
            listening.append(second.listen(gateway))
            wait_until(lambda: gateway.stats()["session.current"] == 2)
            before = gateway.stats()
            write(config, f"issuer-key = {new}.pub\n")
            gateway.ctl("reload")
            wait_until(lambda: gateway.stats()["session.revoked"] == 1)
            wait_until(lambda: gateway.stats()["login.refused"] > before["login.refused"])
            stats = gateway.stats()
            assert stats["session.current"] == 1 and stats["session.opened"] == before["session.opened"]
            assert stats["login.ticket_bad"] > before["login.ticket_bad"], stats
        finally:
            end(*listening)


def test_nobody_gets_in_by_the_names_of_somebody_else(directory):
    issuer, other = keygen(directory, "issuer"), keygen(directory, "other")
    with Gateway(directory, "--auth", "token", "--issuer-key", issuer + ".pub") as gateway:
        alice, pad = (Device(directory, issuer, "alice", name) for name in ("phone", "pad"))
        bob = Device(directory, issuer, "bob", "pc")
        bob.pqb(gateway, "send", "--to", "alice", "taken")
        assert alice.pqb(gateway, "listen", "--count", 1, "--timeout", 20).stdout == "bob\ttaken\n"
        alice.pqb(gateway, "send", "--to", "bob", "sent")
        pad.pqb(gateway, "send", "--to", "bob", "from the other device")  # which never listens
        bob.pqb(gateway, "send", "--to", "alice", "waits for the pad")
        listening = alice.listen(gateway)
        try:
            wait_until(lambda: gateway.stats()["session.current"] == 1)
            wait_until(lambda: json.loads(gateway.ctl("user", "alice", "--json").stdout)
                       ["devices"][0]["cursor"] >= 2)
            before, stats = what_is_kept(gateway, "alice"), gateway.stats()
            forged = Device(os.path.join(directory, "elsewhere"), other, "alice", "phone")
            thieves = (("bob's token", bob.options, bob.state), ("a stolen token", alice.options, None),
                       ("a stolen token and bob's key", alice.options, bob.state),
                       ("another issuer's token", forged.options, forged.state), ("no token", [], None),
                       ("alice's key, no token", [], alice.state),
                       ("the other device's token", pad.options, pad.state))
            with Link(gateway.target) as link:
                tries = [(what, attempt(directory, gateway, link.target, options, state, *words))
                         for what, options, state in thieves
                         for words in (("listen", "--count", 1), ("send", "--to", "bob", "forged"))]
                for what, process in tries:
                    out, err = process.communicate(timeout=20)
                    assert process.returncode == 1 and out == "", (what, out, err)
            answers = [line for line in link.report if line.startswith("down: passed ")]
            assert len(answers) == 1 and answers[0].startswith("down: passed 0,"), link.report
            after, grown = what_is_kept(gateway, "alice"), gateway.stats()
            assert after == before, (before, after)
            assert grown["login.refused"] >= stats["login.refused"] + 2 * len(thieves), grown
            for counter in ("session.opened", "session.closed", "session.replaced", "msg.accepted"):
                assert grown[counter] == stats[counter], (counter, stats[counter], grown[counter])
            bob.pqb(gateway, "send", "--to", "alice", "--wait", "delivered", "--timeout", 20, "still here")
            assert gateway.stats()["session.replaced"] == stats["session.replaced"]
        finally:
            end(listening)
        got = pad.pqb(gateway, "listen", "--count", 2, "--timeout", 20).stdout
        assert got == "bob\twaits for the pad\nbob\tstill here\n", got
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)
        return (f"{len(thieves)} ways to name another's device, each twice: {grown['login.refused']} "
                "logins refused, 0 answers, 0 sessions, user and inbox as before, the session goes on")


if __name__ == "__main__":
    run_cases(globals())
