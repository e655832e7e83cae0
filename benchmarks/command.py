"""The command: what it takes, and what it writes where."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import drawing, machine
from benchmarks.contenders import Programs
from benchmarks.names import CLIENTS, PEERS
from benchmarks.results import Options, Results, save
from benchmarks.run import measure_all

__all__ = ["main"]

INTERRUPTED = 130
"""What shells say of a command that was ended by SIGINT."""
HERE = Path(__file__).parent
ALL = (*PEERS, *CLIENTS)

DESCRIPTION = """\
Compare sessiond with Redis and others, and write benchmarks/RESULTS.md, its plots and the raw results.

With --python it measures servers that run on another interpreter, which needs sessiond installed, and reports them
beside those of the default one. With --only nothing is written, unless --to says where.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    parsed = _parser().parse_args(arguments)
    folder: Path = parsed.to or HERE
    try:
        if not parsed.redraw:
            results = _measured(parsed)
            if parsed.only and parsed.to is None:
                print(drawing.with_stores(results) if parsed.stores else drawing.page(results, []))
                return 0
            name = "default" if parsed.python is None else results.machine.python.replace(" ", "-").lower()
            save(results, folder / "results" / (drawing.STORES if parsed.stores else f"{name}.json"))
        drawing.draw(folder)
    except (OSError, RuntimeError) as error:
        print(f"scripts/benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _measured(parsed: argparse.Namespace) -> Results:
    """A run, as the command line wants it.

    Raises:
        OSError: a program cannot be run.
        RuntimeError: a server cannot be started, or was lost.
    """
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        raise RuntimeError("needs redis-server")
    programs = Programs(parsed.python or sys.executable, redis_server, parsed.server_core, parsed.disk)
    try:
        described = machine.described(programs.python, redis_server)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"{programs.python} cannot serve: {reason}") from None
    options = Options(parsed.rounds, parsed.seconds, parsed.server_core, parsed.load_core)
    return measure_all(programs, described, options, parsed.only or ALL, is_full=parsed.full, has_stores=parsed.stores)


def _parser() -> argparse.ArgumentParser:
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        prog="scripts/benchmarks",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--rounds",
        metavar="N",
        type=_positive(int),
        default=5,
        help="how often each is measured (default: %(default)s)",
    )
    add(
        "--seconds",
        metavar="S",
        type=_positive(float),
        default=1.0,
        help="for how long each time (default: %(default)s)",
    )
    add("--only", metavar="PEER", nargs="+", choices=ALL, help=f"only these: {', '.join(ALL)}")
    add("--python", metavar="PATH", help="the interpreter of the servers (default: the one of .venv)")
    add("--stores", action="store_true", help="only the chapter on stores, which is not measured otherwise")
    add("--disk", metavar="FOLDER", help="where stores have their files (default: the folder of temporary files)")
    add("--full", action="store_true", help="also the memory of 1,000,000 sessions")
    add(
        "--server-core",
        metavar="N",
        type=int,
        choices=cores,
        default=cores[0],
        help="of the servers (default: %(default)s)",
    )
    add(
        "--load-core",
        metavar="N",
        type=int,
        choices=cores,
        default=cores[-1],
        help="of the load (default: %(default)s)",
    )
    add("--to", metavar="FOLDER", type=Path, help="where to write (default: benchmarks)")
    add("--redraw", action="store_true", help="only draw tables and plots again, from the raw results")
    return parser


def _positive(kind: type[int | float]) -> Callable[[str], float]:
    """What turns the text of an option into a number above 0."""

    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
        return value

    return number
