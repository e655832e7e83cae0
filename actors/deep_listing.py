"""``list_sessions`` where sessions are passive: a page for which some records are to be read first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sessiond.actors import cursor
from sessiond.actors.deep_walk import DeepWalk
from sessiond.actors.directory import E
from sessiond.actors.listing import PAGE_WEIGHT, Listing, weight_of
from sessiond.actors.params import ListQuery
from sessiond.actors.passive import PassiveDirectory
from sessiond.actors.record import Session
from sessiond.actors.results import Page
from sessiond.actors.selection import STEP_BUDGET

__all__ = ["DeepListing"]


class DeepListing(Listing[E]):
    """The making of one page; a ``loading.Deep``."""

    def __init__(
        self, query: ListQuery, directory: PassiveDirectory[E], view: Callable[[E], Session], instance: str
    ) -> None:
        """See ``Listing``."""
        super().__init__(query, directory, view, instance)
        self._deep = DeepWalk(query, self._walk, directory, view)

    @property
    def wanted(self) -> list[int]:
        """See ``DeepWalk``."""
        return self._deep.wanted

    def give(self, records: Mapping[int, Session]) -> None:
        """See ``DeepWalk``."""
        self._deep.give(records)

    def step(self, budget: int = STEP_BUDGET) -> Page | None:
        """See ``Listing``; if it is None, there may be some ``wanted``."""
        sessions, limit = self._sessions, self._query.limit
        if self._selection.indexed:  # then all that is found belongs on the page, and no more is to be read than that
            budget = min(budget, limit + 1 - len(sessions))
        for seq, session in self._deep.sessions(budget):
            if len(sessions) >= limit or self._weight >= PAGE_WEIGHT:
                return self._page(cursor.pack(seq, self._seal))
            sessions.append(session)
            self._weight += weight_of(session)
        return self._page(None) if self._deep.done else None
