"""Sessions beyond memory: a service that knows far more sessions than it has in memory, measured from the outside.

``python -m benchmarks.beyond_memory``, which is ``scripts/beyond-memory``. The sessions are written into the file of a
store as the service itself would have left them, since to create millions one by one takes longer than to measure.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import random
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import Server, pinned, started
from sessiond.actors.history import begun
from sessiond.actors.image import pack
from sessiond.actors.record import Session
from sessiond.bench.histogram import Histogram
from sessiond.bench.workload import Call
from sessiond.stores.settings import StoreSettings
from sessiond.stores.sqlite import SqliteStore
from sessiond.transport.async_client import AsyncClient

__all__ = ["main"]

AGE = 1800.0
"""Seconds since the calls were answered, and last heard of."""
LOOKS = 20
"""Times that each list and count is asked for."""
ROOM = 10_000_000
"""``sessions.max_sessions`` of the service."""
NOTHING: dict[str, Any] = dict.fromkeys(Session.__struct_fields__[:-1])

Ask = Callable[[], Awaitable[Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    parsed = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = parsed.store or Path(folder, "sessions.db")
        if not path.exists():
            began = time.monotonic()
            _fill(path, parsed.sessions)
            print(
                f"{parsed.sessions} sessions, {path.stat().st_size / 1e6:.0f} MB, made in {_since(began)}", flush=True
            )
        _measure(path, parsed)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/beyond-memory", description=__doc__)
    add = parser.add_argument
    add("--sessions", type=int, default=1_000_000, help="live ones in the store (default: %(default)s)")
    add("--residents", type=int, default=100_000, help="at most so many in memory (default: %(default)s)")
    add("--rate", type=int, default=200, help="touches per second (default: %(default)s)")
    add("--seconds", type=int, default=20, help="for so long (default: %(default)s)")
    add("--store", type=Path, help="the file of the store, which is made if it is not there (default: a temporary one)")
    return parser


# The store


def _fill(path: Path, count: int) -> None:
    """Make a store with so many live sessions, of which nothing has been heard lately."""
    store = SqliteStore(StoreSettings(kind="sqlite", path=str(path)))
    store.open()  # for its tables
    store.close()
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO sessions VALUES (?, 0, ?)", _rows(count))
    connection.close()


def _rows(count: int) -> Iterator[tuple[int, bytes]]:
    at = time.time() - AGE
    for seq in range(1, count + 1):
        fields = Call(seq).fields()
        setup, idle, longest = (float(fields.pop(name)) for name in ("setup_timeout", "idle_timeout", "max_duration"))
        moments = {"created_at": at, "updated_at": at, "answered_at": at, "last_activity_at": at}
        record = Session(**(NOTHING | fields | moments | {"id": _id(seq), "state": "active", "version": 2}))
        yield seq, pack(record, (setup, idle, longest), at, None, False, begun("active", 0, at))


def _id(seq: int) -> str:
    return str(uuid.UUID(int=seq << 80 | 0x7 << 76 | 0x8 << 60))


# The service


def _measure(path: Path, parsed: argparse.Namespace) -> None:
    command = (
        *(sys.executable, "-m", "sessiond", "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
        *("--store-kind", "sqlite", "--store-path", str(path), "--store-quiet", "0"),
        *("--store-residents", str(parsed.residents), "--sessions-max-sessions", str(ROOM)),
    )
    began = time.monotonic()
    with started(command, core=0) as server, pinned(1):
        print(f"serves after {_since(began)}, with {server.resident_bytes / 2**20:.0f} MiB in memory", flush=True)
        asyncio.run(_ask(server, parsed))
        print(f"{server.resident_bytes / 2**20:.0f} MiB in memory at the end")


async def _ask(server: Server, parsed: argparse.Namespace) -> None:
    async with AsyncClient("127.0.0.1", server.port) as client:
        queries: dict[str, Ask] = {
            "count_sessions": client.count_sessions,
            "count_sessions by state": lambda: client.count_sessions(by="state"),
            "count_sessions gateway=": lambda: client.count_sessions(gateway="gw-07"),
            "list_sessions limit=100": lambda: client.list_sessions(limit=100),
            "list_sessions gateway= limit=100": lambda: client.list_sessions(gateway="gw-07", limit=100),
            "list_sessions caller=": lambda: client.list_sessions(caller=Call(parsed.sessions // 2).caller.decode()),
        }
        for name, query in queries.items():
            times = Histogram()
            for _ in range(LOOKS):
                await _timed(query, times)
            _tell(name, times)
        await _touch(client, parsed)


async def _touch(client: AsyncClient, parsed: argparse.Namespace) -> None:
    """Touch sessions at random, hardly any of which is in memory, each when its time has come."""
    chosen, times, loop = random.Random(5), Histogram(), asyncio.get_running_loop()  # noqa: S311  (no secret)
    began, tasks = loop.time(), []
    for number in range(parsed.rate * parsed.seconds):
        await asyncio.sleep(began + number / parsed.rate - loop.time())
        session_id = _id(chosen.randint(1, parsed.sessions))
        tasks.append(asyncio.create_task(_timed(functools.partial(client.touch_session, session_id), times)))
    await asyncio.gather(*tasks)
    _tell(f"touch_session, {parsed.rate} per second", times)


async def _timed(ask: Ask, times: Histogram) -> None:
    began = time.perf_counter()
    await ask()
    times.record(time.perf_counter() - began)


def _tell(name: str, times: Histogram) -> None:
    p50, p99 = (1000 * times.percentile(percent) for percent in (50, 99))
    print(f"{name:40} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms   max {1000 * times.max:8.2f} ms", flush=True)


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
