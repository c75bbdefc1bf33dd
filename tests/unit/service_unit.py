#!/usr/bin/env python3
"""The systemd unit as it is configured: systemd understands every line, and rates it well.

usage: service_unit.py UNIT PAQUEBOTD

Needs no running systemd. The daemon's place is exchanged for the one that was built, because
'systemd-analyze verify' looks for it.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
# What is left: it serves the network (three lines), has a control socket and no image of its own, and
# there is a device that ProtectClock adds to the list.
EXPOSURE_MAX = 1.1


def analyze(*args):
    return subprocess.run(["systemd-analyze", *args], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env={**os.environ, "SYSTEMD_COLORS": "0"},
                          timeout=60, check=False)


def main():
    unit, daemon = sys.argv[1:]
    if shutil.which("systemd-analyze") is None:
        print("skip: systemd-analyze is missing")
        return SKIPPED
    with open(unit, encoding="utf-8") as lines:
        text = lines.read()
    text, count = re.subn(r"^ExecStart=\S+", f"ExecStart={os.path.abspath(daemon)}", text,
                          flags=re.MULTILINE)
    assert count == 1, text
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, os.path.basename(unit))
        with open(copy, "w", encoding="utf-8") as out:
            out.write(text)
        verified = analyze("verify", "--man=no", copy)
        assert verified.returncode == 0 and verified.stdout == "", verified
        rated = analyze("security", "--offline=true", "--no-pager",
                        f"--threshold={EXPOSURE_MAX * 10:.0f}", copy)
    print("\n".join(line for line in rated.stdout.splitlines() if line.startswith(("✗", "→"))))
    assert rated.returncode == 0, f"above {EXPOSURE_MAX}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
