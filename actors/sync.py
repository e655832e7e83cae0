"""Syncs: a gateway says which calls it has, in parts, and learns what it and the service do not both have.

Only what was said counts. A collection that was never closed, or whose parts came too late, or whose gateway was lost
in between, is forgotten and judges nothing: an answer that is late, partial or missing is never taken for an empty one.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from sessiond.actors.bitmap import Bitmap
from sessiond.actors.errors import InvalidRequest, LimitExceeded

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.incarnation import Incarnation

__all__ = ["MAX_SYNCS", "OUTCOMES", "SYNC_SECONDS", "Sync", "Syncs", "predecessors"]

SYNC_SECONDS = 60.0
"""Between the parts of a sync, and then for the pages of its result."""
MAX_SYNCS = 10_000
MAX_OWN, MAX_STRANGERS = 16, 256
"""So many of them can one incarnation have begun, and all who are none together: of more the oldest is forgotten. So
nobody takes a gateway the place for its own."""
COMPLETE, EXPIRED, LOST, FAILED = OUTCOMES = ("complete", "expired", "lost", "failed")
"""What came of syncs: closed; not closed in time; its incarnation was lost meanwhile; a part of it failed."""


class Sync:
    """What one incarnation, or somebody who is none, has said so far."""

    __slots__ = (
        "began",
        "found",
        "gateway",
        "incarnation",
        "is_complete",
        "last_seq",
        "named",
        "reading",
        "refused_parts",
        "token",
        "used",
    )

    def __init__(self, token: str, gateway: str, incarnation: Incarnation | None, last_seq: int, now: Instant) -> None:
        """Begin; ``last_seq`` is the number of the youngest session that there is."""
        self.token = token
        self.gateway = gateway
        self.incarnation = incarnation
        """Whose sync it is; None for whoever only wants to know."""
        self.found = None if incarnation is None else incarnation.found
        self.refused_parts = 0 if incarnation is None else incarnation.refused_parts
        self.last_seq = last_seq
        self.began = now
        self.used = now.monotonic
        """When its last part came."""
        self.named = Bitmap()
        """The sequence numbers of the live sessions that were named."""
        self.is_complete = False
        self.reading: object | None = None
        """The part that is not taken in yet, since sessions that it names are being read."""

    @property
    def is_lost(self) -> bool:
        """Whether its incarnation was lost since it began, even if it is back."""
        whose = self.incarnation
        return whose is not None and (whose.loss is not None or whose.found is not self.found)

    @property
    def is_incomplete(self) -> bool:
        """Whether a part that may have been one of it was refused."""
        return self.incarnation is not None and self.incarnation.refused_parts != self.refused_parts


class Syncs:
    """The syncs that have begun, the one heard of longest ago first."""

    def __init__(self, instance: str) -> None:
        """Give tokens that no other ``instance`` of the service gives."""
        self.outcomes = Counter(dict.fromkeys(OUTCOMES, 0))
        """What came of those that are over."""
        self._open: OrderedDict[str, Sync] = OrderedDict()
        self._tokens: dict[Incarnation | None, deque[str]] = {}
        """Those of each who has begun any, in the order of their beginning."""
        self._instance = instance
        self._number = 0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, gateway: str, incarnation: Incarnation | None, last_seq: int, now: Instant) -> Sync:
        """A new one.

        Raises:
            LimitExceeded: as many are under way as may be.
        """
        own = self._tokens.get(incarnation)
        if own is not None and len(own) >= (MAX_STRANGERS if incarnation is None else MAX_OWN):
            self._forget(self._open[own[0]], EXPIRED)
        if len(self._open) >= MAX_SYNCS:
            if not next(iter(self._open.values())).is_complete:
                raise LimitExceeded("As many syncs are under way as may be", limit="syncs", maximum=MAX_SYNCS)
            self._forget(next(iter(self._open.values())), COMPLETE)
        self._number += 1
        sync = Sync(f"{self._instance}-{self._number}", gateway, incarnation, last_seq, now)
        self._open[sync.token] = sync
        self._tokens.setdefault(incarnation, deque()).append(sync.token)
        return sync

    def go_on(self, token: str, gateway: str, incarnation: Incarnation | None, now: Instant) -> Sync:
        """The one with that token, which has had another part.

        Raises:
            InvalidRequest: there is none, or not of this gateway's incarnation, or it has been forgotten.
        """
        sync = self._open.get(token)
        if sync is None or sync.gateway != gateway:
            _refuse("no such sync of this gateway; begin anew")
        if sync.is_lost:
            self._forget(sync, LOST)
            _refuse("its gateway was lost meanwhile; begin anew")
        if sync.is_incomplete and not sync.is_complete:
            self._forget(sync, FAILED)
            _refuse("a part was refused meanwhile; begin anew")
        if sync.incarnation is not incarnation:
            _refuse("another incarnation's; begin anew")
        sync.used = now.monotonic
        self._open.move_to_end(token)
        return sync

    def complete(self, sync: Sync) -> None:
        """All parts have come."""
        sync.is_complete = True
        self.outcomes[COMPLETE] += 1

    def fail(self, sync: Sync) -> None:
        """A part of it could not be taken in."""
        if sync.token in self._open:
            self._forget(sync, FAILED)

    def drop_old(self, now: Instant) -> None:
        """Forget those of which nothing has been heard for too long."""
        while self._open:
            sync = next(iter(self._open.values()))
            if sync.used + SYNC_SECONDS > now.monotonic:
                return
            self._forget(sync, LOST if sync.is_lost else EXPIRED)

    def _forget(self, sync: Sync, outcome: str) -> None:
        del self._open[sync.token]
        own = self._tokens[sync.incarnation]
        own.remove(sync.token)
        if not own:
            del self._tokens[sync.incarnation]
        if not sync.is_complete:
            self.outcomes[outcome] += 1


def predecessors(known: Sequence[Incarnation], successor: Incarnation) -> list[Incarnation]:
    """The incarnations in whose place ``successor`` is, and whose calls it therefore knows all about.

    They are all others that are known, each lost before it came; else there are none. One that lived side by side with
    another may be a machine of its own that will be back in a moment, or go on with the calls of those before it.
    """
    others = [each for each in known if each is not successor]
    if successor.loss is not None or any(each.has_shared or not _was_lost_before(each, successor) for each in others):
        return []
    return others


def _was_lost_before(incarnation: Incarnation, successor: Incarnation) -> bool:
    loss = incarnation.loss
    return loss is not None and loss.start.monotonic <= successor.registered.monotonic


def _refuse(text: str) -> NoReturn:
    raise InvalidRequest(f"sync: {text}", field="sync")
