"""``list_sessions``: one page, put together in steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic

from sessiond.actors import cursor
from sessiond.actors.directory import Directory, E
from sessiond.actors.params import ListQuery
from sessiond.actors.record import Session
from sessiond.actors.results import Page
from sessiond.actors.selection import STEP_BUDGET, Selection, Walk

__all__ = ["PAGE_WEIGHT", "Listing", "weight_of"]

PAGE_WEIGHT = 256 * 1024
"""A page of about so many bytes is ended early: writing a few hundred sessions full of metadata takes too long."""

SESSION_WEIGHT = 256
"""About the bytes of a session without its strings and metadata."""


class Listing(Generic[E]):
    """The making of one page."""

    def __init__(self, query: ListQuery, directory: Directory[E], view: Callable[[E], Session], instance: str) -> None:
        """``view`` gives the record to show of an entry; cursors are good for one ``instance`` of the service.

        Raises ``InvalidRequest`` for filters that contradict each other and for a cursor of another listing.
        """
        self._query = query
        self._view = view
        self._seal = cursor.seal(query, instance)
        start = None if query.cursor is None else cursor.unpack(query.cursor, self._seal)
        self._selection = Selection(query, directory)
        self._walk = Walk(self._selection, descending=query.order == "desc", start=start)
        self._sessions: list[Session] = []
        self._weight = 0

    def step(self, budget: int = STEP_BUDGET) -> Page | None:
        """A bounded piece of work; the page once it is done, else None.

        A full page is done when the session that the next one begins with is found, or that there is none.
        """
        sessions, limit = self._sessions, self._query.limit
        for entry in self._walk.entries(budget):
            if len(sessions) >= limit or self._weight >= PAGE_WEIGHT:
                return self._page(cursor.pack(entry.seq, self._seal))
            session = self._view(entry)
            sessions.append(session)
            self._weight += weight_of(session)
        return self._page(None) if self._walk.done else None

    def _page(self, following: str | None) -> Page:
        fields = self._query.fields
        if fields is None:
            return Page(self._sessions, following)
        return Page([_projection(session, fields) for session in self._sessions], following)


def weight_of(session: Session) -> int:
    """About the bytes of a session on a page."""
    weight = SESSION_WEIGHT + len(session.gateway or "") + len(session.external_id or "")
    weight += len(session.caller or "") + len(session.callee or "")
    for key, value in session.metadata.items():
        weight += len(key) + (len(value) if isinstance(value, str) else 8)
    return weight


def _projection(session: Session, fields: list[Any]) -> dict[str, Any]:
    return {name: getattr(session, name) for name in fields}
