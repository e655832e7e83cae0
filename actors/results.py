"""What the methods answer. On the wire each is a map with these keys; in process it is the object itself."""

from __future__ import annotations

from typing import Any

import msgspec

from sessiond.actors.record import Session

__all__ = ["Count", "Created", "Ended", "Page", "Updated"]


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
