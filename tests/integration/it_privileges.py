#!/usr/bin/env python3
"""What the daemon may still do once it serves, and that it does all its work with no more."""
import json
import os
import pwd
import socket
import stat
import subprocess

from harness import (SANITIZED, Gateway, Skip, finish_load, load, pqb, program, run_cases,
                     start_load, token_in, wait_until)

NOBODY = pwd.getpwnam("nobody")
NO_CAPABILITY = "0" * 16


def needs_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def status_of(pid, thread=None):
    """/proc/PID/status, or a thread's, as a dictionary."""
    path = f"/proc/{pid}/status" if thread is None else f"/proc/{pid}/task/{thread}/status"
    with open(path, encoding="utf-8") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def as_account(name, function):
    """What `function` returns, a string, or the name of what it raises, under another account: in a
    child, because a program of root's may be out of that account's reach."""
    account = pwd.getpwnam(name)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            said = function()
        except Exception as error:
            said = type(error).__name__
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read().decode()
    os.waitpid(child, 0)
    return said


def check_process(gateway, is_filtered=not SANITIZED):
    """No thread has a capability or gets one, or is without the filter; no core dump."""
    pid = gateway.process.pid
    threads = os.listdir(f"/proc/{pid}/task")
    assert SANITIZED or len(threads) == 4, threads  # main, writer, two shards
    names = set()
    for thread in threads:
        status = status_of(pid, thread)
        names.add(status["Name"])
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert status[capabilities] == NO_CAPABILITY, status
        assert status["NoNewPrivs"] == "1", status
        assert status["Seccomp"] == ("2" if is_filtered else "0"), status
        if os.geteuid() == 0:  # another account cannot empty it, and does not need to
            assert status["CapBnd"] == NO_CAPABILITY, status
    assert {"pqb-shard-0", "pqb-shard-1"} <= names, names
    assert status_of(pid)["Umask"] == "0077"
    with open(f"/proc/{pid}/limits", encoding="utf-8") as limits:
        core = next(line.split() for line in limits if line.startswith("Max core file size"))
    assert core[4:6] == ["0", "0"], core


def check_files(folder, uid):
    for place, folders, files in os.walk(folder):
        for name in [".", *folders, *files]:
            st = os.lstat(os.path.join(place, name))
            mode = 0o700 if stat.S_ISDIR(st.st_mode) else 0o600
            assert (stat.S_IMODE(st.st_mode), st.st_uid) == (mode, uid), (place, name, oct(st.st_mode))


def do_all_work(gateway, config, copy):
    """A load, and while it runs whatever an operator can ask for."""
    running = start_load(gateway.target, "--clients", 20, "--rate", 100, "--duration", 4, "--settle", 30)
    try:
        wait_until(lambda: gateway.stats()["session.current"] == 20)
        listed = json.loads(gateway.ctl("sessions", "--json").stdout)["sessions"]
        assert json.loads(gateway.ctl("kick", listed[0]["user"], "--json").stdout)["kicked"] == 1
        assert json.loads(gateway.ctl("user", listed[1]["user"], "--json").stdout)["ok"]
        gateway.ctl("checkpoint")
        with open(config, "w", encoding="utf-8") as out:
            out.write("push-max = 20\n")
        changed = json.loads(gateway.ctl("reload", "--json").stdout)["changed"]
        assert [c["key"] for c in changed] == ["push-max"], changed
        assert json.loads(gateway.ctl("backup", copy, "--json").stdout) == {"ok": True, "backup": copy}
    finally:
        finish_load(running)
    pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--wait", "accepted", "x" * 20000)
    gateway.ctl("checkpoint")
    gateway.ctl("inbox", "bob")
    gateway.ctl("status")
    stats = gateway.stats()
    assert stats["process.state"] == "running" and stats["process.rss_bytes"] > 0, stats
    report = json.loads(gateway.ctl("verify", copy, "--json").stdout)
    assert report["ok"] and report["findings"] == 0, report
    gateway.ctl("drain")
    assert gateway.process.wait(20) == 0
    assert not os.path.exists(os.path.join(gateway.data, "control.sock"))


def start(directory, *options):
    config = os.path.join(directory, "conf")
    with open(config, "w", encoding="utf-8") as out:
        out.write("push-max = 10\n")
    os.chmod(config, 0o644)
    return Gateway(directory, "--shards", 2, "--config", config, *options), config


def test_it_serves_under_its_own_account_with_nothing_more(directory):
    gateway, config = start(directory)
    with gateway:
        check_process(gateway)
        check_files(gateway.data, os.geteuid())
        assert ("this runs as root" in gateway.log()) == (os.geteuid() == 0), gateway.log()
        assert ("system calls are filtered" in gateway.log()) != SANITIZED, gateway.log()
        copy = os.path.join(directory, "copy")
        do_all_work(gateway, config, copy)
        check_files(gateway.data, os.geteuid())
        check_files(copy, os.geteuid())


def test_root_becomes_another_account_and_serves(directory):
    needs_root()
    os.chmod(directory, 0o755)
    gateway, config = start(directory, "--user", "nobody")
    with gateway:
        pid = gateway.process.pid
        check_process(gateway)
        check_files(gateway.data, NOBODY.pw_uid)
        assert "this runs as root" not in gateway.log(), gateway.log()
        status = status_of(pid)
        assert set(status["Uid"].split()) == {str(NOBODY.pw_uid)}, status
        assert set(status["Gid"].split()) == {str(NOBODY.pw_gid)}, status
        assert set(status["Groups"].split()) <= {str(NOBODY.pw_gid)}, status
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0  # not dumpable: not even its account's
        assert as_account("nobody", lambda: open(f"/proc/{pid}/environ").read()) == "PermissionError"
        do_all_work(gateway, config, os.path.join(gateway.data, "copy"))
        check_files(gateway.data, NOBODY.pw_uid)
        gateway.start()  # what it wrote it can read again
        assert gateway.stop() == 0


def test_the_filter_can_be_left_away(directory):
    gateway, _ = start(directory, "--seccomp", "no")
    with gateway:
        check_process(gateway, is_filtered=False)
        load(gateway.target, "--clients", 5, "--rate", 50, "--duration", 1, "--settle", 20)
        assert gateway.stop() == 0


def test_root_is_held_to_the_modes_of_a_directory(directory):
    needs_root()
    data = os.path.join(directory, "data")
    os.mkdir(data, 0o700)
    os.chown(data, NOBODY.pw_uid, NOBODY.pw_gid)
    done = subprocess.run([program("paquebotd"), "--auth", "any", "--listen", "127.0.0.1:0", "--data",
                           data], text=True, stderr=subprocess.PIPE, timeout=30, check=False)
    assert done.returncode == 1 and "start as its owner" in done.stderr, done
    assert f"owner={NOBODY.pw_uid} account=0" in done.stderr, done


def test_a_data_directory_that_others_see_is_told_of_and_left_alone(directory):
    for mode, told in ((0o700, None), (0o755, "can look into the data directory;"),
                       (0o770, "and change what is in it;")):
        data = os.path.join(directory, f"data{mode:o}")
        os.mkdir(data)
        os.chmod(data, mode)
        with Gateway(directory, data=data) as gateway:
            assert told is None or told in gateway.log(), gateway.log()
            assert told is not None or "other accounts can" not in gateway.log(), gateway.log()
            assert gateway.stop() == 0
        assert stat.S_IMODE(os.stat(data).st_mode) == mode


def test_the_control_socket_knows_its_peers(directory):
    """Its mode keeps others away; if somebody opens it to all, their credentials still do."""
    needs_root()
    os.chmod(directory, 0o755)

    def ask():
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(path)
            try:
                s.sendall(b"status\n")
                return s.recv(100).decode()[:10]
            except ConnectionError:
                return ""

    with Gateway(directory, "--user", "nobody") as gateway:
        path = os.path.join(gateway.data, "control.sock")
        assert as_account("daemon", ask) == "PermissionError"
        os.chmod(gateway.data, 0o755)
        assert as_account("daemon", ask) == "PermissionError"
        os.chmod(path, 0o666)
        assert as_account("daemon", ask) == ""
        assert gateway.stats()["control.refused"] == 1
        assert as_account("nobody", ask) == as_account("root", ask) == '{"ok":true'
        assert gateway.stop() == 0


def test_secrets_are_in_no_log_and_no_answer(directory):
    tokens = os.path.join(directory, "tokens")
    with open(tokens, "w", encoding="utf-8") as out:
        out.write("alice laptop Right0Secret\n")
    with Gateway(directory, "--auth", "static", "--token-file", tokens, "--log-level", "debug") as gateway:
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--wait", "accepted",
            *token_in(directory, "Right0Secret"), "Body0Text")
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", *token_in(directory, "Wrong0Secret"),
            "--timeout", 1, "Body0Text", check=1, state=os.path.join(directory, "other"))
        with open(tokens, "w", encoding="utf-8") as out:
            out.write("alice laptop Next0Secret\nalice phone Odd0Secret and more\n")
        said = gateway.ctl("reload", check=1)
        shown = [said.stdout, said.stderr]
        for command in ("status", "sessions", "stats", ("user", "alice"), ("inbox", "bob")):
            words = (command,) if isinstance(command, str) else command
            shown.append(gateway.ctl(*words, "--json").stdout)
        assert gateway.stop() == 0
        shown.append(gateway.log())
        for secret in ("0Secret", "0Text"):
            assert not any(secret in text for text in shown), (secret, shown)


if __name__ == "__main__":
    run_cases(globals())
