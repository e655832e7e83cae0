"""``count_sessions``: the count and its groups, added up in steps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic

from sessiond.actors.bitmap import Words
from sessiond.actors.directory import Directory, E
from sessiond.actors.errors import LimitExceeded
from sessiond.actors.params import CountQuery
from sessiond.actors.results import Count
from sessiond.actors.selection import STEP_BUDGET, Selection, Walk

__all__ = ["MAX_GROUPS", "Counting"]

MAX_GROUPS = 10_000
MAX_GROUP_BYTES = 512 * 1024
"""So many groups, with names of so much in all, fit into an answer that a client can take."""

MANY_VALUES = 100
"""A field with more values is counted by its records: intersecting each chunk with each value would take longer."""


class Counting(Generic[E]):
    """The making of one count."""

    def __init__(self, query: CountQuery, directory: Directory[E]) -> None:
        """Raises ``InvalidRequest`` for filters that contradict each other."""
        self._by = query.by
        self._selection = Selection(query, directory)
        self._index = directory.fields.get(query.by) if query.by is not None else {}
        if self._selection.has_ended and id(self._index) in directory.live_only:
            self._index = None
        self._walk = Walk(self._selection)
        self._count = 0
        self._groups: dict[str, int] = {}
        self._room = MAX_GROUP_BYTES

    def step(self, budget: int = STEP_BUDGET) -> Count | None:
        """A bounded piece of work; the count once it is done, else None.

        Raises ``LimitExceeded`` for more than ``MAX_GROUPS`` groups.
        """
        index = self._index
        if self._selection.indexed and index is not None and len(index) <= MANY_VALUES:
            self._add_words(index, budget)
        else:
            self._add_records(budget)
        if len(self._groups) > MAX_GROUPS or self._room < 0:
            raise LimitExceeded(f"more than {MAX_GROUPS} groups, or too long", limit="groups", maximum=MAX_GROUPS)
        if not self._walk.done:
            return None
        return Count(self._count, None if self._by is None else self._groups)

    def _add_words(self, index: Mapping[Hashable, Words], budget: int) -> None:
        holders = [(value, bitmap.chunks) for value, bitmap in index.items()]
        for number, word in self._walk.words(budget // (1 + len(holders)) + 1):
            self._add_word(number, word, holders)

    def _add_word(self, number: int, word: int, holders: list[tuple[Hashable, dict[int, int]]]) -> None:
        """Add a chunk's sessions of ``word``, told apart by the words of those that hold each value."""
        absent = word.bit_count()
        self._count += absent
        for value, words in holders if word else ():
            if shared := (word & words.get(number, 0)).bit_count():
                absent -= shared
                self._add(value, shared)
        if absent and self._by is not None:  # changing fields keep no index of those without a value
            self._add(None, absent)

    def _add_records(self, budget: int) -> None:
        for entry in self._walk.entries(budget):
            self._count += 1
            if self._by is not None:
                self._add(getattr(entry.record, self._by), 1)

    def _add(self, value: Hashable, sessions: int) -> None:
        name = "" if value is None else str(value)
        if name not in self._groups:
            self._room -= len(name)
        self._groups[name] = self._groups.get(name, 0) + sessions
