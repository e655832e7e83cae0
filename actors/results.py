"""What the methods answer. On the wire each is a map with these keys; in process it is the object itself."""

from __future__ import annotations

from typing import Any

import msgspec

from sessiond.actors.record import Scalar, Session

__all__ = [
    "Author",
    "Commanded",
    "Count",
    "Created",
    "Ended",
    "EndedCall",
    "EndedSessions",
    "Explanation",
    "Failure",
    "Gateway",
    "Gateways",
    "History",
    "HistoryEntry",
    "Page",
    "Registered",
    "Renewed",
    "Synced",
    "Terminated",
    "Updated",
    "Watched",
]


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


class Terminated(Ended, frozen=True, gc=False):
    """The answer to ``terminate_session``."""

    gateway: str
    """What came of the command: ``done``, ``not_found`` (the gateway had no such call any more) or ``not_asked`` (it
    takes no commands). Of a session that ended by itself meanwhile also ``failed``, ``timeout`` or ``absent``."""


class Commanded(msgspec.Struct, frozen=True):
    """The answer to any other command."""

    gateway: str
    """``done``."""
    result: Any = None
    """What the gateway answered."""


class Failure(msgspec.Struct, frozen=True):
    """A session that could not be ended."""

    id: str
    code: str
    text: str


class EndedSessions(msgspec.Struct, frozen=True):
    """The answer to ``end_sessions``."""

    matched: int
    """How many sessions matched when it began."""
    dry_run: bool = False
    ids: list[str] = []
    """Of a dry run: the first that would be ended."""
    ended: int = 0
    failed: list[Failure] = []
    cursor: str | None = None
    """Asks for the next ones; None if there are none, and of a dry run."""


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


class Author(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Who made a change."""

    kind: str
    """``gateway``, ``client`` (one that did not register as a gateway), ``service`` or ``admin``."""
    gateway: str | None = None
    epoch: str | None = None


class HistoryEntry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One change of a session."""

    at: float
    """When it happened, in epoch seconds: as the gateway told, else when it arrived."""
    author: Author
    change: str
    """``created``, ``state``, ``fields``, ``metadata``, ``claimed``, ``command`` or ``ended``."""
    state: str | None = None
    """The state that the session was created in or went to."""
    names: list[str] | None = None
    """Which fields, or keys of metadata, changed; as many as there is room for."""
    reason: str | None = None
    """The reason of the end, or that a command was given."""
    command: str | None = None
    """What the gateway was told to do."""
    outcome: str | None = None
    """What came of the command."""


class History(msgspec.Struct, frozen=True, gc=False):
    """The answer to ``get_session_history``."""

    entries: list[HistoryEntry]
    """In the order in which the service learned of the changes."""
    dropped: int
    """How many entries were let go, after the first eight."""


class Registered(msgspec.Struct, frozen=True, gc=False):
    """The answer to ``register_gateway``."""

    gateway: str
    epoch: str | None
    outcome: str
    """``registered``, ``joined``, ``resumed``, ``restarted``, ``shared`` or ``taken_over``."""
    lease: float
    """Seconds: if nothing is heard for so long the gateway is lost."""
    grace: float
    """Seconds for which its sessions then wait for it."""
    sessions: int
    """How many live sessions it holds."""
    suspect: int
    """How many are held by lost incarnations of the gateway, and can be claimed."""
    instance: str
    """Of the service: new at each start."""


class Renewed(msgspec.Struct, frozen=True, gc=False):
    """The answer to ``heartbeat_gateway``."""

    lease: float
    """Seconds from now until the gateway is lost if nothing more is heard."""


class Gateway(msgspec.Struct, frozen=True, gc=False):
    """One incarnation of a gateway, as ``list_gateways`` shows it. Times are seconds since the epoch."""

    name: str
    epoch: str | None
    state: str
    """``live`` or ``lost``."""
    lost_at: float | None
    connections: int
    sessions: int
    """How many live sessions it holds."""
    capabilities: list[str]
    """All that it can be asked to do on one of its connections."""
    metadata: dict[str, Scalar]
    registered_at: float


class Gateways(msgspec.Struct, frozen=True):
    """One page of ``list_gateways``."""

    gateways: list[Gateway]
    cursor: str | None
    """Asks for the next page; None on the last one."""


class EndedCall(msgspec.Struct, frozen=True, gc=False):
    """A session that a gateway has named and the service has ended."""

    id: str
    external_id: str | None
    end_reason: str


class Synced(msgspec.Struct, frozen=True):
    """The answer to ``sync_sessions``: where gateway and service differ."""

    sync: str
    """Names this sync in its further parts."""
    unknown: list[str]
    """Those that were named in this part and that the service does not know, ids before external ids."""
    ended: list[EndedCall]
    """Those that were named in this part and that have ended."""
    missing: list[str]
    """Once all parts have come: the ids of live sessions that the gateway has not named, oldest first."""
    cursor: str | None
    """Asks for more of those; None if these are all."""


class Watched(msgspec.Struct, frozen=True, gc=False):
    """The answer to ``watch``. What there is to tell comes afterwards."""

    watch: int
    """The watch's name in what it tells, and for ``unwatch``."""
    number: int
    """The number of the change after which it begins."""
    instance: str
    """The run of the service that the numbers are of."""
    gap: bool
    """Whether changes since the number that the watcher came with are not to be had any more: what it has is of no
    use, and a snapshot follows unless it wants none."""
