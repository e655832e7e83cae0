"""Records in a real SQLite file with the tables of a store, and as much of a store as it takes to read them."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from sessiond.actors.errors import SessiondError
from sessiond.actors.future import Pending
from sessiond.stores.schema import migrate

__all__ = ["RecordStore", "awaited", "record_store"]

R = TypeVar("R")

USUAL = {
    "type": "sip", "gateway": None, "epoch": None, "external_id": None, "caller": None, "callee": None,
    "direction": None, "parent": None, "group": None, "created_at": 100.0, "updated_at": 100.0, "ringing_at": None,
    "answered_at": None, "ended_at": 160.0, "last_activity_at": 160.0, "end_reason": "normal", "ended_by": "gateway",
    "sip_code": None, "q850_cause": None, "version": 2, "timeline": b"", "request_id": None, "digest": None,
}  # fmt: skip


class RecordStore:
    """Reads at once, or on a thread of its own if it is told how to come back from there (``post``)."""

    def __init__(self, path: Path, post: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._path = path
        self._post = post
        self._numbers = itertools.count(1)
        self._readers = ThreadPoolExecutor(1, "reader")
        self.reads = 0
        """How many there have been."""
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = OFF")
        migrate(self.connection, str(path))
        self._reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False, isolation_level=None)

    def add(self, metadata: dict[str, Any] | None = None, number: int | None = None, **fields: Any) -> int:
        """Keep one more record, of the next ``number`` unless that is given; its number."""
        number = next(self._numbers) if number is None else number
        values = {
            "number": number, "seq": number, "id": f"id-{number}",
            "metadata": msgspec.json.encode(metadata or {}).decode(), **USUAL, **fields,
        }  # fmt: skip
        names = ", ".join(f'"{name}"' for name in values)
        places = ", ".join("?" * len(values))
        self.connection.execute(f"INSERT INTO records ({names}) VALUES ({places})", (*values.values(),))
        return number

    def add_author(self, number: int, gateway: str, epoch: str | None) -> None:
        self.connection.execute("INSERT INTO authors VALUES (?, ?, ?)", (number, gateway, epoch))

    def read(self, query: Callable[[Any], R]) -> Pending[R]:
        self.reads += 1
        pending: Pending[R] = Pending()
        if self._post is None:
            self._complete(pending, query)()
        else:
            post = self._post
            self._readers.submit(lambda: post(self._complete(pending, query)))
        return pending

    def _complete(self, pending: Pending[R], query: Callable[[Any], R]) -> Callable[[], None]:
        try:
            result = query(self._reader)
        except (SessiondError, sqlite3.Error) as error:
            told = error
            return lambda: pending.fail(told)
        return lambda: pending.set(result)

    def close(self) -> None:
        self._readers.shutdown()
        self._reader.close()
        self.connection.close()


def awaited(pending: Pending[R]) -> R:
    """What is in a pending answer that is complete; raises what it failed with."""
    outcomes: list[tuple[R | None, BaseException | None]] = []
    pending.then(lambda value, error: outcomes.append((value, error)))
    ((value, error),) = outcomes
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # there is no error


@contextlib.contextmanager
def record_store(path: Path, post: Callable[[Callable[[], None]], None] | None = None) -> Iterator[RecordStore]:
    """A store without records, until the block ends."""
    store = RecordStore(path, post)
    try:
        yield store
    finally:
        store.close()
