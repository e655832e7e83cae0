"""What a database has at the start: the tables of sessions and records, brought up to date by the log."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import msgspec

from sessiond.actors.store import Ending, Live, StoreError
from sessiond.stores.database import translated
from sessiond.stores.fold import Unfolded
from sessiond.stores.log import decode
from sessiond.stores.rows import COLUMNS, ending, endings

__all__ = ["FILED", "NOTE_FILED", "POSITION", "Row", "SqliteRecovered", "activity"]

POSITION = "store:position"
"""The name of the highest position that the log has had, as far as it is no longer in the log itself."""

FILED = "store:filed"
"""The name of a number: all records up to it have been in their table. Noted before records are deleted; otherwise the
highest number in the table tells it."""

Row: TypeAlias = tuple[int, int, int]
"""Of the log: position, entries, bytes."""

BATCH = 512
"""Sessions that are read at once."""

_LAST = f"""
SELECT max(
    coalesce((SELECT max(position) FROM log), 0),
    coalesce((SELECT max(number) FROM records), 0),
    coalesce((SELECT value FROM named WHERE name = '{POSITION}'), 0)
)
"""  # noqa: S608  (no data)
_FILED = f"""
SELECT max(
    coalesce((SELECT max(number) FROM records), 0),
    coalesce((SELECT value FROM named WHERE name = '{FILED}'), 0)
)
"""  # noqa: S608  (no data)
NOTE_FILED = f"REPLACE INTO named (name, value) VALUES ('{FILED}', ({_FILED}))"  # noqa: S608  (no data)
"""Note how far records have been filed, before some are deleted."""
_NEWEST = f"SELECT {COLUMNS} FROM records ORDER BY number DESC LIMIT ?"  # noqa: S608  (no data)


class _Peek(msgspec.Struct, array_like=True):
    """As much of an image as is needed to know when its session was last active (see ``image``)."""

    record: msgspec.Raw
    timeouts: msgspec.Raw
    touched: float


_peek = msgspec.msgpack.Decoder(_Peek).decode


def activity(image: bytes, touched: float) -> float:
    """The last activity of a session with this ``image`` that was touched then; 0 if it was not."""
    try:
        return max(_peek(image).touched, touched)
    except msgspec.DecodeError:  # for whoever unpacks it to say
        return touched


class SqliteRecovered:
    """See ``actors.store.Recovered``. To be asked before the store has started."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        """Read what is there, but for the sessions and the records themselves.

        Raises:
            StoreError: it cannot be read.
        """
        self._connection = connection
        self._path = path
        with self._reading():
            self.last: int = self._one(_LAST)
            """The highest position that there has been."""
            self.rows: list[Row] = []
            """Of the log."""
            self.unfolded = Unfolded(self._one("SELECT coalesce(max(seq), 0) FROM sessions"))
            self.unfiled: deque[tuple[int, Ending]] = deque()
            """The ends of which only the log tells, by ascending numbers."""
            self._replay()
            self.values: Mapping[str, int] = dict(
                connection.execute("SELECT name, value FROM named WHERE name NOT IN (?, ?)", (POSITION, FILED))
            )
            self.authors: Mapping[int, tuple[str, str | None]] = {
                number: (gateway, epoch)
                for number, gateway, epoch in connection.execute("SELECT number, gateway, epoch FROM authors")
            }
            self.count = self._count()

    def live(self) -> Iterator[list[Live]]:
        """See ``Recovered``."""
        everybody = heapq.merge(self._folded(), self._unfolded())
        while batch := list(itertools.islice(everybody, BATCH)):
            yield batch

    def ended(self, since: float, most: int) -> Iterable[Ending]:
        """See ``Recovered``."""
        with self._reading():
            newest = itertools.islice(self._newest(most), most)
            return list(itertools.takewhile(lambda each: each.final.updated_at >= since, newest))[::-1]

    def _newest(self, most: int) -> Iterator[Ending]:
        """The newest first; of two records of one session the later one counts."""
        unfiled: set[str] = set()
        for _, each in reversed(self.unfiled):
            if each.final.id not in unfiled:
                unfiled.add(each.final.id)
                yield each
        for each in map(ending, self._connection.execute(_NEWEST, (most + len(unfiled),))):
            if each.final.id not in unfiled:
                yield each

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        return _sound(self._path)

    def _one(self, query: str) -> int:
        value: int = self._connection.execute(query).fetchone()[0]
        return value

    def _replay(self) -> None:
        filed = self._one(_FILED)
        for position, body in self._connection.execute("SELECT position, body FROM log ORDER BY position"):
            entries = decode(body)
            self.unfolded.apply(entries)
            if position > filed:
                self.unfiled.extend(endings(entries, position, filed))
            self.rows.append((position, len(entries), len(body)))

    def _folded(self) -> Iterator[Live]:
        images, touches, gone = self.unfolded.images, self.unfolded.touches, self.unfolded.gone
        with self._reading():
            for seq, touched, image in self._connection.execute(
                "SELECT seq, touched, image FROM sessions ORDER BY seq"
            ):
                if seq not in images and seq not in gone:
                    yield Live(seq, activity(image, max(touched, touches.get(seq, 0.0))), image)

    def _unfolded(self) -> Iterator[Live]:
        touches = self.unfolded.touches
        for seq, image in sorted(self.unfolded.images.items()):
            yield Live(seq, activity(image, touches.get(seq, 0.0)), image)

    def _count(self) -> int:
        """How many sessions live: those of the table, without those that ended, and those that only the log has."""
        there = self._one("SELECT count(*) FROM sessions")
        return there - self._among(self.unfolded.gone) + len(self.unfolded.images) - self._among(self.unfolded.images)

    def _among(self, numbers: Iterable[int]) -> int:
        """How many of ``numbers`` have a row."""
        found = 0
        waiting = sorted(seq for seq in numbers if seq <= self.unfolded.highest)
        for place in range(0, len(waiting), BATCH):
            chunk = waiting[place : place + BATCH]
            query = f"SELECT count(*) FROM sessions WHERE seq IN ({', '.join('?' * len(chunk))})"  # noqa: S608
            found += self._connection.execute(query, chunk).fetchone()[0]
        return found


@contextlib.contextmanager
def _sound(path: str) -> Iterator[None]:
    """What cannot be read becomes a ``StoreError``."""
    with translated(path):
        try:
            yield
        except msgspec.DecodeError as error:
            raise StoreError(f"{path}: it is corrupt ({error}); restore a backup") from error
