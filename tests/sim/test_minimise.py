#!/usr/bin/env python3
"""Planted bugs are minimised: few events are left, and the command that is printed fails again in
the same way, run after run."""

import re
import shlex
import subprocess
import sys

SIM_MUTANTS = sys.argv[1]
SECONDS = '8'  # for the search; it mostly ends by itself

# What must be left at most, and the share of what there was.
CASES = [
    (['--mutant', 'NO_IN_FLIGHT', '--seeds', '1-40', '--set', 'encrypted=0'], 20),
    (['--mutant', 'UNCERTAIN_IS_SENT', '--seeds', '1-100', '--set',
      'encrypted=0,rollback_every_s=20,clone_every_s=0,send_every_ms=1000,send_burst=1'], 20),
    (['--mutant', 'LOW_BEFORE_SYNC', '--seeds', '62-260', '--set',
      'encrypted=0,kill_every_s=3,kill_in_take=0,send_every_ms=1000,clone_every_s=0'], 40),
    (['--mutant', 'RESET_UNPROVEN', '--seeds', '1-40', '--set', 'encrypted=1,attack_every_s=0.2'], 10),
]
SHARE_LEFT = 0.2

FAILED = re.compile(r'^seed \d+ FAILED at ([\d.]+) s: (.*)$', re.M)
LEFT = re.compile(r'^minimised in ([\d.]+) s and (\d+) runs: (\d+) events of \d+ kinds -> (\d+)', re.M)
REPLAY = re.compile(r'^replay: (.*)$', re.M)


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def check(is_true, what, output):
    if not is_true:
        sys.exit(f'{output}\ntest_minimise: {what}')


def minimise(options, most):
    name = options[1]
    found = run([SIM_MUTANTS, *options, '--quiet', '--minimise', '--minimise-seconds', SECONDS])
    output = found.stdout + found.stderr
    check(found.returncode == 1, f'{name}: exit status {found.returncode}', output)
    failures, left, replay = FAILED.findall(output), LEFT.search(output), REPLAY.search(output)
    check(left and replay and len(failures) == 2, f'{name}: no minimised run is printed', output)
    before, after = int(left[3]), int(left[4])
    check(after <= most and after <= before * SHARE_LEFT, f'{name}: {after} of {before} events left', output)
    check(re.sub(r'\d+', '#', failures[0][1]) == re.sub(r'\d+', '#', failures[1][1]),
          f'{name}: it fails in another way', output)
    for _ in range(2):
        again = run(shlex.split(replay[1]))
        check(again.returncode == 1, f'{name}: the replay passes', again.stdout)
        check(FAILED.findall(again.stdout) == failures[1:], f'{name}: the replay fails in another way', again.stdout)
    print(f'{name}: {before} -> {after} events in {left[1]} s and {left[2]} runs')


def main():
    for options, most in CASES:
        minimise(options, most)


if __name__ == '__main__':
    main()
