"""The records of calls as sinks take them: in their order, and as JSON."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from sessiond.records.sink import Failed
from sessiond.stores.database import connect_reader
from sessiond.stores.record_rows import TICKS, Authors, all_of, record_of

__all__ = ["Kept", "Reader"]

_AFTER = "FROM records WHERE number > ? ORDER BY number LIMIT ?"
_COUNT = "SELECT count(*), max(number) FROM records WHERE number > ?"

_encode = msgspec.json.Encoder().encode


class Kept(NamedTuple):
    """A record as the store keeps it."""

    number: int
    since: float
    """When it came to be, in seconds since the epoch by the service's clock."""
    json: bytes
    """A ``CallRecord``."""


class Reader:
    """Reads the records of a store that is at work, on one thread."""

    def __init__(self, path: str) -> None:
        """Read the database at ``path``, which is opened when it is first needed."""
        self._path = path
        self._opened: tuple[sqlite3.Connection, Authors] | None = None

    def after(self, number: int, most: int) -> list[Kept]:
        """The first ``most`` records with a higher ``number``.

        Raises:
            Failed: the store cannot be read.
        """
        with self._reading() as (connection, authors):
            rows = all_of(connection, _AFTER, (number, most))
            return [Kept(row.number, row.updated_at / TICKS, _encode(record_of(row, authors))) for row in rows]

    def count(self, number: int) -> tuple[int, int]:
        """How many records have a higher ``number``, and the highest one; takes as long as they are many.

        Raises:
            Failed: the store cannot be read.
        """
        with self._reading() as (connection, _):
            ((count, last),) = connection.execute(_COUNT, (number,)).fetchall()
        return count, max(number, last or 0)

    def close(self) -> None:
        """Let go of the database."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, Authors]]:
        try:
            if self._opened is None:
                connection = connect_reader(self._path)
                self._opened = connection, Authors(connection)
            yield self._opened
        except sqlite3.Error as error:
            raise Failed(f"the store cannot be read: {error}") from None
