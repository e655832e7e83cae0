"""A walk through sessions of which some are passive: their records are read first, some at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Generic

from sessiond.actors.bitmap import CHUNK_SHIFT
from sessiond.actors.directory import E
from sessiond.actors.params import Filters
from sessiond.actors.passive import PASSIVE, PassiveDirectory
from sessiond.actors.record import Session
from sessiond.actors.selection import Walk, record_checks

__all__ = ["DeepWalk"]


class DeepWalk(Generic[E]):
    """Visits the sessions of a walk in its order.

    What the indexes have found is looked at only once all of it can be: some sessions have come or gone meanwhile, and
    digests may have led to others. So everything is checked on the records, as they are then.
    """

    def __init__(
        self, query: Filters, walk: Walk[E], directory: PassiveDirectory[E], view: Callable[[E], Session]
    ) -> None:
        """Walk as ``walk`` does, which is by ``query``; ``view`` gives the record to show of an entry."""
        self.wanted: list[int] = []
        """The passive sessions whose records are to be given before the next step."""
        self.ahead: deque[int] = deque()
        """What comes next, if it matches; only to be read."""
        self._query = query
        self._walk = walk
        self._directory = directory
        self._view = view
        self._checks = record_checks(query)
        self._given: dict[int, Session | None] = {}

    @property
    def done(self) -> bool:
        """Whether everything has been visited."""
        return self._walk.done and not self.ahead

    def give(self, records: Mapping[int, Session]) -> None:
        """Take the records of those ``wanted``, as they are to be shown; there is none of one that has ended."""
        self._given.update((seq, records.get(seq)) for seq in self.wanted)
        self.wanted = []

    def sessions(self, budget: int) -> Iterator[tuple[int, Session]]:
        """One step: those of the next ``budget`` candidates that match, by number; none if some are ``wanted``.

        Whoever stops iterating sooner goes on behind the last session seen.
        """
        if not self.ahead:
            self._given.clear()
            self.ahead.extend(filter(self._may_match, self._walk.seqs(budget)))
        passive = self._directory.passive
        self.wanted = [seq for seq in self.ahead if seq in passive and seq not in self._given]
        while self.ahead and not self.wanted:
            seq = self.ahead.popleft()
            session = self._session(seq)
            if session is not None:
                yield seq, session

    def _may_match(self, seq: int) -> bool:
        if seq not in self._directory.passive:
            return True
        earliest, bound = self._query.created_after, self._query.created_before
        return self._directory.created_within(seq >> CHUNK_SHIFT, earliest, bound) is not False

    def _session(self, seq: int) -> Session | None:
        """The session of that number as it is to be shown, if there is one that matches."""
        entry = self._directory.at(seq)
        if entry is None:
            return None
        record = self._given.get(seq) if entry is PASSIVE else entry.record
        if record is None or not all(check(record) for check in self._checks):
            return None
        return record if entry is PASSIVE else self._view(entry)
