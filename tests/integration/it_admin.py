#!/usr/bin/env python3
"""Starting, watching, steering and stopping a gateway: what an operator does."""
import json
import os
import signal
import socket
import stat
import subprocess
import time

from harness import (Gateway, pqb, program, run_cases, run_tool, start_load, start_tool, token_in,
                     wait_until)


def refused(*options, check):
    """Starts a gateway that must not come up; returns what it said on stderr."""
    done = subprocess.run([program("paquebotd"), *map(str, options)], text=True, timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == check, (done.returncode, done.stderr)
    assert "ready" not in done.stdout, done.stdout
    return done.stderr


def ask(gateway, raw):
    """What the control socket answers to raw bytes."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(os.path.join(gateway.data, "control.sock"))
        s.sendall(raw)
        try:
            s.shutdown(socket.SHUT_WR)
            return s.makefile(encoding="utf-8").read()
        except (ConnectionResetError, BrokenPipeError):  # hung up on with input unread
            return ""


def test_ready_names_what_was_bound_and_counters_are_there(directory):
    with Gateway(directory, listen=("127.0.0.1:0", "[::1]:0"), *("--shards", 2)) as gateway:
        assert len(gateway.listen) == 2 and all(not a.endswith(":0") for a in gateway.listen)
        assert "shards=2" in gateway.ready and "security=noise" in gateway.ready
        stats = gateway.stats()
        for name in ("msg.accepted", "msg.stored", "msg.delivered", "msg.duplicate", "commit.count",
                     "commit.messages", "udp.datagrams_in", "udp.datagrams_out", "udp.bytes_in",
                     "udp.bytes_out", "session.current", "nack.busy", "drop.short"):
            assert stats[name] == 0, name
        assert stats["process.pid"] == gateway.process.pid
        assert stats["process.state"] == "running"
        assert "paquebot_msg_accepted_total 0\n" in gateway.ctl("stats", "--prom").stdout
        assert "COUNTER" in gateway.ctl("stats").stdout
        top = gateway.ctl("top", "--count", 2, "--every", "0.3").stdout
        assert "alarms: none" in top and all(len(line) <= 80 for line in top.splitlines())
        mode = os.stat(os.path.join(gateway.data, "control.sock")).st_mode
        assert stat.S_IMODE(mode) == 0o600, oct(mode)
        assert gateway.stop() == 0
        assert not os.path.exists(os.path.join(gateway.data, "control.sock"))
        assert gateway.stats()["process.state"] == "stopped"


def test_two_shards_serve_both_families(directory):
    with Gateway(directory, "--shards", 2, listen=("127.0.0.1:0", "[::1]:0")) as gateway:
        for target in gateway.listen:
            run_tool("pqbsim", "load", "--target", target, "--clients", 20, "--rate", 200, "--duration", 2,
                     "--settle", 20, timeout=90)
        stats = gateway.stats()
        assert stats["msg.accepted"] >= 700 and stats["mail.in"] > 0, stats
        assert stats["udp.misrouted"] == 0 and stats["udp.send_dropped"] == 0, stats
        assert gateway.stop() == 0


def test_one_gateway_a_directory_and_a_port(directory):
    with Gateway(directory, "--shards", 2) as gateway:
        said = refused("--auth", "any", "--data", gateway.data, "--listen", "127.0.0.1:0", check=1)
        assert "another gateway has this data directory" in said, said
        assert f"pid={gateway.process.pid}" in said, said
        assert gateway.ctl("status", "--json").stdout.startswith('{"ok":true')  # it did no harm
        other = os.path.join(directory, "other")
        for shards in (1, 2):
            said = refused("--auth", "any", "--data", other, "--listen", gateway.target, "--shards",
                           shards, check=1)
            assert "the port is in use" in said, said


def test_wrong_settings_are_refused_with_what_to_do(directory):
    config = os.path.join(directory, "conf")
    with open(config, "w", encoding="utf-8") as out:
        out.write("shards = 1\nlisen = 127.0.0.1:0\n")
    assert "conf:2: unknown option 'lisen'; did you mean 'listen'?" in refused("--config", config,
                                                                               check=2)
    assert "did you mean" in refused("--shard", "1", check=2)
    assert "--token-file" in refused("--auth", "static", check=2)
    plain = ("--security", "plaintext", "--listen", "0.0.0.0:0")
    assert "insecure-plaintext" in refused("--auth", "any", *plain, check=2)
    assert "for loopback only" in refused("--auth", "any", *plain, "--insecure-plaintext", "yes",
                                          check=2)
    assert "for loopback only" in refused("--auth", "any", "--listen", "0.0.0.0:0", check=2)
    assert "cannot open the store" in refused("--auth", "any", "--listen", "127.0.0.1:0", "--data",
                                              os.path.join(directory, "no/such/place"), check=1)
    run_tool("paquebotd", "--auth", "any", "--check-config")
    assert "map-size = 16GiB" in run_tool("paquebotd", "--auth", "any", "--print-config").stdout


def test_a_killed_gateway_reads_as_dead_and_starts_again(directory):
    with Gateway(directory) as gateway:
        gateway.kill9()
        assert gateway.stats()["process.state"] == "dead"
        assert "no gateway answers" in gateway.ctl("status", check=1).stderr
        gateway.start()
        assert gateway.stats()["process.state"] == "running"
        gateway.ctl("status")


def test_a_hung_gateway_is_told_from_a_running_one(directory):
    with Gateway(directory) as gateway:
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: gateway.stats()["process.state"] == "hung")
            assert "no heartbeat" in gateway.ctl("stats").stdout
        finally:
            gateway.process.send_signal(signal.SIGCONT)
        wait_until(lambda: gateway.stats()["process.state"] == "running")


def test_an_operator_sees_and_kicks_sessions(directory):
    with Gateway(directory, "--shards", 2) as gateway:
        running = start_tool("pqbsim", "load", "--target", gateway.target, "--clients", 6, "--rate", 20,
                             "--duration", 4, "--settle", 20, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: gateway.stats()["session.current"] == 6)
            listed = json.loads(gateway.ctl("sessions", "--json").stdout)
            assert listed["count"] == 6 and len(listed["sessions"]) == 6, listed
            assert len(json.loads(gateway.ctl("sessions", "--limit", 2, "--json").stdout)["sessions"]) == 2
            name = listed["sessions"][0]["user"]
            user = json.loads(gateway.ctl("user", name, "--json").stdout)
            assert {"inbox_head", "inbox_count", "inbox_bytes"} <= user.keys(), user
            (device,) = user["devices"]
            assert {"device", "cursor", "online", "last_seen"} <= device.keys() and device["online"]
            assert json.loads(gateway.ctl("kick", name, "--json").stdout)["kicked"] == 1
            assert "no such session" in gateway.ctl("kick", name, "other", check=1).stderr
            assert "no user of this name" in gateway.ctl("user", "no body", check=1).stderr
            gateway.ctl("checkpoint")
        finally:
            assert running.wait(60) == 0  # who was kicked came back, and nothing was lost
        assert gateway.stats()["session.kicked"] == 1


def test_messages_that_wait_are_listed_without_what_they_say(directory):
    with Gateway(directory) as gateway:
        for text in ("one", "three"):
            pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--wait", "accepted", text)
            gateway.ctl("checkpoint")
        for _ in range(2):  # from the journal and from the inbox, before and after a restart
            shown = gateway.ctl("inbox", "bob", "--json").stdout
            listed = json.loads(shown)
            assert "one" not in [word for word in shown.split('"') if word != "phone"], shown
            assert listed["count"] == 2, listed
            assert [(m["from"], m["device"], m["bytes"]) for m in listed["messages"]] == [
                ("alice", "laptop", 3), ("alice", "laptop", 5)], listed
            assert listed["messages"][-1]["iseq"] == listed["head"]
            user = json.loads(gateway.ctl("user", "bob", "--json").stdout)
            assert user["inbox_count"] == 2 and user["devices"] == [], user
            assert "alice" in gateway.ctl("inbox", "bob").stdout
            assert gateway.stop() == 0
            gateway.start()


def test_a_backup_is_sound_and_can_be_served(directory):
    copy = os.path.join(directory, "copy")
    with Gateway(directory) as gateway:
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--wait", "accepted", "kept")
        assert "a gateway is using" in gateway.ctl("verify", check=1).stderr
        assert json.loads(gateway.ctl("backup", copy, "--json").stdout) == {"ok": True, "backup": copy}
        assert "exists" in gateway.ctl("backup", copy, check=1).stderr
        report = json.loads(gateway.ctl("verify", copy, "--json").stdout)
        assert report["ok"] and report["findings"] == 0 and report["users"] == 2, report
        assert gateway.stop() == 0
        assert "all is well" in gateway.ctl("verify").stdout
        assert "no store" in gateway.ctl("verify", os.path.join(directory, "none"), check=1).stderr
    with Gateway(directory, data=copy) as gateway:
        got = pqb(gateway, "listen", "bob", "phone", "--count", 1, "--timeout", 20)
        assert got.stdout == "alice\tkept\n", got.stdout


def test_a_reload_applies_what_it_can_and_names_the_rest(directory):
    config = os.path.join(directory, "conf")

    def write(text):
        with open(config, "w", encoding="utf-8") as out:
            out.write(text)

    write("push-max = 10\nshards = 1\n")
    with Gateway(directory, "--config", config) as gateway:
        write("push-max = 20\nshards = 2\n")
        changed = json.loads(gateway.ctl("reload", "--json").stdout)["changed"]
        assert [(c["key"], c["needs_restart"]) for c in changed] == [("shards", True),
                                                                      ("push-max", False)], changed
        write("push-maximum = 20\n")
        assert "unknown option" in gateway.ctl("reload", check=1).stderr
        assert gateway.stats()["process.reload_errors"] == 1
        write("push-max = 30\nlog-level = debug\n")
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'key=push-max before="20" after="30"' in gateway.log())
        assert gateway.stop() == 0


def test_the_token_file_decides_who_logs_in(directory):
    tokens = os.path.join(directory, "tokens")
    with open(tokens, "w", encoding="utf-8") as out:
        out.write("somebody phone secret\n")
    with Gateway(directory, "--auth", "static", "--token-file", tokens) as gateway:
        words = ("--to", "bob", "--wait", "accepted", "hello")
        pqb(gateway, "send", "somebody", "phone", *token_in(directory, "wrong"), "--timeout", 1, *words,
            check=1)
        stats = gateway.stats()
        assert stats["login.refused"] > 0 and stats["session.opened"] == 0, stats
        pqb(gateway, "send", "somebody", "phone", *token_in(directory, "secret"), "--timeout", 20, *words)
        with open(tokens, "w", encoding="utf-8") as out:
            out.write("one two\n")
        assert "three words" in run_tool("pqbctl", "reload", env={"PQB_DATA": gateway.data},
                                         check=1).stderr
        assert gateway.stop() == 0


def test_a_drain_ends_sessions_and_stops(directory):
    with Gateway(directory, "--shards", 2) as gateway:
        running = start_load(gateway.target, "--clients", 10, "--rate", 50, "--duration", 4, "--settle",
                             30)
        wait_until(lambda: gateway.stats()["session.current"] == 10)
        begun = time.monotonic()
        gateway.ctl("drain")
        assert gateway.process.wait(10) == 0
        assert time.monotonic() - begun < 6
        assert gateway.stats()["session.drained"] == 10
        gateway.start()  # the clients come back, and nothing was lost
        report = json.loads(running.communicate(timeout=90)[0])
        assert running.returncode == 0, report


def test_the_control_socket_bears_nonsense(directory):
    with Gateway(directory) as gateway:
        for raw in (b"\n", b"nonsense\n", b"user %zz\n", b"user %00\n", b"user\n", b"a b c d e f g h i j\n",
                    b"kick " + b"x" * 80 + b"\n", b"backup relative/path\n"):
            answer = json.loads(ask(gateway, raw))
            assert answer["ok"] is False and answer["error"], (raw, answer)
        assert ask(gateway, b"x" * 9000) == ""
        assert ask(gateway, b"status") == ""
        both = ask(gateway, b"status\nsessions\n").splitlines()
        assert [json.loads(line)["ok"] for line in both] == [True, True], both
        gateway.ctl("status")


if __name__ == "__main__":
    run_cases(globals())
