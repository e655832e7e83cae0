"""What watchers are told: on the wire each as the one parameter of a notification, in process as the object itself."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from sessiond.actors.record import Session

__all__ = ["DROP_REASONS", "Event", "GatewayChanged", "SessionChanged", "SnapshotBegins", "WatchDropped", "WatchReady"]


class SessionChanged(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A session has changed, or is one of those that there are."""

    watch: int
    """Whose news it is, of several watches in one place."""
    number: int
    """The change's place in the order of all changes; of a part of the snapshot that of the latest one before it."""
    session: Session
    """The session since then, its last record if it has ended."""
    matches: bool
    """Whether it passes the filters now. One that does not has just left those that do."""
    snapshot: bool = False
    """Whether it is no change, but a part of the snapshot."""


class GatewayChanged(msgspec.Struct, frozen=True, gc=False):
    """An incarnation of a gateway has come, or was lost or found: its sessions are suspect from now on, or not."""

    watch: int
    number: int
    """As of ``SessionChanged``."""
    gateway: str
    epoch: str | None
    state: str
    """``lost`` or ``live``."""


class WatchReady(msgspec.Struct, frozen=True, gc=False):
    """The snapshot is complete: whoever applied everything that came has what there is."""

    watch: int
    number: int
    """The last change that this is so for."""


class WatchDropped(msgspec.Struct, frozen=True, gc=False):
    """The watch is over; nothing more comes of it."""

    watch: int
    number: int | None
    """Everything up to this change was told, so that another watch can go on from it; None if the snapshot was not
    complete, so that another watch has to begin anew."""
    reason: str
    """``behind``: so much has changed that was not taken; ``stalled``: nothing was taken for too long; ``crashed``:
    telling it failed, which the log tells more of."""


class SnapshotBegins(msgspec.Struct, frozen=True, gc=False):
    """What was told before is of no use any more: what there is comes now.

    Only clients say so, which watch anew when a connection is lost. Whoever watches in process, or by requests of their
    own, begins every watch themselves.
    """

    gap: bool
    """Whether it was to go on from where it was, and what happened since then cannot be had any more."""


DROP_REASONS = ("behind", "stalled", "crashed")
"""Those of ``WatchDropped``."""

Event: TypeAlias = SessionChanged | GatewayChanged | WatchReady | WatchDropped
