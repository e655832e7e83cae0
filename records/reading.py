"""The records of calls, read from the store's database on a thread of its own and turned into JSON.

Each step of an SQLite statement gives up Python's global lock and takes it again, which takes up to a switch interval
beside a busy event loop. So a batch is read in one step: SQLite itself makes one JSON text of all its rows.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from sessiond.actors.call_record import CallRecord
from sessiond.actors.history import read
from sessiond.actors.record import Metadata
from sessiond.actors.results import Author, HistoryEntry
from sessiond.records.sink import Failed
from sessiond.stores.database import connect_reader

__all__ = ["Kept", "Reader"]

logger = logging.getLogger(__name__)

TICKS = 1 << 22
"""Of a second. SQLite's JSON has 15 digits of a float, a time since the epoch needs 17; a time since 2004 has no finer
parts than these, so as whole ticks it comes through unchanged."""

_TIMES = ("created_at", "updated_at", "ringing_at", "answered_at", "ended_at")
_COLUMNS = (
    "number", "id", "type", "gateway", "epoch", "external_id", "caller", "callee", "direction", "parent", '"group"',
    "metadata", *(f"CAST({name} * {TICKS} AS INTEGER)" for name in _TIMES),
    "end_reason", "ended_by", "sip_code", "q850_cause", "version", "hex(timeline)",
)  # fmt: skip
_BATCH = f"""
    SELECT json_group_array(json_array({", ".join(_COLUMNS)}))
    FROM (SELECT * FROM records WHERE number > ? ORDER BY number LIMIT ?)
"""  # noqa: S608  (nothing but names)
_COUNT = "SELECT count(*), max(number) FROM records WHERE number > ?"
_AUTHORS = "SELECT json_group_array(json_array(number, gateway, epoch)) FROM authors"

_Row: TypeAlias = tuple[
    int, str, str, str | None, str | None, str | None, str | None, str | None, str | None, str | None, str | None,
    str, int, int, int | None, int | None, int,
    str, str, int | None, int | None, int, str,
]  # fmt: skip
_rows = msgspec.json.Decoder(list[_Row]).decode
_encode = msgspec.json.Encoder().encode

_SERVICE = (Author("client"), Author("service"), Author("admin"), Author("gateway"))
"""Authors that have a number in every store; the last is a gateway that is not known any more."""


class Kept(NamedTuple):
    """A record as the store keeps it."""

    number: int
    since: float
    """When it came to be, in seconds since the epoch by the service's clock."""
    json: bytes
    """A ``CallRecord``."""


class Reader:
    """Reads the records of a store that is at work."""

    def __init__(self, path: str) -> None:
        """Read the database at ``path``, which is opened when it is first needed."""
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._authors = dict(enumerate(_SERVICE))

    def after(self, number: int, most: int) -> list[Kept]:
        """The first ``most`` records with a higher ``number``.

        Raises:
            Failed: the store cannot be read.
        """
        ((text,),) = self._asked(_BATCH, number, most)
        return [self._kept(row) for row in _rows(text)]

    def count(self, number: int) -> tuple[int, int]:
        """How many records have a higher ``number``, and the highest one; takes as long as they are many.

        Raises:
            Failed: the store cannot be read.
        """
        ((count, last),) = self._asked(_COUNT, number)
        return count, max(number, last or 0)

    def close(self) -> None:
        """Let go of the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        try:
            if self._connection is None:
                self._connection = connect_reader(self._path)
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise Failed(f"the store cannot be read: {error}") from None

    def _kept(self, row: _Row) -> Kept:
        (number, id, type, gateway, epoch, external_id, caller, callee, direction, parent, group,
         metadata, created, updated, ringing, answered, ended,
         end_reason, ended_by, sip_code, q850_cause, version, timeline) = row  # fmt: skip
        history, dropped = self._history(number, bytes.fromhex(timeline))
        until = ended if answered is None else answered
        record = CallRecord(
            id=id,
            number=number,
            type=type,
            gateway=gateway,
            epoch=epoch,
            external_id=external_id,
            caller=caller,
            callee=callee,
            direction=direction,
            parent=parent,
            group=group,
            metadata=cast("Metadata", msgspec.Raw(metadata)),  # is JSON already
            created_at=created / TICKS,
            ringing_at=None if ringing is None else ringing / TICKS,
            answered_at=None if answered is None else answered / TICKS,
            ended_at=ended / TICKS,
            setup_duration=_seconds(created, until),
            ring_duration=_seconds(ringing, until),
            talk_duration=_seconds(answered, ended),
            duration=_seconds(created, ended),
            end_reason=end_reason,
            ended_by=ended_by,
            sip_code=sip_code,
            q850_cause=q850_cause,
            version=version,
            history=history,
            history_dropped=dropped,
        )
        return Kept(number, updated / TICKS, _encode(record))

    def _history(self, number: int, timeline: bytes) -> tuple[list[HistoryEntry], int]:
        """The history of record ``number``. One that cannot be read holds up no record, and none that come after."""
        try:
            return read(timeline, self._author)
        except (struct.error, LookupError, ValueError):
            logger.exception("The history of call record %d cannot be read, and is left out", number)
            return [], 0

    def _author(self, number: int) -> Author:
        author = self._authors.get(number)
        if author is None:
            ((text,),) = self._asked(_AUTHORS)
            for known, gateway, epoch in msgspec.json.decode(text):
                self._authors[known] = Author("gateway", gateway, epoch)
            author = self._authors.setdefault(number, _SERVICE[-1])
        return author


def _seconds(begin: int | None, end: int) -> float:
    """From one tick to another; 0 if there was no beginning, or the clock was set back."""
    return 0.0 if begin is None else max(0, end - begin) / TICKS
