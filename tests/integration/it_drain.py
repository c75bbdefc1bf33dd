#!/usr/bin/env python3
"""Stopping, starting again and steering a gateway: drain, reload, one process a directory, the
operator's commands, and what a restored backup does to clients that are ahead of it."""
import json
import os
import re
import shutil
import signal
import time

from harness import (SANITIZED, Gateway, Link, finish_load, pqb, run_cases, run_tool, start_load,
                     start_pqb, start_tool, stored_by_pull_app, wait_until)

STOP_SECONDS = 5


def stop_in_time(gateway):
    start = time.monotonic()
    assert gateway.stop() == 0
    seconds = time.monotonic() - start
    assert seconds <= STOP_SECONDS, f"{seconds:.1f} s to stop"
    return seconds


def user(gateway, name):
    return json.loads(gateway.ctl("user", name, "--json").stdout)


def test_stopping_and_starting_under_load_loses_nothing(directory):
    with Gateway(directory) as gateway:
        process = start_load(gateway.target, "--clients", 100, "--rate", 100 if SANITIZED else 500,
                             "--duration", 6, "--loss", 0.05, "--offline", 0.1)
        took = []
        for _ in range(3):
            time.sleep(1.5)
            took.append(stop_in_time(gateway))
            gateway.start()
        print("  stopped in " + ", ".join(f"{seconds:.2f} s" for seconds in took), flush=True)
        finish_load(process)
        stop_in_time(gateway)
        gateway.ctl("verify", gateway.data)


def test_a_gateway_nobody_answers_stops_in_time(directory):
    with Gateway(directory) as gateway:
        listener = start_pqb(gateway, "listen", "bob", "phone", "--count", 1, "--timeout", 30)
        wait_until(lambda: gateway.stats()["session.current"] == 1)
        listener.kill()
        listener.wait()
        stop_in_time(gateway)
        assert "stopped" == gateway.stats()["process.state"]


def test_restarts_during_a_page_drain_lose_and_double_nothing(directory):
    count = 3000
    lines = [f"message {i}" for i in range(count)]
    path = os.path.join(directory, "bob.app")
    with Gateway(directory) as gateway:
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--timeout", 100,
            stdin="".join(line + "\n" for line in lines), timeout=120)
        with Link(gateway.target, "--delay", 30) as link:
            app = start_tool("pull_app", link.target, "bob", "phone", path, count)
            seen = [0]
            for restart in (gateway.kill9, gateway.stop):
                wait_until(lambda: user(gateway, "bob")["inbox_count"] < count - seen[-1] - 200,
                           interval=0.02)
                restart()
                gateway.start()
                seen.append(count - user(gateway, "bob")["inbox_count"])
            out, _ = app.communicate(timeout=100)
            print(f"  restarted after {seen[1:]} of {count}: {out.strip()}", flush=True)
            assert app.returncode == 0 and seen[2] < count, (out, seen)
        assert stored_by_pull_app(path) == lines


def test_reload_says_what_changed_and_what_needs_a_restart(directory):
    config = os.path.join(directory, "paquebot.conf")

    def write(*lines):
        with open(config, "w", encoding="ascii") as out:
            out.write("".join(line + "\n" for line in lines))

    write("log-level = info", "push-max = 100")
    with Gateway(directory, "--config", config) as gateway:
        write("log-level = debug", "push-max = 50", "map-size = 2GiB")
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: gateway.stats()["process.reloads"] == 1)
        log = gateway.log()
        assert re.search(r"push-max", log) and re.search(r"log-level", log), log
        assert re.search(r"map-size.*restart|restart.*map-size", log), log

        write("push-maks = 3")
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: gateway.stats()["process.reload_errors"] == 1)
        assert re.search(r"push-maks.*push-max|push-max.*push-maks", gateway.log()), gateway.log()
        done = gateway.ctl("reload", check=1)
        assert "push-maks" in done.stdout + done.stderr, done

        write("push-max = 60")
        done = gateway.ctl("reload")
        assert "push-max" in done.stdout, done.stdout
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "still there")


def test_a_second_gateway_on_the_same_data_refuses(directory):
    with Gateway(directory) as gateway:
        done = run_tool("paquebotd", "--security", "plaintext", "--auth", "any", "--data",
                        gateway.data, "--listen", "127.0.0.1:0", check=1)
        assert done.stdout == "" and gateway.data in done.stderr, done.stderr
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "undisturbed")
        assert gateway.stats()["process.state"] == "running"
        done = gateway.ctl("verify", gateway.data, check=1)
        assert done.stderr, "a running store can't be verified"
        gateway.kill9()
        gateway.start()  # what a killed one leaves behind is in nobody's way


def test_the_operator_sees_users_sessions_and_inboxes(directory):
    with Gateway(directory) as gateway:
        for i in range(3):
            pqb(gateway, "send", "alice", "laptop", "--to", "bob", f"message {i}")
        bob = user(gateway, "bob")
        assert bob["inbox_count"] == 3 and bob["inbox_bytes"] > 0 and bob["inbox_head"] > 0
        assert bob["devices"] == []
        inbox = json.loads(gateway.ctl("inbox", "bob", "--json").stdout)
        assert [m["from"] for m in inbox["messages"]] == ["alice"] * 3, inbox
        assert [m["iseq"] for m in inbox["messages"]] == [bob["inbox_head"] + i for i in (-2, -1, 0)]
        assert "message 0" not in gateway.ctl("inbox", "bob").stdout, "bodies are private"

        phone = start_pqb(gateway, "listen", "bob", "phone", "--count", 4, "--timeout", 60)
        wait_until(lambda: user(gateway, "bob")["inbox_count"] == 0)
        bob = user(gateway, "bob")
        assert [(d["device"], d["online"], d["cursor"]) for d in bob["devices"]] == [
            ("phone", True, bob["inbox_head"])], bob
        assert bob["devices"][0]["last_seen"] > 1.6e12
        listed = json.loads(gateway.ctl("sessions", "--json").stdout)
        assert [(s["user"], s["device"]) for s in listed["sessions"]] == [("bob", "phone")], listed
        assert "phone" in gateway.ctl("sessions").stdout

        # A kick ends the session; the client comes back by itself and misses nothing.
        opened = gateway.stats()["session.opened"]
        gateway.ctl("kick", "bob", "phone")
        wait_until(lambda: gateway.stats()["session.opened"] == opened + 1)
        assert gateway.stats()["session.kicked"] == 1
        pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--wait", "delivered", "message 3")
        out, err = phone.communicate(timeout=20)
        assert out == "".join(f"alice\tmessage {i}\n" for i in range(4)), (out, err)

        gateway.ctl("user", "nobody", check=1)
        gateway.ctl("inbox", "nobody", check=1)
        gateway.ctl("kick", "nobody", check=1)
        gateway.ctl("drain")
        assert gateway.process.wait(STOP_SECONDS + 1) == 0


def test_a_restored_backup_begins_a_new_generation_and_clients_go_on(directory):
    backup = os.path.join(directory, "backup")

    def send(text, **kwargs):
        return pqb(gateway, "send", "alice", "laptop", "--to", "bob", "--timeout", 20, text, **kwargs)

    def listen(count, **kwargs):
        return pqb(gateway, "listen", "bob", "phone", "--count", count, "--timeout", 20,
                   **kwargs).stdout

    with Gateway(directory) as gateway:
        send("one")
        assert listen(1) == "alice\tone\n"
        send("two")
        process = start_load(gateway.target, "--clients", 50, "--rate", 200, "--duration", 3)
        time.sleep(1)
        gateway.ctl("backup", backup)
        gateway.ctl("backup", backup, check=1)  # never over an older one
        finish_load(process)
        gateway.ctl("verify", backup)
        head = user(gateway, "bob")["inbox_head"]
        for text in ("three", "four"):
            send(text)
        assert listen(3) == "alice\ttwo\nalice\tthree\nalice\tfour\n"
        assert gateway.stop() == 0

        # The disk is lost; the operator brings the backup. bob and alice are ahead of it.
        shutil.rmtree(gateway.data)
        shutil.copytree(backup, gateway.data)
        gateway.start()
        assert user(gateway, "bob")["inbox_head"] >> 40 >= head >> 40
        # It is queued before the device learns of the loss: what it queued in an epoch that the lost
        # disk may have gone on with is never sent again by itself.
        assert "uncertain" in send("five", check=1).stderr
        send("six")
        got = listen(1)
        # `two` had been taken before the disk was lost, and so had everything above it.
        assert got == "alice\tsix\n", got
        assert user(gateway, "bob")["inbox_head"] >> 40 > head >> 40, "a new generation"
        send("seven")
        assert listen(1) == "alice\tseven\n"
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)


if __name__ == "__main__":
    run_cases(globals())
