"""What the methods answer. On the wire each is a map with these keys; in process it is the object itself."""

from __future__ import annotations

from typing import Any

import msgspec

from sessiond.actors.record import Scalar, Session

__all__ = ["Count", "Created", "Ended", "Explanation", "Page", "Updated"]


class Created(msgspec.Struct, frozen=True, gc=False):
    """The answer to ``create_session``."""

    id: str
    version: int
    state: str
    created: bool
    """False when this ``request_id`` had created the session before."""


class Updated(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The answer to a change."""

    version: int
    stale: bool = False
    """True for an event that came too late to matter, such as ``ringing`` after the answer."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The answer to ``end_session``. Durations are seconds and never negative."""

    version: int
    ended_at: float
    duration: float
    talk_duration: float


class Page(msgspec.Struct, frozen=True):
    """One page of ``list_sessions``."""

    sessions: list[Session] | list[dict[str, Any]]
    """Whole sessions, or maps of the ``fields`` asked for."""
    cursor: str | None
    """Asks for the next page; None on the last one."""


class Count(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to ``count_sessions``."""

    count: int
    groups: dict[str, int] | None = None
    """Sessions per value of ``by``; the absent value's key is ``""``."""


class Explanation(msgspec.Struct, frozen=True):
    """The answer to ``explain_limit``."""

    limit: str
    by: str
    value: Scalar
    current: int
    """Sessions with that value that live, when this was answered."""
    maximum: int | None
    """As many may; None if the limit is one per second only."""
    per_second: float | None
    """As many may be created; None if the limit is one at a time only."""
    sessions: list[Session]
    """One page of those that live, oldest first."""
    cursor: str | None
    """Asks for the next page; None on the last one."""
