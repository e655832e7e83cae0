"""What one watcher is to be told next where sessions are passive: a snapshot for which some records are read first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sessiond.actors.changelog import ChangeLog, SessionChange
from sessiond.actors.deep_walk import DeepWalk
from sessiond.actors.directory import E
from sessiond.actors.events import Event, SessionChanged, WatchReady
from sessiond.actors.params import WatchQuery
from sessiond.actors.passive import PassiveDirectory
from sessiond.actors.record import Session
from sessiond.actors.selection import Selection, Walk
from sessiond.actors.watching import TELLING_COST, Watch

__all__ = ["DeepWatch"]


class DeepWatch(Watch[E]):
    """One watch, which goes on telling of changes while records are read for its snapshot.

    What was read may be older than what has been told meanwhile, if a session came back, changed and left again. So
    whoever has changed since the reading began is not told of again: all of that was told as it happened.
    """

    def __init__(
        self,
        number: int,
        query: WatchQuery,
        directory: PassiveDirectory[E],
        changes: ChangeLog,
        view: Callable[[E], Session],
        show: Callable[[SessionChange], Session],
    ) -> None:
        """See ``Watch``."""
        super().__init__(number, query, Selection(query, directory), changes, view, show)
        self._query = query
        self._directory = directory
        self._deep: DeepWalk[E] | None = None
        self._changed: set[str] = set()
        """The sessions that have changed since what is ``ahead`` of the walk was found."""

    def begin(self, position: int, *, snapshot: bool) -> None:
        """See ``Watch``."""
        super().begin(position, snapshot=snapshot)
        walk = self._walk
        self._deep = None if walk is None else DeepWalk(self._query, walk, self._directory, self._view)

    @property
    def wanted(self) -> list[int]:
        """The passive sessions whose records are to be given before the snapshot goes on; see ``DeepWalk``."""
        return [] if self._deep is None else self._deep.wanted

    def give(self, records: Mapping[int, Session]) -> None:
        """See ``DeepWalk``; nothing if the snapshot is over."""
        if self._deep is not None:
            self._deep.give(records)

    @property
    def is_behind(self) -> bool:
        """Whether there is something left to look at, and it can be."""
        return self.position < self._changes.last or (self._walk is not None and not self.wanted)

    def _event(self, number: int) -> Event | None:
        change = self._changes[number]
        if self._deep is not None and isinstance(change, SessionChange):
            self._changed.add(change.new.id)
        return super()._event(number)

    def _walked(self, walk: Walk[E], budget: int) -> Iterator[Event]:
        deep = self._deep
        if deep is None or deep.wanted:
            return
        if not deep.ahead:
            self._changed.clear()
        for _, session in deep.sessions(budget):
            if session.id in self._changed:
                continue
            yield SessionChanged(self.number, self.position, session, matches=True, snapshot=True)
            budget -= TELLING_COST
            if budget <= 0:
                return
        if deep.done:
            self._walk = self._deep = None
            self._changed.clear()
            yield WatchReady(self.number, self.position)
