#!/usr/bin/env python3
"""What the documents show is what happens: the quick start's storyline and the commands of README.md,
the options and counters that ARCHITECTURE.md names as bounds."""
import os
import re
import signal
import socket
import subprocess

from harness import BUILD, SANITIZED, Gateway, program, run_cases, run_tool, wait_until

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
README = os.path.join(TOP, "README.md")


def read(path):
    with open(path, encoding="utf-8") as text:
        return text.read()


def shown(name):
    """The lines between the README's markers of that name."""
    block = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", read(README), re.DOTALL)
    assert block, f"README.md has no block '{name}'"
    return [line for line in block.group(1).splitlines() if line.strip() and "```" not in line]


def words(line):
    return " ".join(re.sub(r"\x1b\[\d*m", "", line).split())


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(directory):
    folders = [os.path.abspath(os.path.dirname(program(name))) for name in ("paquebotd", "pqb")]
    return {**os.environ, "PATH": os.pathsep.join([*folders, os.environ["PATH"]]),
            "TMPDIR": directory, "XDG_STATE_HOME": os.path.join(directory, "state")}


def test_the_quick_start_prints_what_the_readme_shows(directory):
    done = subprocess.run([os.path.join(TOP, "tools", "quickstart"), "--built", BUILD,
                           "--seconds", "2"], text=True, stdout=subprocess.PIPE, timeout=120,
                          stderr=subprocess.PIPE, env=environment(directory), check=False)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    printed = iter([words(line) for line in done.stdout.splitlines()])
    for line in shown("quickstart"):
        assert words(line) in printed, (line, done.stdout)  # in this order


def test_the_commands_to_talk_to_it_work_as_they_stand(directory):
    port = free_port()  # the usual one may be in use
    out = os.path.join(directory, "out")
    commands = [line.strip().replace("127.0.0.1:7400", f"127.0.0.1:{port}")
                .replace("paquebotd ", f"paquebotd --listen 127.0.0.1:{port} ")
                for line in shown("talk")]
    assert len(commands) == 5 and commands[0].startswith("paquebotd"), commands
    with open(out, "w", encoding="utf-8") as printed:
        shell = subprocess.Popen(["bash", "-ec", "\n".join(commands)], stdout=printed, stderr=printed,
                                 cwd=directory, env=environment(directory), start_new_session=True)
        try:
            assert shell.wait(timeout=60) == 0, read(out)
            wait_until(lambda: "alice\thello\n" in read(out))
        finally:
            os.killpg(shell.pid, signal.SIGKILL)  # what it left in the background
    text = read(out)
    assert re.search(r"^ready listen=", text, re.MULTILINE), text
    assert re.search(r"^ *msg\.accepted +\d", text, re.MULTILINE), text  # told 4 times a second


def test_the_commands_for_tokens_work_as_they_stand(directory):
    port, out = free_port(), os.path.join(directory, "out")
    text = "\n".join(line.removeprefix("    ") for line in shown("tokens"))
    text = text.replace("127.0.0.1:7500", f"127.0.0.1:{port}")
    assert "token issue" in text and text.rstrip().endswith("--token bob.token"), text
    with open(out, "w", encoding="utf-8") as printed:
        shell = subprocess.Popen(["bash", "-ec", text.rstrip() + " --count 1 --timeout 20"],
                                 stdout=printed, stderr=printed, cwd=directory,
                                 env=environment(directory), start_new_session=True)
        try:
            post = os.path.join(directory, "post")
            wait_until(lambda: run_tool("pqbctl", "--data", post, "user", "bob", check=None).returncode == 0)
            assert "phone" in run_tool("pqbctl", "--data", post, "user", "bob").stdout
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
    assert "does not answer" not in read(out), read(out)


def test_the_attack_that_the_readme_shows_is_judged(directory):
    with Gateway(directory, data=os.path.join(directory, "mail")) as gateway:
        for line in shown("attack"):
            command = line.strip().replace("127.0.0.1:7400", gateway.target)
            assert command.startswith("pqbsim inject"), command
            if "--target" in command:
                command += " --seconds 1" + (" --rate 500" if SANITIZED else "")
            done = subprocess.run(command.split(), text=True, stdout=subprocess.PIPE, timeout=60,
                                  stderr=subprocess.STDOUT, cwd=directory, check=False,
                                  env={**environment(directory), "PQB_SERVER_KEY": gateway.server_key})
            assert done.returncode == 0, done.stdout


def test_every_program_and_command_that_the_readme_names_exists(directory):
    del directory
    rows = re.findall(r"^\| `(p[a-z]+)` \| (.*) \|$", read(README), re.MULTILINE)
    assert len(rows) == 4, rows
    for name, what in rows:
        done = subprocess.run([program(name), "--help"], text=True, stdout=subprocess.PIPE,
                              timeout=20, check=True)
        for command in re.findall(rf"`(?:{name} )?([a-z]+)`", what):
            assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE), (name, command)


def test_the_bounds_that_the_architecture_names_exist(directory):
    text = read(os.path.join(TOP, "gateway", "ARCHITECTURE.md")).split("## What is bounded by what")[1]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    with Gateway(directory) as gateway:
        counters = gateway.stats()
    options = run_tool("paquebotd", "--help").stdout
    assert len(rows) > 40, rows
    for what, bound, _, counter in [row for row in rows if len(row) == 4]:
        for name in re.findall(r"`([a-z_.]+)`", counter):
            assert name in counters, (what, name)
        for name in re.findall(r"`([a-z-]+)`", bound):
            assert name == "low" or f"  --{name} " in options, (what, name)


if __name__ == "__main__":
    run_cases(globals())
