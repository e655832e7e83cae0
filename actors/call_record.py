"""The record of a call that has ended: what billing gets."""

from __future__ import annotations

import msgspec

from sessiond.actors.record import Metadata
from sessiond.actors.results import HistoryEntry

__all__ = ["CallRecord", "CallRecords"]


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
    """The answer to ``list_records``."""

    records: list[CallRecord]
    cursor: str | None
    """For the next page; None on the last one."""
