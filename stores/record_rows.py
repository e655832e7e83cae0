"""The rows of the table ``records`` as call records.

Each step of an SQLite statement gives the GIL away and takes it back, which beside a busy event loop takes as long as a
switch interval. So rows are not fetched one by one: SQLite makes one JSON text of many of them.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
from collections.abc import Sequence

import msgspec

from sessiond.actors import history
from sessiond.actors.call_record import CallRecord, durations
from sessiond.actors.incarnation import ADMIN, CLIENT, SERVICE
from sessiond.actors.record import Metadata
from sessiond.actors.results import Author

__all__ = ["TICKS", "Authors", "Row", "all_of", "metadata_of", "record_of", "weight_of"]

logger = logging.getLogger(__name__)

TICKS = 1 << 22
"""Of a second. SQLite's JSON has 15 digits of a float, and a time since the epoch needs 17. As whole ticks it comes
through as it is: times since 2004 have no finer parts than these."""


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is read of a row, by the names of the columns."""

    number: int
    id: str
    type: str
    gateway: str | None
    epoch: str | None
    external_id: str | None
    caller: str | None
    callee: str | None
    direction: str | None
    parent: str | None
    group: str | None
    metadata: str
    """JSON."""
    created_at: int
    """In ticks, as all times."""
    updated_at: int
    """The end by the service's clock; a gateway may have told another one."""
    ringing_at: int | None
    answered_at: int | None
    ended_at: int
    end_reason: str
    ended_by: str
    sip_code: int | None
    q850_cause: int | None
    version: int
    timeline: str
    """In hexadecimal."""


_ROW_WEIGHT = 450
"""About the bytes of a record on the wire, without its strings, metadata and history."""
_HISTORY_WEIGHT = 4
"""So many times the hexadecimal digits of its row a history takes on the wire, where entries are maps and words."""

_rows = msgspec.json.Decoder(list[Row]).decode
_authors = msgspec.json.Decoder(list[tuple[int, str, str | None]]).decode
metadata_of = msgspec.json.Decoder(Metadata).decode
"""The metadata of a row from its JSON."""


class Authors(dict[int, Author]):
    """Who the numbers in histories are; looked up when it is first asked for one that it does not know."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Look in the database of ``connection``."""
        super().__init__({CLIENT: Author("client"), SERVICE: Author("service"), ADMIN: Author("admin")})
        self._connection = connection

    def __missing__(self, number: int) -> Author:
        named = "SELECT json_group_array(json_array(number, gateway, epoch)) FROM authors"
        ((found,),) = self._connection.execute(named).fetchall()
        self.update((known, Author("gateway", *names)) for known, *names in _authors(found))
        return self.setdefault(number, Author("gateway"))


_NAMES = ", ".join(f'"{name}"' for name in Row.__struct_fields__)
_SHOWN = {name: f"CAST({name} * {TICKS} AS INTEGER)" for name in Row.__struct_fields__ if name.endswith("_at")}
_SHOWN |= {name: f'"{name}"' for name in Row.__struct_fields__ if name not in _SHOWN} | {"timeline": "hex(timeline)"}


def all_of(
    connection: sqlite3.Connection, which: str, values: Sequence[object], *, has_history: bool = True
) -> list[Row]:
    """The rows that ``which`` selects, by what comes after the columns: ``FROM`` and so on.

    Without history there is none in any of them.
    """
    shown = _SHOWN if has_history else {**_SHOWN, "timeline": "''"}
    row = ", ".join(shown[name] for name in Row.__struct_fields__)
    query = f"SELECT json_group_array(json_array({row})) FROM (SELECT {_NAMES} {which})"
    ((found,),) = connection.execute(query, values).fetchall()
    return _rows(found)


def record_of(row: Row, authors: Authors) -> CallRecord:
    """The record in a row; without its history if that cannot be read, since somebody wants to bill the call."""
    try:
        entries, dropped = history.read(bytes.fromhex(row.timeline), authors.__getitem__)
    except (struct.error, LookupError, ValueError):
        logger.exception("The history of call record %d cannot be read, and is left out", row.number)
        entries, dropped = [], 0
    created, ringing, answered, ended = map(_seconds, (row.created_at, row.ringing_at, row.answered_at, row.ended_at))
    assert created is not None
    assert ended is not None
    took = durations(created, ringing, answered, ended)
    return CallRecord(
        id=row.id,
        number=row.number,
        type=row.type,
        gateway=row.gateway,
        epoch=row.epoch,
        external_id=row.external_id,
        caller=row.caller,
        callee=row.callee,
        direction=row.direction,
        parent=row.parent,
        group=row.group,
        metadata=metadata_of(row.metadata),
        created_at=created,
        ringing_at=ringing,
        answered_at=answered,
        ended_at=ended,
        setup_duration=took.setup,
        ring_duration=took.ring,
        talk_duration=took.talk,
        duration=took.total,
        end_reason=row.end_reason,
        ended_by=row.ended_by,
        sip_code=row.sip_code,
        q850_cause=row.q850_cause,
        version=row.version,
        history=entries,
        history_dropped=dropped,
    )


def weight_of(row: Row) -> int:
    """About how many bytes the record in a row has on the wire."""
    named = (row.gateway, row.external_id, row.caller, row.callee, row.parent, row.group)
    strings = sum(len(name) for name in named if name is not None)
    return _ROW_WEIGHT + strings + len(row.metadata) + _HISTORY_WEIGHT * len(row.timeline)


def _seconds(ticks: int | None) -> float | None:
    return None if ticks is None else ticks / TICKS
