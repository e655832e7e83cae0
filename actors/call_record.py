"""The record of a call that has ended: what billing gets."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from sessiond.actors.record import Metadata
from sessiond.actors.results import HistoryEntry

__all__ = ["CallRecord", "CallRecords", "Durations", "durations"]


class CallRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One session from its beginning to its end. Times are seconds since the epoch, durations seconds."""

    id: str
    """The session's, and so the record's: whoever gets two records of one id has got one of them twice."""
    number: int
    """The record's place in the order in which the ends were kept; ascending, with gaps."""
    type: str
    gateway: str | None
    epoch: str | None
    external_id: str | None
    caller: str | None
    callee: str | None
    direction: str | None
    parent: str | None
    group: str | None
    metadata: Metadata
    created_at: float
    ringing_at: float | None
    answered_at: float | None
    ended_at: float
    setup_duration: float
    """From the creation to the answer, or to the end of a call that was not answered."""
    ring_duration: float
    """From the first ringing to the answer, or to the end; 0 if it never rang."""
    talk_duration: float
    """From the answer to the end; 0 if it was not answered."""
    duration: float
    """From the creation to the end."""
    end_reason: str
    ended_by: str
    sip_code: int | None
    q850_cause: int | None
    version: int
    history: list[HistoryEntry]
    """See ``get_session_history``."""
    history_dropped: int
    """Entries of the history that were let go."""


class CallRecords(msgspec.Struct, frozen=True):
    """One page of ``list_records``."""

    records: list[CallRecord] | list[dict[str, Any]]
    """Whole records, or maps of the ``fields`` asked for. There may be none although there is a cursor."""
    cursor: str | None
    """For the next page; None on the last one."""


class Durations(NamedTuple):
    """How long the parts of a call took, in seconds; see ``CallRecord``."""

    setup: float
    ring: float
    talk: float
    total: float


def durations(created_at: float, ringing_at: float | None, answered_at: float | None, ended_at: float) -> Durations:
    """What the times of a call, which are never before one another, make of it."""
    set_up = ended_at if answered_at is None else answered_at
    return Durations(
        setup=max(0.0, set_up - created_at),
        ring=0.0 if ringing_at is None else max(0.0, set_up - ringing_at),
        talk=0.0 if answered_at is None else max(0.0, ended_at - answered_at),
        total=max(0.0, ended_at - created_at),
    )
