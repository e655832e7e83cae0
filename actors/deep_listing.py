"""``list_sessions`` where sessions are passive: a page for which some records are to be read first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from sessiond.actors import cursor
from sessiond.actors.bitmap import CHUNK_SHIFT
from sessiond.actors.directory import E
from sessiond.actors.listing import PAGE_WEIGHT, Listing, weight_of
from sessiond.actors.params import ListQuery
from sessiond.actors.passive import PASSIVE, PassiveDirectory
from sessiond.actors.record import Session
from sessiond.actors.results import Page
from sessiond.actors.selection import STEP_BUDGET, record_checks

__all__ = ["DeepListing"]


class DeepListing(Listing[E]):
    """The making of one page; a ``loading.Deep``.

    What the indexes have found is looked at only once all of it can be: some sessions have come or gone meanwhile, and
    digests may have led to others. So everything is checked on the records, as they are then.
    """

    def __init__(
        self, query: ListQuery, directory: PassiveDirectory[E], view: Callable[[E], Session], instance: str
    ) -> None:
        """See ``Listing``."""
        super().__init__(query, directory, view, instance)
        self.wanted: list[int] = []
        """The passive sessions whose records are to be given before the next step."""
        self._directory = directory
        self._checks = record_checks(query)
        self._ahead: deque[int] = deque()
        """What comes next on the page, if it matches."""
        self._given: dict[int, Session | None] = {}

    def give(self, records: Mapping[int, Session]) -> None:
        """Take the records of those ``wanted``, as they are to be shown; there is none of one that has ended."""
        self._given.update((seq, records.get(seq)) for seq in self.wanted)
        self.wanted = []

    def step(self, budget: int = STEP_BUDGET) -> Page | None:
        """See ``Listing``; if it is None, there may be some ``wanted``."""
        if not self._ahead:
            self._given.clear()
            self._ahead.extend(filter(self._may_match, self._walk.seqs(self._bounded(budget))))
        passive = self._directory.passive
        self.wanted = [seq for seq in self._ahead if seq in passive and seq not in self._given]
        return None if self.wanted else self._put_all()

    def _bounded(self, budget: int) -> int:
        """As many as fill the page, if all that is found belongs on it, so that no more than that is read."""
        return min(budget, self._query.limit + 1 - len(self._sessions)) if self._selection.indexed else budget

    def _may_match(self, seq: int) -> bool:
        if seq not in self._directory.passive:
            return True
        earliest, bound = self._query.created_after, self._query.created_before
        return self._directory.created_within(seq >> CHUNK_SHIFT, earliest, bound) is not False

    def _put_all(self) -> Page | None:
        sessions, limit = self._sessions, self._query.limit
        while self._ahead:
            seq = self._ahead.popleft()
            session = self._session(seq)
            if session is None:
                continue
            if len(sessions) >= limit or self._weight >= PAGE_WEIGHT:
                return self._page(cursor.pack(seq, self._seal))
            sessions.append(session)
            self._weight += weight_of(session)
        return self._page(None) if self._walk.done else None

    def _session(self, seq: int) -> Session | None:
        """The session of that number as it is to be shown, if there is one that matches."""
        entry = self._directory.at(seq)
        if entry is None:
            return None
        record = self._given.get(seq) if entry is PASSIVE else entry.record
        if record is None or not all(check(record) for check in self._checks):
            return None
        return record if entry is PASSIVE else self._view(entry)
