#!/usr/bin/env python3
"""Runs the commands of tests/EVIDENCE.md and says which claims held."""
import argparse
import datetime
import json
import os
import re
import shlex
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, "tests", "EVIDENCE.md")
COLUMNS = ("row", "claim", "test", "command", "last")
ROWS = {str(row) for row in range(1, 28)}
LAST_MAX = 200
COMMAND_SECONDS = 4 * 3600


def read_rows(text):
    """The table's rows as dicts, `line` being the index of the line."""
    rows = []
    for index, line in enumerate(text.splitlines()):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == len(COLUMNS) and re.fullmatch(r"\d+[a-z]?", cells[0]):
            rows.append({**dict(zip(COLUMNS, cells)), "line": index})
    return rows


def command_of(row):
    """(environment, words) of a row's command."""
    found = re.fullmatch(r"`([^`]+)`", row["command"])
    if not found:
        raise ValueError(f"row {row['row']}: the command is not one `...`: {row['command']!r}")
    words = shlex.split(found.group(1))
    settings = {}
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, value = words.pop(0).split("=", 1)
        settings[name] = value
    return settings, words


def faults(text, tests, root=ROOT):
    """What is wrong with the table; `tests` are the names that meson knows."""
    rows = read_rows(text)
    names = [row["row"] for row in rows]
    missing = sorted(ROWS - {re.sub(r"[a-z]$", "", name) for name in names}, key=int)
    wrong = [f"row {name} is missing" for name in missing]
    wrong += [f"row {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
    for row in rows:
        name = f"row {row['row']}"
        if not all(row[column] for column in COLUMNS):
            wrong.append(f"{name}: an empty cell")
            continue
        wrong += [f"{name}: there is no {path}" for path in re.findall(r"\btests/[\w./]+\.\w+", row["test"])
                  if not os.path.exists(os.path.join(root, path))]
        try:
            _, words = command_of(row)
        except ValueError as fault:
            wrong.append(str(fault))
            continue
        if words[:4] == ["meson", "test", "-C", "build"]:
            wrong += [f"{name}: meson knows no test {test}" for test in words[4:]
                      if not test.startswith("-") and test not in tests]
        elif words[0] == "python3":
            wrong += script_faults(name, words[1:], root)
        elif not words[0].startswith("build/"):
            wrong.append(f"{name}: {words[0]} is none of meson test -C build, python3, build/...")
    return wrong


def script_faults(name, words, root):
    path = os.path.join(root, words[0])
    if not os.path.exists(path):
        return [f"{name}: there is no {words[0]}"]
    source = open(path, encoding="utf-8").read()
    return [f"{name}: {words[0]} has no case {case}" for case in words[1:]
            if case.startswith("test_") and f"def {case}(" not in source]


def tests_of(build):
    listed = subprocess.run(["meson", "introspect", "--tests", build], check=True, capture_output=True)
    return {test["name"] for test in json.loads(listed.stdout)}


def run(row, build):
    """(held, the last line that was printed)"""
    settings, words = command_of(row)
    words = [re.sub(r"^build(?=/|$)", build, word) for word in words]
    settings = {name: re.sub(r"^build$", build, value) for name, value in settings.items()}
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **settings}, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS)
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if words[0] == "meson":  # its last lines name a log
        lines = [line for line in lines if line.startswith(("Ok:", "1/1"))] or lines
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
    return done.returncode == 0, (lines or ["no output"])[-1]


def write_result(row, result):
    """Puts a result into the last column, with the date and the commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True, check=True,
                            capture_output=True).stdout.strip()
    dose = " (full dose)" if os.environ.get("PQB_LONG") == "1" else ""
    text = f"{datetime.date.today()} {commit}{dose}: " + re.sub(r"\s+", " ", result).replace("|", "/")
    lines = open(TABLE, encoding="utf-8").read().splitlines()
    cells = [row[column] for column in COLUMNS[:-1]] + [text[:LAST_MAX]]
    lines[row["line"]] = "| " + " | ".join(cells) + " |"
    with open(TABLE, "w", encoding="utf-8") as table:
        table.write("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="rows to run; all if none is named")
    parser.add_argument("--build", default="build", help="where the programs are (build)")
    parser.add_argument("--check", metavar="BUILD", help="run nothing: compare the table with the tree and this build")
    parser.add_argument("--write", action="store_true", help="put the results into the table")
    args = parser.parse_args()

    text = open(TABLE, encoding="utf-8").read()
    if args.check:
        wrong = faults(text, tests_of(args.check))
        print("\n".join(wrong) or f"{len(read_rows(text))} rows are complete")
        return 1 if wrong else 0

    rows = read_rows(text)
    unknown = set(args.rows) - {row["row"] for row in rows}
    if unknown:
        parser.error(f"EVIDENCE.md has no row {', '.join(sorted(unknown))}")
    failed = 0
    for row in rows:
        if args.rows and row["row"] not in args.rows:
            continue
        start = time.monotonic()
        held, result = run(row, args.build)
        failed += not held
        print(f"{row['row']:>3} {'held' if held else 'BROKEN'} {time.monotonic() - start:5.0f} s  {result}",
              flush=True)
        if args.write and held:
            write_result(row, result)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
