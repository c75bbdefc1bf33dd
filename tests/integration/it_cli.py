#!/usr/bin/env python3
"""What scripts rely on: exit statuses, --help, --version, --json, the names of the counters."""
import json
import os
import re
import subprocess

from harness import Gateway, pqb, program, run_cases, run_tool, token_in, wait_until

CTL = ("stats", "top", "status", "sessions", "user", "inbox", "kick", "drain", "reload", "checkpoint",
       "backup", "verify", "keygen", "token", "server-key")
COMMANDS = [("paquebotd",), ("pqb",), ("pqb", "send"), ("pqb", "listen"), ("pqb", "chat"),
            ("pqb", "dead-letters"), ("pqbctl",), ("pqbsim",),
            ("pqb", "device-key"),
            ("pqbsim", "load"), ("pqbsim", "link"), ("pqbsim", "inject"), *[("pqbctl", name) for name in CTL],
            ("pqbctl", "token", "issue"), ("pqbctl", "token", "show")]
NOWHERE = "127.0.0.1:9"  # discard: nobody listens there


def refused(command, status, *words):
    done = run_tool(*command, check=status)
    assert done.stdout == "", (command, done.stdout)
    for word in words:
        assert word in done.stderr, (command, word, done.stderr)
    assert re.search(r"Try|Use|use|Name|--help|did you mean|example|running|Start|needs|Give| to |set '",
                     done.stderr), (command, "does not say what to do", done.stderr)


def test_help_and_version_are_everywhere_and_exit_0(directory):
    del directory
    for command in COMMANDS:
        done = run_tool(*command, "--help")
        assert "Usage" in done.stdout and done.stderr == "", (command, done)
        assert all(len(line) <= 100 for line in done.stdout.splitlines()), command
        done = run_tool(*command, "--version")
        assert re.fullmatch(r"[\w -]+ \d+\.\d+\.\d+\n", done.stdout), (command, done.stdout)


def test_wrong_use_exits_2_and_says_what_to_do(directory):
    for command in COMMANDS:
        refused((*command, "--no-such-option", "1"), 2, "--help")
    for program_name in ("pqb", "pqbctl", "pqbsim"):
        refused((program_name,), 2, "--help")
        refused((program_name, "no-such-command"), 2, "--help")
    refused(("pqb", "send", "--server", NOWHERE, "--user", "u", "--device", "d", "text"), 2, "--to")
    refused(("pqb", "send", "--to", "v", "--user", "u", "--device", "d", "text"), 2, "--server")
    refused(("pqb", "listen", "--server", "nonsense", "--user", "u", "--device", "d"), 2, "--server")
    refused(("pqb", "dead-letters"), 2, "--state")
    refused(("pqb", "dead-letters", "--state", os.path.join(directory, "none")), 1, "not_found")
    refused(("pqbsim", "load"), 2, "--target")
    refused(("pqbsim", "load", "--target", NOWHERE, "--loss", "2"), 2, "--loss")
    refused(("pqbsim", "load", "--target", NOWHERE, "--clients"), 2, "--clients")
    refused(("pqbctl", "user", "--data", directory), 2)
    refused(("paquebotd", "--shards", "many"), 2, "shards")
    refused(("paquebotd", "--listn", "127.0.0.1:0"), 2, "--listen")  # suggests the near one
    refused(("paquebotd", "--security", "plaintext", "--auth", "any", "--listen", "0.0.0.0:0",
             "--data", directory), 2, "insecure-plaintext")


def test_an_unreachable_gateway_exits_1(directory):
    state = os.path.join(directory, "state")
    user = ("--server", NOWHERE, "--user", "u", "--device", "d", "--state", state, "--timeout", "1")
    refused(("pqb", "send", *user, "--to", "v", "text"), 1)
    refused(("pqb", "listen", *user, "--count", "1"), 1)
    for command in ("stats", "sessions", "drain", "reload", "status"):
        refused(("pqbctl", "--data", directory, command), 1, directory)
    refused(("pqbctl", "--data", directory, "user", "bob"), 1, directory)


def test_the_configuration_can_be_checked_and_shown(directory):
    path = os.path.join(directory, "paquebot.conf")
    with open(path, "w", encoding="ascii") as out:
        out.write("# a comment\nlisten = 127.0.0.1:7500\nlisten = [::1]:7500\nauth = any\n"
                  "push-max = 17\n")
    run_tool("paquebotd", "--config", path, "--check-config")
    shown = run_tool("paquebotd", "--config", path, "--print-config", "--push-max", "18").stdout
    assert "push-max = 18" in shown and "listen = [::1]:7500" in shown, shown
    with open(path, "a", encoding="ascii") as out:
        out.write("push-maks = 3\n")
    done = run_tool("paquebotd", "--config", path, "--check-config", check=2)
    assert ":6" in done.stderr or "line 6" in done.stderr, done.stderr
    assert "push-max" in done.stderr, done.stderr


NAMES = ("msg.accepted", "msg.stored", "msg.delivered", "msg.duplicate", "nack.busy", "nack.storage",
         "nack.quota", "nack.too_large", "nack.conflict", "drop.short", "drop.version",
         "drop.structure", "drop.replay", "commit.count", "commit.messages", "udp.datagrams_in",
         "udp.datagrams_out", "udp.bytes_in", "udp.bytes_out", "session.current")


def test_reports_parse_and_carry_the_names_that_others_rely_on(directory):
    with Gateway(directory) as gateway:
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", stdin="one\ntwo\n")
        done = pqb(gateway, "listen", "bob", "phone", "--json", "--count", 2, "--timeout", 20)
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        assert [m["body"] for m in messages] == ["one", "two"], messages
        for message in messages:
            assert {"iseq", "from", "device", "kind", "time", "body"} <= set(message), message
            assert (message["from"], message["device"]) == ("alice", "laptop")
        wait_until(lambda: gateway.stats()["commit.messages"] == 2)  # told 4 times a second
        stats = gateway.stats()
        assert [name for name in NAMES if name not in stats] == []
        assert stats["msg.accepted"] == stats["msg.stored"] == 2, stats
        assert stats["msg.delivered"] == 2 and stats["msg.duplicate"] == 0
        assert stats["udp.bytes_in"] >= 1200 and stats["commit.count"] > 0
        prom = gateway.ctl("stats", "--prom").stdout
        assert "paquebot_msg_accepted_total 2\n" in prom, prom
        assert "msg.accepted" in gateway.ctl("stats").stdout
        for command in (("sessions",), ("user", "bob"), ("inbox", "bob"), ("status",)):
            assert isinstance(json.loads(gateway.ctl(*command, "--json").stdout), dict)
        top = subprocess.run([program("pqbctl"), "--data", gateway.data, "top", "--count", "1"],
                             stdout=subprocess.PIPE, text=True, timeout=20, check=True).stdout
        lines = top.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 80, top


def test_the_key_that_clients_pin_is_printed_and_renewed(directory):
    data = os.path.join(directory, "keys")
    with Gateway(directory, data=data) as gateway:
        assert run_tool("pqbctl", "server-key", "--data", data).stdout == f"{gateway.server_key}\n"
        new = run_tool("pqbctl", "server-key", "--rotate", "--data", data).stdout
        assert re.fullmatch(r"[0-9a-f]{64}\n", new) and new.strip() != gateway.server_key, new
        shown = run_tool("pqbctl", "server-key", "--all", "--data", data).stdout
        assert shown == f"{new}{gateway.server_key}\n", shown


def test_control_characters_are_escaped_in_what_people_read(directory):
    with Gateway(directory) as gateway:
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "a\tb\x1b[2Jc\nd")
        done = pqb(gateway, "listen", "bob", "phone", "--count", 1, "--timeout", 20)
        assert done.stdout.count("\n") == 1 and done.stdout.count("\t") == 1, repr(done.stdout)
        assert "\x1b" not in done.stdout and done.stdout.startswith("alice\ta"), repr(done.stdout)


def test_tokens_let_in_and_keep_out(directory):
    tokens = os.path.join(directory, "tokens")
    with open(tokens, "w", encoding="ascii") as out:
        out.write("alice laptop secret-1\nbob phone secret-2\n")
    with Gateway(directory, "--auth", "static", "--token-file", tokens) as gateway:
        pqb(gateway, "send", "alice", "laptop", *token_in(directory, "secret-1"), "--to", "bob", "let in")
        for device, token in (("laptop", "secret-2"), ("phone", "secret-1")):
            pqb(gateway, "send", "alice", device, *token_in(directory, token), "--timeout", 1, "--to", "bob",
                "kept out", state=os.path.join(directory, device + token), check=1)
        pqb(gateway, "listen", "bob", "phone", "--count", 1, "--timeout", 1, check=1)
        done = pqb(gateway, "listen", "bob", "phone", *token_in(directory, "secret-2"), "--count", 1,
                   "--timeout", 20)
        assert done.stdout == "alice\tlet in\n"
        assert gateway.stats()["login.refused"] >= 3


def test_sending_leaves_what_waits_for_the_device_to_listen(directory):
    with Gateway(directory) as gateway:
        pqb(gateway, "listen", "alice", "phone", "--timeout", 0.5)
        pqb(gateway, "send", "bob", "pc", "--to", "alice", "for alice")
        pqb(gateway, "send", "alice", "phone", "--to", "bob", "--wait", "delivered", "--timeout", 1,
            "for bob", check=1)
        got = pqb(gateway, "listen", "alice", "phone", "--count", 1, "--timeout", 10)
        assert got.stdout == "bob\tfor alice\n", got


if __name__ == "__main__":
    run_cases(globals())
