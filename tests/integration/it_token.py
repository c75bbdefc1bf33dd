#!/usr/bin/env python3
"""Issuers' keys and the tokens they sign: pqbctl keygen, token issue, token show. What they make is checked
by another implementation (python3-cryptography), and what that makes is shown by pqbctl."""
import base64
import json
import os
import re
import stat
import struct
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness import Gateway, pqb, run_cases, run_tool, start_pqb, wait_until

DEVICE_KEY = bytes(range(32)).hex()
ANN = ("--user", "ann", "--device", "phone", "--device-key", DEVICE_KEY)


# ------------------------------------------------------------------------- PASETO v4.public, again

def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def pae(*pieces):
    return struct.pack("<Q", len(pieces)) + b"".join(struct.pack("<Q", len(p)) + p for p in pieces)


def paseto_sign(secret, message, footer=b"", implicit=b"paquebot"):
    signature = secret.sign(pae(b"v4.public.", message, footer, implicit))
    return "v4.public." + b64(message + signature) + ("." + b64(footer) if footer else "")


def paseto_verify(key, token, implicit=b"paquebot"):
    """The message, or InvalidSignature."""
    version, purpose, payload, *footer = token.split(".")
    assert (version, purpose) == ("v4", "public") and len(footer) <= 1, token
    payload, footer = unb64(payload), unb64(footer[0]) if footer else b""
    key.verify(payload[-64:], pae(b"v4.public.", payload[:-64], footer, implicit))
    return payload[:-64]


def public_of(secret):
    return secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def date(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return path


def keygen(directory, name="issuer"):
    path = os.path.join(directory, name)
    run_tool("pqbctl", "keygen", path)
    return path


def show(token, *options, check=0):
    return json.loads(run_tool("pqbctl", "token", "show", "-", "--json", *options, stdin=token,
                               check=check).stdout)


def wrong(status, *words, stdin=None, says=()):
    done = run_tool("pqbctl", *words, stdin=stdin, check=status)
    assert done.stdout == "", done.stdout
    for text in says:
        assert text in done.stderr, (text, done.stderr)
    return done.stderr


# ------------------------------------------------------------------------------------------- cases

def test_the_other_implementation_is_right(directory):
    """PASETO's own test vector 4-S-1."""
    del directory
    seed = bytes.fromhex("b4cbfb43df4ce210727d953e4a713307fa19bb7d9f85041438d9e11b942a3774")
    message = b'{"data":"this is a signed message","exp":"2022-01-01T00:00:00+00:00"}'
    token = ("v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDow"
             "MCswMDowMCJ9bg_XBBzds8lTZShVlwwKSgeKpLT3yukTw6JUz3W4h_ExsQV-P0V54zemZDcAxFaSeef1QlXEFtkqx"
             "T1ciiQEDA")
    secret = Ed25519PrivateKey.from_private_bytes(seed)
    assert paseto_sign(secret, message, implicit=b"") == token
    assert paseto_verify(secret.public_key(), token, implicit=b"") == message


def test_keygen_makes_two_files_and_overwrites_neither(directory):
    path = os.path.join(directory, "issuer")
    old_umask = os.umask(0)
    try:
        said = run_tool("pqbctl", "keygen", path).stdout
    finally:
        os.umask(old_umask)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path + ".pub").st_mode) == 0o644
    assert read(path + ".pub") == said and re.fullmatch(r"k4\.public\.[\w-]{43}\n", said), said
    assert re.fullmatch(r"k4\.secret\.[\w-]{86}\n", read(path))
    secret = unb64(read(path).strip()[10:])
    assert public_of(Ed25519PrivateKey.from_private_bytes(secret[:32])) == secret[32:]
    assert unb64(said.strip()[10:]) == secret[32:]
    before = read(path)
    wrong(1, "keygen", path, says=("not overwritten", "another name"))
    os.unlink(path)
    wrong(1, "keygen", path, says=(path + ".pub", "not overwritten"))
    assert not os.path.exists(path) and before not in read(path + ".pub")
    wrong(1, "keygen", os.path.join(directory, "none", "issuer"), says=("No such file",))
    wrong(2, "keygen", says=("Try 'pqbctl keygen",))
    assert read(keygen(directory, "another")) != before


def test_another_implementation_verifies_what_is_issued(directory):
    issuer = keygen(directory)
    now = int(time.time())
    token = run_tool("pqbctl", "token", "issue", "--issuer", issuer, *ANN, "--ttl", "2h").stdout.strip()
    key = Ed25519PublicKey.from_public_bytes(unb64(read(issuer + ".pub").strip()[10:]))
    claims = json.loads(paseto_verify(key, token))
    assert set(claims) == {"sub", "dev", "key", "iat", "exp"}, claims
    assert (claims["sub"], claims["dev"], claims["key"]) == ("ann", "phone", DEVICE_KEY)
    issued = next(s for s in range(now, now + 30) if claims["iat"] == date(s))
    assert claims["exp"] == date(issued + 7200)
    try:
        paseto_verify(key, token, implicit=b"")
        raise AssertionError("verified without the implicit assertion")
    except InvalidSignature:
        pass
    names = ("--user", 'é"\\ü', "--device", "a b", "--device-key", DEVICE_KEY.upper())
    token = run_tool("pqbctl", "token", "issue", "--issuer", issuer, *names).stdout.strip()
    claims = json.loads(paseto_verify(key, token))
    assert (claims["sub"], claims["dev"], claims["key"]) == ('é"\\ü', "a b", DEVICE_KEY)
    assert show(token, "--issuer-key", issuer + ".pub")["user"] == 'é"\\ü'


def test_what_another_implementation_issues_is_shown(directory):
    secret = Ed25519PrivateKey.generate()
    pub = write(os.path.join(directory, "other.pub"), "k4.public." + b64(public_of(secret)) + "\n")
    now = int(time.time())
    claims = {"exp": date(now + 3600).replace("Z", "+00:00"), "aud": ["x", {"y": None}], "sub": "Zoë 🚢",
              "nbf": date(now - 5), "key": DEVICE_KEY.upper(), "dev": "pc"}
    for ascii_only in (True, False):
        for footer in (b"", b'{"kid":"k4.pid.x"}'):
            message = json.dumps(claims, ensure_ascii=ascii_only, indent=1 if footer else None).encode()
            token = paseto_sign(secret, message, footer)
            shown = show(token + "\n", "--issuer-key", pub)
            assert shown == {"user": "Zoë 🚢", "device": "pc", "device_key": DEVICE_KEY, "state": "valid",
                             "not_before": date(now - 5), "expires": date(now + 3600),
                             "signature": "valid"}, shown
    unbound = paseto_sign(secret, message, implicit=b"")
    assert show(unbound, "--issuer-key", pub, check=1)["signature"] == "invalid"
    assert show(unbound)["signature"] == "unchecked"
    forged = token[:-3] + ("AAA" if token[-3:] != "AAA" else "BBB")
    assert show(forged, "--issuer-key", pub, check=1)["signature"] == "invalid"
    twice = paseto_sign(secret, message.rstrip()[:-1] + b',"sub":"eve"}')
    wrong(1, "token", "show", "-", "--issuer-key", pub, stdin=twice, says=("each once",))


def test_a_token_is_shown_as_valid_expired_or_not_yet_valid(directory):
    secret = Ed25519PrivateKey.generate()
    pub = write(os.path.join(directory, "other.pub"), "k4.public." + b64(public_of(secret)))
    now = int(time.time())
    for begin, end, state in ((-60, 60, "valid"), (-60, -1, "expired"), (60, 120, "not_yet_valid")):
        claims = {"sub": "ann", "dev": "pc", "key": DEVICE_KEY, "nbf": date(now + begin),
                  "exp": date(now + end)}
        token = paseto_sign(secret, json.dumps(claims).encode())
        assert show(token)["state"] == state
        shown = show(token, "--issuer-key", pub, check=0 if state == "valid" else 1)
        assert (shown["state"], shown["signature"]) == (state, "valid")
        people = run_tool("pqbctl", "token", "show", write(os.path.join(directory, "token"), token)).stdout
        assert re.search(rf"^state +{state}$", people, re.M) and "unchecked" in people, people


def test_a_token_can_be_written_to_a_file(directory):
    issuer, out = keygen(directory), os.path.join(directory, "token")
    done = run_tool("pqbctl", "token", "issue", "--issuer", issuer, *ANN, "--out", out)
    assert done.stdout == "" and stat.S_IMODE(os.stat(out).st_mode) == 0o600
    shown = json.loads(run_tool("pqbctl", "token", "show", out, "--json", "--issuer-key",
                                issuer + ".pub").stdout)
    assert shown["state"] == "valid" and shown["user"] == "ann", shown
    wrong(1, "token", "issue", "--issuer", issuer, *ANN, "--out", out, says=("not overwritten",))


def test_wrong_uses_say_what_to_do(directory):
    issuer = keygen(directory)
    ok = ["token", "issue", "--issuer", issuer, *ANN]
    said = wrong(1, *ok[:2], "--issuer", issuer + ".pub", *ANN, says=("public key", "without .pub"))
    assert read(issuer).strip() not in said
    wrong(1, *ok[:2], "--issuer", write(os.path.join(directory, "junk"), "junk"), *ANN, says=("keygen",))
    broken = read(issuer).strip()[:-4] + "AAAA"
    wrong(1, *ok[:2], "--issuer", write(os.path.join(directory, "broken"), broken), *ANN, says=("keygen",))
    wrong(1, *ok[:2], "--issuer", os.path.join(directory, "none"), *ANN, says=("No such file",))
    wrong(2, *ok[:2], *ANN, says=("--issuer is required",))
    wrong(2, *ok[:6], says=("is required",))
    for key in ("00", DEVICE_KEY + "00", "zz" * 32, ""):
        wrong(2, *ok[:8], "--device-key", key, says=("64 hexadecimal digits", "pqb device-key"))
    for name in ("", "a" * 65, "a\nb"):
        wrong(2, *ok, "--user", name, says=("--user needs",))
    for name in ("", "a" * 33, "a\x7fb"):
        wrong(2, *ok, "--device", name, says=("--device needs",))
    for ttl in ("30", "0s", "forever", "36501d", "-1d", "999ms"):
        wrong(2, *ok, "--ttl", ttl, says=("--ttl needs", "30d"))
    wrong(2, "token", says=("'issue' or 'show'",))
    wrong(2, "token", "make", says=("'issue' or 'show'",))
    wrong(2, "token", "show", says=("standard input",))
    wrong(1, "token", "show", "-", stdin="", says=("not a v4.public token",))
    wrong(1, "token", "show", "-", stdin="v4.local.AAAA", says=("not a v4.public token",))
    token = run_tool("pqbctl", *ok).stdout
    said = wrong(1, "token", "show", "-", "--issuer-key", issuer, stdin=token, says=(".pub",))
    assert read(issuer).strip() not in said
    for command in (("keygen",), ("token",), ("token", "issue"), ("token", "show")):
        assert run_tool("pqbctl", *command, "--help").stdout.startswith("Usage: pqbctl " + " ".join(command))


def test_the_gateway_reads_issuers_and_says_what_is_wrong_with_them(directory):
    issuer = keygen(directory)
    base = ("--data", os.path.join(directory, "data"), "--listen", "127.0.0.1:0")
    plain = run_tool("paquebotd", *base, "--security", "plaintext", "--auth", "token", "--issuer-key",
                     issuer + ".pub", check=2)
    assert "noise" in plain.stderr, plain.stderr
    none = run_tool("paquebotd", *base, "--auth", "token", check=2)
    assert "--issuer-key FILE" in none.stderr, none.stderr


def test_a_reload_ends_the_sessions_of_the_revoked_and_nobody_elses(directory):
    revoked = write(os.path.join(directory, "revoked"), "# nobody yet\n")
    with Gateway(directory, "--revoked", revoked) as gateway:
        pqb(gateway, "send", "ann", "phone", "--to", "bob", "one")
        pqb(gateway, "send", "eve", "pc", "--to", "bob", "two")
        write(revoked, "user eve\nusr ann\n")
        refused = gateway.ctl("reload", check=1)
        assert "revoked:2" in refused.stderr and "'user NAME'" in refused.stderr, refused.stderr
        pqb(gateway, "send", "eve", "pc", "--to", "bob", "three")  # the old list is in force
        listening = start_pqb(gateway, "listen", "eve", "pc")
        other = start_pqb(gateway, "listen", "ann", "phone")
        try:
            wait_until(lambda: gateway.stats()["session.current"] == 2)
            write(revoked, "user eve\n")
            gateway.ctl("reload")
            wait_until(lambda: gateway.stats()["session.revoked"] == 1)
            wait_until(lambda: gateway.stats()["login.refused"] > 0)  # it tries again, in vain
            assert gateway.stats()["session.current"] == 1
        finally:
            for process in (listening, other):
                process.kill()
                process.wait()
        assert "revoked=1" in gateway.log(), gateway.log()


if __name__ == "__main__":
    run_cases(globals())
