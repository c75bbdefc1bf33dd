#!/usr/bin/env python3
"""What an eavesdropper and a reader of the log get to see: neither bodies nor names, tokens and keys."""
import os
import re

from harness import Gateway, Link, pqb, run_cases, token_in

USERS = {"zuleikaloring": "sextant", "quentinmarlow": "chronometer"}
BODIES = ("the sargasso is full of eels", "binnacle " * 300)  # the second comes in pieces
TOKEN = "Kraken0Token0"


def tokens(directory):
    path = os.path.join(directory, "tokens")
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(f"{user} {device} {TOKEN}{user}\n" for user, device in USERS.items())
    return path


def talk(gateway, directory, server=None):
    """A conversation, its second half resumed with tickets; and one who is not let in."""
    (ann, ann_device), (bob, bob_device) = USERS.items()
    for sender, device, recipient, to in ((ann, ann_device, bob, bob_device),
                                          (bob, bob_device, ann, ann_device)):
        for body in BODIES:
            pqb(gateway, "send", sender, device, *token_in(directory, TOKEN + sender), "--to", recipient,
                body, server=server)
        got = pqb(gateway, "listen", recipient, to, *token_in(directory, TOKEN + recipient), "--count",
                  len(BODIES), "--timeout", 20, server=server)
        assert got.stdout == "".join(f"{sender}\t{body}\n" for body in BODIES), got.stdout
    pqb(gateway, "send", ann, "stranger", *token_in(directory, TOKEN + "wrong"), "--to", bob, "--timeout", 1,
        "let me in", server=server, check=1)


def found_in_capture(directory, security):
    """Which of the words a capture of the conversation shows."""
    os.mkdir(directory)
    path = os.path.join(directory, "capture.pcap")
    with Gateway(directory, "--auth", "static", "--token-file", tokens(directory),
                 security=security) as gateway:
        with Link(gateway.target, "--pcap", path) as link:
            talk(gateway, directory, server=link.target)
        resumed = gateway.stats()["login.resumed"]
    with open(path, "rb") as file:
        capture = file.read()
    assert len(capture) > 10000, len(capture)
    words = [*USERS, *USERS.values(), "stranger", "sargasso", "binnacle", TOKEN, "let me in"]
    return {word for word in words if word.encode() in capture}, set(words), resumed, len(capture)


def secrets_of(gateway, directory):
    """Name -> bytes of all secrets in files, raw and in digits."""
    found = {}
    state = os.path.join(directory, "state")
    files = [os.path.join(gateway.data, name) for name in ("server.key", "ticket.keys")]
    files += [os.path.join(state, name, "device.key") for name in os.listdir(state)]
    for path in files:
        with open(path, "rb") as file:
            content = file.read()
        digits = re.findall(rb"\b[0-9a-fA-F]{64}\b", content)
        assert digits or len(content) == 32, (path, content)
        for n, key in enumerate([bytes.fromhex(key.decode()) for key in digits] or [content]):
            found[f"{path} {n}"] = key
    for name in os.listdir(state):
        path = os.path.join(state, name, "ticket")
        if os.path.exists(path):
            with open(path, "rb") as file:
                kept = file.read()
            found[path + " psk"] = kept[33:65]  # behind a version and the gateway's key
            found[path + " ticket"] = kept[65:97]
    return found


def test_the_log_shows_no_secret(directory):
    with Gateway(directory, "--auth", "static", "--token-file", tokens(directory), "--log-level",
                 "debug") as gateway:
        talk(gateway, directory)
        gateway.ctl("reload")
        shown = "".join(gateway.ctl(*words, "--json").stdout for words in (
            ("status",), ("sessions",), ("stats",), *(("user", user) for user in USERS),
            *(("inbox", user) for user in USERS)))
        found = secrets_of(gateway, directory)
        assert gateway.stop() == 0
        with open(gateway.log_path, "rb") as log:
            said = log.read() + shown.encode()
    assert gateway.server_key.encode() in said, "the public key is told: what is sought could be found"
    assert len(found) >= 8, found.keys()
    for name, secret in found.items():
        assert secret not in said and secret.hex().encode() not in said.lower(), name
    for word in (TOKEN, "sargasso", "binnacle", "let me in"):
        assert word.encode() not in said, word
    return f"{len(found)} keys, raw and in digits, 2 bodies and 3 tokens in none of {len(said)} bytes"


def test_a_capture_shows_no_body_name_or_token(directory):
    seen, words, *_ = found_in_capture(os.path.join(directory, "plaintext"), "plaintext")
    # All but what somebody never got to say; or this test could not fail.
    assert seen == words - {"let me in"}, words - seen
    seen, words, resumed, size = found_in_capture(os.path.join(directory, "noise"), "noise")
    assert seen == set() and resumed > 0, (seen, resumed)
    return f"{size} bytes captured, {resumed} logins resumed: 0 of {len(words)} words; in plaintext all"


if __name__ == "__main__":
    run_cases(globals())
