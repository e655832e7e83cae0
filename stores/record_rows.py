"""The rows of the table ``records`` as call records."""

from __future__ import annotations

import sqlite3
from typing import Any, TypeAlias

import msgspec

from sessiond.actors import history
from sessiond.actors.call_record import CallRecord, durations
from sessiond.actors.incarnation import ADMIN, CLIENT, SERVICE
from sessiond.actors.record import Metadata
from sessiond.actors.results import Author

__all__ = ["COLUMNS", "HISTORY", "METADATA", "NUMBER", "Authors", "Row", "metadata_of", "record_of", "weight_of"]

Row: TypeAlias = tuple[Any, ...]

COLUMNS = (
    "number", "id", "type", "gateway", "epoch", "external_id", "caller", "callee", "direction", "parent", '"group"',
    "created_at", "ringing_at", "answered_at", "ended_at", "end_reason", "ended_by", "sip_code", "q850_cause",
    "version", "metadata", "timeline",
)  # fmt: skip
"""What a row has to hold, in this order."""
NUMBER = 0
METADATA, HISTORY = COLUMNS.index("metadata"), COLUMNS.index("timeline")
"""The places of some of them."""

_ROW_WEIGHT = 600
"""About the bytes of a record on the wire, without its metadata and history."""
_HISTORY_WEIGHT = 10
"""So many times the bytes of its row a history takes on the wire, where each entry says who and what in words."""

metadata_of = msgspec.json.Decoder(Metadata).decode
"""The metadata of what stands in the column."""


class Authors(dict[int, Author]):
    """Who the numbers in histories are, looked up once each."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Look in the database of ``connection``."""
        super().__init__({CLIENT: Author("client"), SERVICE: Author("service"), ADMIN: Author("admin")})
        self._connection = connection

    def __missing__(self, number: int) -> Author:
        named = self._connection.execute("SELECT gateway, epoch FROM authors WHERE number = ?", (number,)).fetchone()
        author = self[number] = Author("gateway", *(named or ()))
        return author


def record_of(row: Row, authors: Authors) -> CallRecord:
    """The record in a row."""
    (
        number, id, type, gateway, epoch, external_id, caller, callee, direction, parent, group,
        created_at, ringing_at, answered_at, ended_at, end_reason, ended_by, sip_code, q850_cause,
        version, metadata, timeline,
    ) = row  # fmt: skip
    entries, dropped = history.read(timeline, authors.__getitem__)
    took = durations(created_at, ringing_at, answered_at, ended_at)
    return CallRecord(
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
        metadata=metadata_of(metadata),
        created_at=created_at,
        ringing_at=ringing_at,
        answered_at=answered_at,
        ended_at=ended_at,
        setup_duration=took.setup,
        ring_duration=took.ring,
        talk_duration=took.talk,
        duration=took.total,
        end_reason=end_reason,
        ended_by=ended_by,
        sip_code=sip_code,
        q850_cause=q850_cause,
        version=version,
        history=entries,
        history_dropped=dropped,
    )


def weight_of(row: Row) -> int:
    """About how many bytes the record in a row has on the wire."""
    strings = sum(len(value) for value in row[:METADATA] if isinstance(value, str))
    return _ROW_WEIGHT + strings + len(row[METADATA]) + _HISTORY_WEIGHT * len(row[HISTORY])
