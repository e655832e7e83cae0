"""What a change makes of a session: from one record to the next, decided without acting.

Every function returns a new record, or the one it was given if nothing changes.
Times that gateways tell (``at``) are clamped between the last time recorded and now, because events are queued and
overtaken on their way and no clock is quite right.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from sessiond.actors.clock import Instant
from sessiond.actors.deadlines import Timeouts
from sessiond.actors.params import Changes, EndOptions, NewSession, check_metadata
from sessiond.actors.record import Scalar, Session
from sessiond.actors.states import ANSWERED, ENDED

__all__ = [
    "AMENDABLE",
    "amended",
    "amendments",
    "annotated",
    "begun",
    "claimed",
    "differing",
    "finished",
    "moment",
    "moved",
    "shown",
]

AMENDABLE = ("caller", "callee", "external_id", "parent", "group")
"""The fields that ``update_session`` can change and a record shows."""


def begun(session_id: str, new: NewSession, epoch: str | None, now: Instant) -> Session:
    """The first record of a session; ``epoch`` is that of the incarnation that holds it."""
    created_at = now.wall if new.at is None else min(new.at, now.wall)
    answered_at = None
    if new.state in ANSWERED:
        answered_at = created_at if new.answered_at is None else _clamp(new.answered_at, created_at, now)
    return Session(
        session_id,
        new.type,
        new.state,
        new.gateway,
        epoch,
        new.external_id,
        new.caller,
        new.callee,
        new.direction,
        new.parent,
        new.group,
        new.metadata or {},
        created_at,
        now.wall,
        created_at if new.state == "ringing" else None,
        answered_at,
        None,
        now.wall,
        None,
        None,
        None,
        None,
        None,
        1,
    )


def moved(record: Session, state: str, at: float | None, now: Instant) -> Session:
    """The record in another live state, since ``at``."""
    version = record.version + 1
    if state == "ringing":
        rang_at = _clamp(at, record.created_at, now)
        return replace(record, version=version, updated_at=now.wall, state=state, ringing_at=rang_at)
    if record.answered_at is not None:
        return replace(record, version=version, updated_at=now.wall, state=state)
    answered_at = _clamp(at, _last_recorded(record), now)
    return replace(record, version=version, updated_at=now.wall, state=state, answered_at=answered_at)


def amendments(record: Session, changes: Changes) -> dict[str, Any]:
    """What ``changes`` would make different of the fields that ``AMENDABLE`` names."""
    return {
        name: value
        for name in AMENDABLE
        if (value := getattr(changes, name)) is not UNSET and value != getattr(record, name)
    }


def amended(record: Session, fields: dict[str, Any], now: Instant) -> Session:
    """The record with other ``fields``; without any, after a change that it does not show, such as of a timeout."""
    return replace(record, version=record.version + 1, updated_at=now.wall, **fields)


def annotated(record: Session, metadata: dict[str, Scalar | None], now: Instant) -> Session:
    """The record with ``metadata`` merged in, where None removes a key; the same one if that changes nothing.

    Raises:
        InvalidRequest: more metadata than a session may have.
    """
    merged = record.metadata | metadata
    if None in metadata.values():
        merged = {key: value for key, value in merged.items() if value is not None}
    if _same(merged, record.metadata):
        return record
    check_metadata(merged)
    return replace(record, version=record.version + 1, updated_at=now.wall, metadata=merged)


def finished(
    record: Session, reason: str | None, ended_by: str, options: EndOptions, now: Instant, last_activity_at: float
) -> Session:
    """The last record of a session. ``reason`` None is ``normal`` for an answered call, else ``failed``."""
    last = _last_recorded(record)
    ended_at = _clamp(options.at, last, now)
    answered_at = record.answered_at
    if answered_at is None and options.answered_at is not None:
        answered_at = max(last, min(options.answered_at, ended_at))
    return replace(
        record,
        version=record.version + 1,
        updated_at=now.wall,
        last_activity_at=last_activity_at,
        state=ENDED,
        answered_at=answered_at,
        ended_at=ended_at,
        end_reason=reason or ("failed" if answered_at is None else "normal"),
        ended_by=ended_by,
        sip_code=options.sip_code,
        q850_cause=options.q850_cause,
    )


def moment(record: Session, at: float, now: Instant) -> float:
    """When a change of state took effect of which a gateway says that it was ``at``."""
    return _clamp(at, record.created_at, now)


def differing(before: Timeouts, after: Timeouts) -> list[str]:
    """The names of the timeouts that are not the same."""
    if before == after:
        return []
    return [name for name in Timeouts.__struct_fields__ if getattr(before, name) != getattr(after, name)]


def claimed(record: Session, epoch: str | None) -> Session:
    """The record of a session that another incarnation of its gateway holds; that is no new version of the call."""
    return replace(record, epoch=epoch)


def shown(record: Session, last_activity_at: float, expires_at: float | None, *, suspect: bool = False) -> Session:
    """The record of a live session as it is shown at this moment."""
    return replace(record, last_activity_at=last_activity_at, expires_at=expires_at, suspect=suspect)


def _last_recorded(record: Session) -> float:
    return record.answered_at or record.ringing_at or record.created_at


def _clamp(at: float | None, earliest: float, now: Instant) -> float:
    time = now.wall if at is None or at > now.wall else at
    return max(earliest, time)  # half the time of max()


def _same(left: dict[str, Scalar | None], right: dict[str, Scalar]) -> bool:
    """Whether two metadata maps are the same to a client: 1, 1.0 and True are three values."""
    return left == right and all(value.__class__ is right[key].__class__ for key, value in left.items())
