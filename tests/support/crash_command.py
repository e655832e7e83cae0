"""``scripts/crash``: the crash test for as long as somebody likes."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from crash_model import Lost
from crash_test import CrashTest
from faulty_disk import compile_faulty_disk


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/crash", description="Kill a service under load; it must lose nothing."
    )
    parser.add_argument("kills", metavar="KILLS", type=int, nargs="?", default=200, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, help="that of an earlier run (default: another one)")
    parser.add_argument("--power-cuts", action="store_true", help="nothing is left that was not synced (needs gcc)")
    parsed = parser.parse_args(arguments)
    seed = secrets.randbits(32) if parsed.seed is None else parsed.seed
    folder = Path(tempfile.mkdtemp(prefix="sessiond-crash-"))
    say(f"seed {seed}, in {folder}")
    test = CrashTest(folder, seed, compile_faulty_disk(folder) if parsed.power_cuts else None)
    try:
        for number in range(1, parsed.kills + 1):
            test.round()
            if number % 20 == 0:
                say(test.summary)
        test.finish()
    except Lost as lost:
        say(f"{test.summary}\nLOST, see {folder}: {lost}")
        return 1
    say(test.summary)
    shutil.rmtree(folder)
    return 0


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


sys.exit(main(sys.argv[1:]))
