"""What one watcher is to be told next: the snapshot and the changes, joined without a hole.

A watch has a place in the log of changes. It looks at one change after another, and at the sessions that there are only
while it has seen every change: so a session in the snapshot is as all that was told before left it, and whatever
happens to it later is told later. That a session was told of before the snapshot comes to it does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, cast

from msgspec import UNSET

from sessiond.actors.changelog import ChangeLog, GatewayChange, SessionChange
from sessiond.actors.directory import E
from sessiond.actors.errors import InvalidRequest
from sessiond.actors.events import Event, GatewayChanged, SessionChanged, WatchReady
from sessiond.actors.params import WatchQuery
from sessiond.actors.record import Session
from sessiond.actors.selection import Selection, Walk, record_checks

__all__ = ["TELLING_COST", "Watch", "check"]

TELLING_COST = 4
"""How many times the work it is to tell of a change as to see that it is none of the watch's."""


def check(query: WatchQuery) -> None:
    """Raise ``InvalidRequest`` for what no watch can be about."""
    if query.suspect is not UNSET:
        raise InvalidRequest("suspect: no filter here; follow the changes of gateways", field="suspect")
    if (query.since is None) != (query.instance is None):
        field = "from" if query.since is None else "instance"
        raise InvalidRequest(f"{field}: missing, `from` and `instance` go together", field=field)


class Watch(Generic[E]):
    """One watch: its filters and its place."""

    def __init__(
        self,
        number: int,
        query: WatchQuery,
        selection: Selection[E],
        changes: ChangeLog,
        view: Callable[[E], Session],
        show: Callable[[SessionChange], Session],
    ) -> None:
        """Watch nothing yet: see ``begin``.

        Args:
            number: the watch's name in what it tells.
            query: what it is about.
            selection: the sessions that it is about, for the snapshot.
            changes: what happens.
            view: gives a session that there is as it is to be shown.
            show: gives a changed one.
        """
        self.number = number
        self.position = 0
        """The last change that was looked at."""
        self.since = 0
        """Changes after this one came while it watched."""
        self._gateway = query.gateway
        self._checks = record_checks(query)
        self._cost = 1 + len(self._checks) // 4
        self._selection = selection
        self._changes = changes
        self._view = view
        self._show = show
        self._walk: Walk[E] | None = None

    def begin(self, position: int, *, snapshot: bool) -> None:
        """Tell of everything after the change of number ``position``, and of what there is if it is a ``snapshot``."""
        self.position = position
        self.since = self._changes.last
        self._walk = Walk(self._selection) if snapshot else None

    @property
    def is_complete(self) -> bool:
        """Whether whoever was told everything so far has all that there was at ``position``."""
        return self._walk is None

    @property
    def is_behind(self) -> bool:
        """Whether there is something left to look at."""
        return self.position < self._changes.last or self._walk is not None

    @property
    def is_lost(self) -> bool:
        """Whether changes that it has not looked at are no longer kept."""
        return self.position < self._changes.base

    def backlog(self) -> int:
        """How many changes that came while it watched it has not looked at."""
        return self._changes.last - max(self.position, self.since)

    def events(self, budget: int) -> Iterator[Event]:
        """A bounded piece of work: what is to be told after looking at about ``budget`` changes or sessions.

        Whoever stops iterating sooner goes on behind the last event.
        """
        while budget > 0 and self.position < self._changes.last:
            self.position += 1
            event = self._event(self.position)
            if event is None:
                budget -= self._cost
            else:
                budget -= TELLING_COST
                yield event
        if budget > 0 and self._walk is not None:
            yield from self._walked(self._walk, budget)

    def _event(self, number: int) -> Event | None:
        change = self._changes[number]
        if isinstance(change, GatewayChange):
            return self._gateway_event(number, change)
        matches = self._accepts(change.new)
        if not matches and (change.old is None or not self._accepts(change.old)):
            return None
        return SessionChanged(self.number, number, self._show(change), matches)

    def _gateway_event(self, number: int, change: GatewayChange) -> GatewayChanged | None:
        if self._gateway is not UNSET and self._gateway != change.gateway:
            return None
        return GatewayChanged(self.number, number, change.gateway, change.epoch, change.state)

    def _accepts(self, record: Session) -> bool:
        for check in self._checks:  # noqa: SIM110 - as in ``Selection.matches``
            if not check(record):
                return False
        return True

    def _walked(self, walk: Walk[E], budget: int) -> Iterator[Event]:
        for entry in walk.entries(budget):
            yield SessionChanged(self.number, self.position, self._view(entry), matches=True, snapshot=True)
            budget -= TELLING_COST
            if budget <= 0:
                return
        if walk.done:
            self._walk = None
            yield WatchReady(self.number, self.position)


def packed(changes: ChangeLog) -> Callable[[SessionChange], Session]:
    """The ``show`` of a watch whose events are encoded, where a packed session stands for the session."""
    return cast("Callable[[SessionChange], Session]", changes.packed)
