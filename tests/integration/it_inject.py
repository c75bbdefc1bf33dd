#!/usr/bin/env python3
"""Each attack of `pqbsim inject` on an encrypted gateway for about two seconds, and some on one in plaintext:
every documented limit is kept."""
import json
import os

import struct
import time

from harness import LONG, SANITIZED, Gateway, Link, run_cases, run_tool, start_load

SECONDS = 20 if LONG else 2
BRIEF = 20 if LONG else 1  # where nothing has to build up
HALF_OPEN_MAX = 4096 if LONG else 1024  # more than one address fills in 10 s with cookies
SCENARIOS = (
    "amplify",
    "malformed",
    "flood-init",
    "flood-data",
    "hijack",
    "replay",
    "spoof",
    "oversize",
    "fragment-bomb",
    "window-abuse",
    "inbox-flood",
    "replay-pcap",
    "slow-consumer",
    "reconnect-storm",
    "ticket-forge",
    "downgrade",
    "key-compromise",
)


# A sanitizer's heap grows by what was freed, too.
MEMORY_CHECKS = ("gateway.memory_kib",) if SANITIZED else ()


def attack(gateway, scenario, *options, seconds=SECONDS):
    """The report of an attack that broke no limit; prints the telling figures."""
    done = run_tool("pqbsim", "inject", scenario, "--target", gateway.target,
                    *(("--seconds", seconds) if seconds else ()),
                    "--stats", os.path.join(gateway.data, "stats"), "--json",
                    *options, *(("--rate", 500) if SANITIZED else ()), check=None, timeout=150)
    assert done.returncode in (0, 1) and done.stdout, f"exit {done.returncode}\n{done.stderr}"
    report = json.loads(done.stdout)
    broken = [check for check in report["checks"]
              if not check["kept"] and check["name"] not in MEMORY_CHECKS]
    fare = report["legitimate"]
    print(f"  {scenario}: " + " ".join(f"{kind['kind']}={kind['sent']}/{kind['ratio']:.3f}"
                                       for kind in report["kinds"]) +
          " p99_us before/during: " +
          " ".join(f"{what}={fare['before'][what]['p99']}/{fare['during'][what]['p99']}"
                   for what in ("delivered_us", "login_us")), flush=True)
    assert report["kept"] == (done.returncode == 0), report
    assert not broken, f"{broken} seed {report['seed']}"
    assert fare["sent"] == fare["delivered"] > 0 and fare["during"]["login_us"]["count"] > 0, fare
    return report


def kinds_of(report):
    return {kind["kind"]: kind for kind in report["kinds"]}


def checks_of(report):
    return {check["name"]: check["value"] for check in report["checks"]}


def inject(gateway, scenario, *options, seconds=SECONDS):
    """An attack's kinds of datagrams."""
    return kinds_of(attack(gateway, scenario, *options, seconds=seconds))


def test_the_list_explains_every_attack(_directory):
    text = run_tool("pqbsim", "inject", "list").stdout
    assert all(f"{name} " in text for name in SCENARIOS) and text.count("limit:") == len(SCENARIOS)
    run_tool("pqbsim", "inject", "storm", "--target", "127.0.0.1:1", check=2)
    run_tool("pqbsim", "inject", "amplify", check=2)


def test_plaintext_gateways_keep_the_limits_too(directory):
    with Gateway(directory, "--half-open-max", 128, security="plaintext") as gateway:
        kinds = inject(gateway, "amplify", seconds=BRIEF)
        assert kinds["init"]["answers"] > 0 and kinds["init-mac1-bad"]["sent"] == 0, kinds
        report = attack(gateway, "hijack", seconds=BRIEF)
        assert kinds_of(report)["overtaking"]["answers"] > 0, report["kinds"]
        run_tool("pqbsim", "inject", "downgrade", "--target", gateway.target, check=2)


def test_no_stranger_gets_more_than_he_sent(directory):
    """Every answer that a stranger can get: RESP, RETRY, BUSY, RESET; and every question without one."""
    with Gateway(directory, "--half-open-max", 128, "--sessions-per-user-max", 4) as gateway:
        kinds, stats = inject(gateway, "amplify"), gateway.stats()
        answered = ("init", "init-repeated", "init-stranger", "init-cookie-wrong", "init-too-often",
                    "resume-ticket-junk", "data-reset-size", "data-full")
        # Some may be sound by chance, some are asked for a cookie.
        silent = set(kinds) - set(answered) - {"init-body", "garbage", "init-ciphers",
                                               "init-handshake-junk"}
        for kind in answered:
            assert kinds[kind]["answers"] > 0, kinds[kind]
        for kind in silent:
            assert kinds[kind]["sent"] > 0 and kinds[kind]["answers"] == 0, kinds[kind]
        stats["busy"] = stats["login.busy_user"] + stats["login.busy_flapping"]
        for counter in ("login.repeated", "login.retry", "login.cookie_bad", "busy", "reset.sent",
                        "login.mac1_bad", "login.other_suite", "login.forged", "login.ticket_bad"):
            assert SANITIZED or stats[counter] > 0, counter
        most = sorted(kinds, key=lambda name: -kinds[name]["ratio"])[:3]
        return (f"{sum(kind['sent'] for kind in kinds.values())} questions of {len(kinds)} kinds, "
                f"{len(silent)} of them never answered; most bytes out per byte in: " +
                ", ".join(f"{name} {kinds[name]['ratio']:.2f}" for name in most))


def test_malformed_traffic_is_counted_and_harms_nobody(directory):
    with Gateway(directory) as gateway:
        kinds = inject(gateway, "malformed", seconds=BRIEF)
        stats = gateway.stats()
        assert kinds["session-mutant"]["answers"] > 0
        for counter in ("drop.short", "drop.structure", "drop.field", "drop.unknown_frame", "drop.forged",
                        "login.forged"):
            assert stats[counter] > 0, counter
        assert gateway.stop() == 0
        gateway.ctl("verify", gateway.data)


def test_a_flood_of_logins_meets_the_cookie(directory):
    """50 000 INITs a second, in the full dose."""
    with Gateway(directory, "--half-open-max", HALF_OPEN_MAX) as gateway:
        report = attack(gateway, "flood-init", "--half-open-max", HALF_OPEN_MAX,
                        *(("--rate", 50000) if LONG else ()), seconds=10 if LONG else SECONDS)
        kinds, checks, stats = kinds_of(report), checks_of(report), gateway.stats()
        sent = sum(kind["sent"] for kind in kinds.values())
        assert stats["login.retry"] > 0 and stats["login.cookie_bad"] == 0, stats
        assert stats["login.mac1_bad"] > 0 and kinds["init-with-cookie"]["answers"] > 0, kinds
        fare = report["legitimate"]
        return (f"{sent / report['seconds']:.0f} INITs a second, half-open {checks['gateway.half_open']:.0f} of "
                f"{HALF_OPEN_MAX}, {checks['strangers.sessions']:.0f} sessions of strangers, login p99 "
                f"{fare['before']['login_us']['p99'] / 1000:.0f} ms before and "
                f"{fare['during']['login_us']['p99'] / 1000:.0f} ms during, delivered p99 "
                f"{fare['before']['delivered_us']['p99'] / 1000:.0f} ms before and "
                f"{fare['during']['delivered_us']['p99'] / 1000:.0f} ms during")


def test_a_flood_of_data_costs_neither_sessions_nor_half_of_the_messages(directory):
    """Half of it forged for living sessions; 200 000 datagrams a second, in the full dose."""
    with Gateway(directory) as gateway:
        report = attack(gateway, "flood-data", "--legitimate-rate", 100 if SANITIZED else 500,
                        "--rate", 200000 if LONG else 20000, seconds=10 if LONG else BRIEF)
        kinds, checks, stats = kinds_of(report), checks_of(report), gateway.stats()
        assert stats["drop.unknown_cid"] > 0 and stats["drop.forged"] > 0, stats
        assert SANITIZED or stats["reset.limited"] > 0
        sent, fare = sum(kind["sent"] for kind in kinds.values()), report["legitimate"]
        return (f"{sent / report['seconds']:.0f} datagrams a second, {stats['drop.forged']} forged ones counted, "
                f"{report['figures']['goodput.during']} messages a second of "
                f"{report['figures']['goodput.before']}, {checks['legitimate.logged_in_again']:.0f} sessions "
                f"ended, delivered p99 {fare['before']['delivered_us']['p99'] / 1000:.0f} ms before and "
                f"{fare['during']['delivered_us']['p99'] / 1000:.0f} ms during")


def test_sessions_are_not_taken_over(directory):
    with Gateway(directory) as gateway:
        report = attack(gateway, "hijack")
        kinds, checks, stats = kinds_of(report), checks_of(report), gateway.stats()
        assert all(kind["sent"] > 0 for kind in kinds.values()), kinds
        assert kinds["overtaking"]["answers"] > 0 and stats["path.challenges"] > 0, stats
        assert kinds["forged-newest"]["answers"] == 0 and stats["drop.forged"] > 0, stats
        return (f"{kinds['junk']['sent'] + kinds['copied']['sent']} junk and copies, "
                f"{checks['gateway.path.moved']:.0f} moves; {kinds['overtaking']['sent']} overtaking, "
                f"{kinds['overtaking']['ratio']:.2f} bytes out per byte in, undone within "
                f"{checks['hijack.undone_ms']:.0f} ms, {checks['legitimate.lost']:.0f} lost")


def test_what_is_sent_again_does_nothing_again(directory):
    """Data and logins of living sessions; 1000 logins and more."""
    with Gateway(directory) as gateway:
        report = attack(gateway, "replay")
        kinds, checks, stats = kinds_of(report), checks_of(report), gateway.stats()
        logins = sum(kinds[kind]["sent"] for kind in ("login-own-address", "login-other-address",
                                                      "login-as-resume", "resume-own-address",
                                                      "resume-other-address"))
        assert all(kind["sent"] > 0 for kind in kinds.values()), kinds
        assert stats["drop.replay"] > 0 and stats["login.repeated"] > 0, stats
        assert stats["login.resumed"] > 20 and stats["login.ticket_bad"] > 0, stats
        assert SANITIZED or logins >= 1000, logins
        return (f"{logins} logins and {kinds['own-address']['sent'] + kinds['other-address']['sent']} "
                f"datagrams again: {checks['legitimate.logged_in_again']:.0f} sessions ended, "
                f"{checks['replayed.messages']:.0f} messages, {checks['replayed.sessions']:.0f} sessions, "
                f"{checks['gateway.path.moved']:.0f} moves, {report['legitimate']['delivered']} of "
                f"{report['legitimate']['sent']} messages in one inbox entry each")


def capture_sessions(gateway, path):
    """Traffic of 60 clients through a link; most of their sessions still live when it is done."""
    with Link(gateway.target, "--pcap", path) as link:
        load = start_load(link.target, "--clients", 60, "--rate", 1000 if LONG else 300)
        time.sleep(15 if LONG else 2.5)
        load.kill()  # no session is logged out
        load.communicate()
        time.sleep(0.5)


def test_a_captured_session_played_again_is_counted_and_dropped(directory):
    """A session that the attack's own users replace is unknown afterwards, the others still live."""
    path = os.path.join(directory, "capture.pcap")
    with Gateway(directory) as gateway:
        capture_sessions(gateway, path)
        report = attack(gateway, "replay-pcap", path, "--speed", "max", seconds=None)
        sent = kinds_of(report)["recorded"]["sent"]
        checks, stats = checks_of(report), gateway.stats()
        assert sent >= (10000 if LONG else 500), sent
        assert stats["drop.replay"] > 0 and stats["drop.unknown_cid"] > 0, stats
        return (f"{sent} datagrams again: {checks['replayed.data_taken']:.0f} taken, "
                f"{checks['replayed.messages']:.0f} messages, {checks['gateway.path.moved']:.0f} moves; "
                f"{stats['drop.replay']} replays, {stats['drop.stale']} stale, "
                f"{stats['drop.unknown_cid']} of no session")


def test_what_is_no_capture_is_told(directory):
    path = os.path.join(directory, "capture.pcap")
    header = struct.pack("<IHHIIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101)
    for content, word in ((b"\x0a\x0d\x0d\x0a" + bytes(24), "pcapng"), (b"text", "no capture"),
                          (header + bytes(7), "damaged"), (header, "nothing in it"),
                          (header[:20] + b"\xff\0\0\0", "link type")):
        with open(path, "wb") as file:
            file.write(content)
        done = run_tool("pqbsim", "inject", "replay-pcap", path, "--target", "127.0.0.1:1", check=2)
        assert word in done.stderr, done.stderr
    for wrong in (("replay-pcap",), ("replay-pcap", path + ".none"), ("spoof", path),
                  ("replay-pcap", path, "--speed", "0"), ("replay-pcap", path, "--speed", "fast")):
        run_tool("pqbsim", "inject", *wrong, "--target", "127.0.0.1:1", check=2)


def test_spoofed_addresses_cost_neither_sessions_nor_memory(directory):
    """100 000 INITs from 10 000 addresses that bring no cookie back, in the full dose."""
    with Gateway(directory, "--half-open-max", 64) as gateway:
        report = attack(gateway, "spoof", "--half-open-max", 64, *(() if LONG else ("--rate", 5000)))
        kinds, checks, stats = kinds_of(report), checks_of(report), gateway.stats()
        inits = sum(kind["sent"] for name, kind in kinds.items() if name.startswith("init"))
        for kind in ("init-new-user", "init-victim", "init-cookie-wrong", "data-unknown"):
            assert kinds[kind]["answers"] > 0, kinds[kind]
        assert kinds["init-short"]["sent"] > 0 and kinds["init-short"]["answers"] == 0, kinds
        assert stats["login.retry"] > 0 and stats["login.cookie_bad"] > 0, stats
        assert not LONG or SANITIZED or inits >= 100000, inits
        return (f"{inits} INITs, {checks['strangers.sessions']:.0f} sessions, "
                f"{checks['gateway.memory_kib']:.0f} KiB, at most "
                f"{max(kind['ratio'] for kind in kinds.values()):.2f} bytes out per byte in, "
                f"{checks['gateway.half_open']:.0f} half-open")


def test_pieces_that_contradict_each_other_cost_their_share_of_memory_only(directory):
    pool = 256 * 1024  # of two shards: less than the session would take of one
    with Gateway(directory, "--reassembly-bytes-max", pool) as gateway:
        report = attack(gateway, "fragment-bomb", seconds=BRIEF)
        checks, stats = checks_of(report), gateway.stats()
        assert checks["fragments.held_kib"] <= pool / 1024, checks
        for counter in ("frag.bad", "frag.no_memory", "drop.field", "drop.structure", "nack.window"):
            assert stats[counter] > 0, counter
        fare = report["legitimate"]
        return (f"{stats['frame_in.frag']} pieces, {checks['fragments.held_kib']:.0f} KiB held, "
                f"{checks['gateway.memory_kib']:.0f} KiB gained, delivered p99 "
                f"{fare['before']['delivered_us']['p99'] / 1000:.1f} ms before and "
                f"{fare['during']['delivered_us']['p99'] / 1000:.1f} ms during")


def test_what_is_too_long_or_never_finished_is_dropped(directory):
    """The full dose sees that wholes which nobody finishes are discarded after 10 s."""
    with Gateway(directory) as gateway:
        report = attack(gateway, "oversize")
        kinds, checks, stats = kinds_of(report), checks_of(report), gateway.stats()
        assert all(kind["sent"] > 0 for kind in kinds.values()), kinds
        assert stats["drop.long"] > 0 and stats["frag.evicted"] > 0, stats
        assert not LONG or stats["frag.expired"] > 0, stats
        return (f"{stats['drop.long']} datagrams above 1200 bytes counted and unanswered, "
                f"{checks['fragments.held_kib']:.0f} KiB held for {checks['fragments.held_ms']:.0f} ms, "
                f"{stats['frag.evicted']} evicted, {stats['frag.expired']} expired")


def test_tickets_that_are_forged_stolen_or_seen_let_nobody_in(directory):
    with Gateway(directory) as gateway:
        report = attack(gateway, "ticket-forge", seconds=BRIEF)
        kinds, figures = kinds_of(report), report["figures"]
        assert all(kind["sent"] > 0 for kind in kinds.values()) and figures["tickets.captured"] > 0, report
        return (f"{sum(kind['sent'] for kind in kinds.values())} RESUMEs: 0 sessions; "
                f"{figures['login.ticket_bad']} tickets bad, {figures['login.forged']} forged, "
                f"{figures['login.mac1_bad']} without the key; at most "
                f"{max(kind['ratio'] for name, kind in kinds.items() if name != 'own-session'):.2f} bytes out per "
                "byte in")


def test_nobody_is_talked_into_plaintext_or_another_suite(directory):
    with Gateway(directory) as gateway:
        report = attack(gateway, "downgrade", seconds=BRIEF)
        kinds, figures = kinds_of(report), report["figures"]
        assert all(kind["sent"] > 0 for kind in kinds.values()), kinds
        return (f"{sum(kind['sent'] for kind in kinds.values())} datagrams of {len(kinds)} kinds: 0 sessions, 0 "
                f"answers but {figures['login.ticket_bad']} BUSY; {figures['login.other_suite']} of another "
                f"suite, {figures['login.forged']} logins and {figures['drop.forged']} datagrams forged")


def test_the_stolen_key_of_the_gateway_lets_nobody_in_as_somebody_else(directory):
    with Gateway(directory) as gateway:
        secret = os.path.join(gateway.data, "server.key")
        report = attack(gateway, "key-compromise", "--server-secret", secret, seconds=BRIEF)
        kinds, figures = kinds_of(report), report["figures"]
        assert all(kind["sent"] > 0 for kind in kinds.values()) and figures["compromise.own_sessions"] > 0
        run_tool("pqbsim", "inject", "key-compromise", "--target", gateway.target, check=2)
        return (f"{kinds['forged-login']['sent']} logins forged with the gateway's own key, "
                f"{figures['compromise.answers']} answered, 0 answers read, "
                f"{kinds['confirm-blindly']['sent']} confirmations, 0 sessions in anybody's name, 0 kicked")


def test_seqs_beyond_the_window_are_refused_and_cost_nothing(directory):
    """1 000 000 distinct ids from one device, in the full dose."""
    with Gateway(directory) as gateway:
        report = attack(gateway, "window-abuse", *(("--rate", 20000) if LONG else ()),
                        seconds=40 if LONG else BRIEF)
        checks, said, stats = checks_of(report), report["figures"], gateway.stats()
        for name in ("abused-beyond", "abused-after", "abused-skip", "q"):
            gateway.ctl("user", name, check=1)  # nobody heard of them
        for counter in ("nack.window", "nack.conflict", "nack.order", "submit.held",
                        "ack.cursor_above_head", "off.above_head", "drop.field", "drop.structure"):
            assert stats[counter] > 0, counter
        assert not LONG or SANITIZED or said["said.beyond-window"] >= 1000000, said
        return (f"{said['said.beyond-window']} ids beyond the window, 0 accepted, "
                f"{stats['nack.window']} told so; {said['said.distinct-ids']} within it; "
                f"{checks['gateway.memory_kib']:.0f} KiB")


def test_a_full_inbox_is_told_and_grows_no_further(directory):
    """The default quotas, 100 000 messages and 64 MiB, in the full dose."""
    quotas = (100000, 64 << 20) if LONG else (1000, 256 << 10)
    limits = ("--inbox-messages-max", quotas[0], "--inbox-bytes-max", quotas[1])
    with Gateway(directory, *limits) as gateway:
        report = attack(gateway, "inbox-flood", *limits,
                        *(("--rate", 6000, "--seconds", 40) if LONG else ()))
        checks, figures = checks_of(report), report["figures"]
        full = {name: json.loads(gateway.ctl("user", "flooded-" + name, "--json").stdout)
                for name in ("one", "many")}
        for name, user in full.items():
            stored = checks[f"stored_messages.{name}-sender{'s' if name == 'many' else ''}"]
            assert stored <= user["inbox_count"] <= quotas[0], user
            assert user["inbox_bytes"] <= quotas[1], user
        assert SANITIZED or full["one"]["inbox_count"] == quotas[0], full
        assert SANITIZED or full["many"]["inbox_bytes"] > quotas[1] - 1000, full
        for kind in ("one-sender", "many-senders"):
            assert SANITIZED or figures["quota_nacks." + kind] > 0, figures
        assert figures["accepted_aside"] > 0, figures
        return (f"{full['one']['inbox_count']} of {quotas[0]} messages, "
                f"{full['many']['inbox_bytes']} of {quotas[1]} bytes; told "
                f"{figures['quota_nacks.one-sender']} and {figures['quota_nacks.many-senders']} "
                f"times; {checks['gateway.memory_kib']:.0f} KiB")


def test_receivers_that_take_nothing_cost_their_window(directory):
    """1000 of them in the full dose."""
    peers = 1000 if LONG else 150
    with Gateway(directory) as gateway:
        report = attack(gateway, "slow-consumer", "--peers", peers)
        checks, figures, fare = checks_of(report), report["figures"], report["legitimate"]
        assert figures["consumers"] == peers and figures["sent_to_consumers"] > 0, figures
        assert SANITIZED or checks["consumers.in_flight"] == 256, checks  # and no more: a limit
        return (f"{peers} consumers, {figures['fed']} messages for them, at most "
                f"{checks['consumers.in_flight']:.0f} on the way to one, "
                f"{checks['gateway.memory_kib']:.0f} KiB, delivered p99 of others "
                f"{fare['before']['delivered_us']['p99'] / 1000:.1f} ms before and "
                f"{fare['during']['delivered_us']['p99'] / 1000:.1f} ms during")


def test_those_who_lose_their_sessions_at_once_do_not_come_back_in_step(directory):
    """20 000 of them in the full dose."""
    sessions = 20000 if LONG else 100 if SANITIZED else 300
    with Gateway(directory) as gateway:
        report = attack(gateway, "reconnect-storm", "--sessions", sessions)
        checks, fare = checks_of(report), report["legitimate"]["during"]
        assert report["figures"]["storm.resumed_messages"] > 0, report["figures"]
        assert checks["storm.logins_in_100_ms"] > 0, checks
        return (f"{sessions} back after {checks['storm.back_seconds']:.1f} s, at most "
                f"{checks['storm.logins_in_100_ms']:.0f} logins begun in 100 ms, "
                f"{checks['storm.tries_of_one_client']:.0f} by one client, gateway "
                f"{checks['storm.cpu_percent_of_a_core']:.0f} % of a core, p99 of those back "
                f"{checks['storm.resumed_p99_ms']:.0f} ms, delivered p99 of others "
                f"{fare['delivered_us']['p99'] / 1000:.0f} ms")


if __name__ == "__main__":
    run_cases(globals())
