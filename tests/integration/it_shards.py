#!/usr/bin/env python3
"""Two shards, IPv4 and IPv6 at once: sessions on both, conversations between them, steering."""
import json

from harness import SANITIZED, Gateway, load, pqb, run_cases, start_pqb, wait_until

RATE = 100 if SANITIZED else 500
BOTH = ("127.0.0.1:0", "[::1]:0")


def by_thread(gateway):
    return json.loads(gateway.ctl("stats", "--json", "--threads").stdout)


def test_shards_share_the_load_and_talk_to_each_other(directory):
    with Gateway(directory, "--shards", 2, listen=BOTH) as gateway:
        four, six = gateway.listen
        assert four.startswith("127.0.0.1:") and six.startswith("[::1]:"), gateway.ready
        for target in (four, six):
            load(target, "--clients", 60, "--rate", RATE, "--duration", 4, "--loss", 0.05,
                 "--rebind", 2, "--offline", 0.1, title=target)
        threads = by_thread(gateway)
        shards = [threads["shard.0"], threads["shard.1"]]
        for name in ("udp.datagrams_in", "udp.datagrams_out", "msg.accepted", "session.opened",
                     "msg.delivered", "mail.in"):
            print(f"  {name}: {[shard[name] for shard in shards]}", flush=True)
            assert min(shard[name] for shard in shards) > 0, name
        # The filter in the kernel hands each shard its own: nothing had to be passed on by hand.
        assert [shard["udp.misrouted"] for shard in shards] == [0, 0]
        total = gateway.stats()
        assert total["udp.datagrams_in"] >= sum(shard["udp.datagrams_in"] for shard in shards)


def test_sessions_stand_on_both_shards_and_their_ids_say_which(directory):
    with Gateway(directory, "--shards", 2, listen=BOTH) as gateway:
        listeners = [start_pqb(gateway, "listen", f"user{i}", "phone", "--count", 1, "--timeout", 60,
                               server=gateway.listen[i % 2]) for i in range(12)]
        try:
            wait_until(lambda: gateway.stats()["session.current"] == 12)
            sessions = json.loads(gateway.ctl("sessions", "--json").stdout)["sessions"]
            shards = {int(session["cid"][:2], 16) % 2 for session in sessions}
            assert shards == {0, 1}, sessions
            for session in sessions:
                user = json.loads(gateway.ctl("user", session["user"], "--json").stdout)
                assert user["shard"] == int(session["cid"][:2], 16) % 2, (session, user)
                assert user["devices"][0]["online"] is True
            for i in range(12):  # over the other family than the listener's
                pqb(gateway, "send", "alice", "laptop", "--to", f"user{i}", "--wait", "delivered",
                    "--timeout", 20, f"to {i}", server=gateway.listen[(i + 1) % 2])
            for i, listener in enumerate(listeners):
                out, err = listener.communicate(timeout=20)
                assert out == f"alice\tto {i}\n", (out, err)
        finally:
            for listener in listeners:
                listener.kill()


def test_nothing_on_disk_depends_on_the_number_of_shards(directory):
    with Gateway(directory, "--shards", 3) as gateway:
        for i in range(8):
            pqb(gateway, "send", "alice", "laptop", "--to", f"user{i}", f"to {i}")
        for shards in (1, 2):
            assert gateway.stop() == 0
            gateway.options[-1] = str(shards)
            gateway.start()
            for i in range(shards - 1, 8, 2):
                got = pqb(gateway, "listen", f"user{i}", "phone", "--count", 1, "--timeout", 20)
                assert got.stdout == f"alice\tto {i}\n", got


if __name__ == "__main__":
    run_cases(globals())
