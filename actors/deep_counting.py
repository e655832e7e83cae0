"""``count_sessions`` where sessions are passive: by the indexes, and by what is read where these do not tell."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from msgspec import UNSET

from sessiond.actors.bitmap import CHUNK_SHIFT, Words, offsets
from sessiond.actors.counting import Counting
from sessiond.actors.directory import E
from sessiond.actors.params import CountQuery, Filters
from sessiond.actors.passive import PASSIVE, PassiveDirectory
from sessiond.actors.record import Session
from sessiond.actors.results import Count
from sessiond.actors.selection import STEP_BUDGET, record_checks
from sessiond.actors.twofold import TwofoldIndex

__all__ = ["ENOUGH", "DeepCounting"]

ENOUGH = 512
"""Records that are read together, and up to a chunk more."""

_OF_ENDED: Mapping[str, Mapping[Hashable, Words]] = {"end_reason": {}, "ended_by": {}}
"""Fields that no live session has a value of."""


class DeepCounting(Counting[E]):
    """The making of one count; a ``loading.Deep``.

    Of passive sessions the sets are counted. When they were created is known by the chunk, so that few are read because
    of a time; because of what is not indexed, or because each is to be told apart by a value of its own, all are.
    """

    def __init__(self, query: CountQuery, directory: PassiveDirectory[E]) -> None:
        """See ``Counting``."""
        super().__init__(query, directory)
        self.wanted: list[int] = []
        """The passive sessions whose records are to be given before the next step."""
        self._query = query
        self._directory = directory
        self._checks = record_checks(query)
        self._unread: list[int] = []
        index = {} if query.by is None else _OF_ENDED.get(query.by, directory.fields.get(query.by))
        if isinstance(index, TwofoldIndex):
            self._index = index = None
        self._steady = index if _is_indexed(query, directory) else None
        """What tells passive sessions apart without their records; None if nothing does."""

    def give(self, records: Mapping[int, Session]) -> None:
        """Take the records of those ``wanted``; there is none of one that has ended."""
        for seq in self.wanted:
            entry = self._directory.at(seq)
            record = records.get(seq) if entry is None or entry is PASSIVE else entry.record
            if record is not None and all(check(record) for check in self._checks):
                self._add_record(record)
        self.wanted = []

    def step(self, budget: int = STEP_BUDGET) -> Count | None:
        """See ``Counting``; if it is None, there may be some ``wanted``."""
        count = super().step(budget)
        if self._unread and (count is not None or len(self._unread) >= ENOUGH):
            self.wanted, self._unread = self._unread, []
            return None
        return count

    def _add_records(self, budget: int) -> None:
        for number, word in self._walk.words(1 + (budget >> CHUNK_SHIFT)):
            passive = word & self._directory.passive.chunks.get(number, 0)
            if word != passive:
                chunk = self._directory.table.chunk(number)
                for record in [chunk[offset].record for offset in offsets(word ^ passive)]:
                    if self._selection.matches(record):
                        self._add_record(record)
            if passive:
                self._add_passive(number, passive)

    def _add_passive(self, number: int, word: int) -> None:
        query = self._query
        within = self._directory.created_within(number, query.created_after, query.created_before)
        if within is False:
            return
        if within and self._steady is not None:
            self._add_word(number, word, [(value, words.chunks) for value, words in self._steady.items()])
        else:
            self._unread += [number << CHUNK_SHIFT | offset for offset in offsets(word)]

    def _add_record(self, record: Session) -> None:
        self._count += 1
        if self._by is not None:
            self._add(getattr(record, self._by), 1)


def _is_indexed(query: Filters, directory: PassiveDirectory[E]) -> bool:
    """Whether the indexes tell which live sessions match, but for when they were created."""
    metadata = {} if query.metadata is UNSET else query.metadata
    return all(key in directory.metadata and value is not None for key, value in metadata.items()) and all(
        getattr(query, name) is not None for name, index in directory.fields.items() if isinstance(index, TwofoldIndex)
    )
