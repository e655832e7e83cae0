"""How long a service takes to be ready again with all its sessions: ``python -m benchmarks.recovery [SESSIONS...]``.

The sessions are calls of ``sessiond bench`` that are up. The service that had them was killed, so that what it had not
folded yet has to be replayed, or was stopped. The time is that from the start of the process to the first connection.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sessiond
from benchmarks.processes import started
from sessiond.actors.guard import Turn
from sessiond.actors.registry import RegistryActor, RegistryRef
from sessiond.bench.workload import Call
from sessiond.config import Config
from sessiond.stores.database import connect_reader
from sessiond.stores.settings import StoreSettings

__all__ = ["main"]

SESSIONS = 100_000
BATCH = 1000
"""Sessions that are created in one turn."""


@contextlib.contextmanager
def _filled(path: Path, count: int) -> Iterator[RegistryRef]:
    """A session manager with so many sessions in the store at ``path``, stopped at the end of the block."""
    registry = sessiond.start(Config(store=StoreSettings(kind="sqlite", path=str(path))))
    try:
        for first in range(0, count, BATCH):
            registry.ask(Turn(functools.partial(_create, range(first, min(first + BATCH, count)))))
        yield registry
    finally:
        sessiond.stop(registry)


def _create(numbers: range, registry: RegistryActor) -> object:
    """Create them; what it returns is pending until the last one is kept."""
    for number in numbers:
        created = registry.create_session(**Call(number).fields(), state="active", request_id=str(number))
    return created


def _copy(path: Path, to: Path) -> None:
    """Leave at ``to`` what there would be had the process died. While somebody reads, the WAL does not begin anew."""
    with contextlib.closing(connect_reader(str(path))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM named").fetchone()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{to}{suffix}")


def _start(path: Path) -> str:
    """How long a service takes that finds its sessions at ``path``, and how much of that it computes."""
    service = (sys.executable, "-m", "sessiond", "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    began = time.perf_counter()
    flags = ("--store-kind", "sqlite", "--store-path", str(path), "--log-level", "error")
    with started((*service, *flags), min(os.sched_getaffinity(0))) as server:
        return f"{time.perf_counter() - began:.2f} s ({server.cpu_seconds:.2f} s of CPU)"


def main(counts: list[int]) -> None:
    """Measure, and print a line for each number of sessions."""
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            stopped, killed = Path(folder, "stopped.db"), Path(folder, "killed.db")
            with _filled(stopped, count):
                _copy(stopped, killed)
            print(f"{count:,} sessions")
            print(f"  of a service that was killed: {_start(killed)}")
            print(f"  of one that was stopped: {_start(stopped)}")
            print(f"  none: {_start(Path(folder, 'new.db'))}")


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [SESSIONS])
