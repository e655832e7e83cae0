"""Which sessions a query is about, and the walk through them in the order of creation.

A walk is made in steps, each a bounded piece of work, between which sessions come, change and go. It keeps nothing
but the sequence number to go on from and looks everything else up anew, so a session that matches throughout is
visited exactly once.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Generic

from msgspec import UNSET

from sessiond.actors.bitmap import BIT, CHUNK_SHIFT, OFFSET_MASK, Words, offsets
from sessiond.actors.directory import Directory, E
from sessiond.actors.errors import InvalidRequest
from sessiond.actors.index import FieldIndex, strict
from sessiond.actors.params import Filters
from sessiond.actors.record import Scalar, Session
from sessiond.actors.states import ENDED, STATES

__all__ = ["STEP_BUDGET", "Selection", "Walk", "record_checks"]

STEP_BUDGET = 250
"""Records, and chunks, that one step looks at, at less than 1 us each."""

NARROW = 256
"""A value held in up to so many chunks is walked by these; sorting more would cost more than visiting all chunks."""

_OTHERWISE = frozenset({"state", "suspect", "metadata"})
_PLAIN = tuple(
    name for name in Filters.__struct_fields__ if name in Session.__struct_fields__ and name not in _OTHERWISE
)
"""The filters that are the value of a field."""

_Words = dict[int, int]
_Check = Callable[[Session], bool]


class Selection(Generic[E]):
    """The filters of a query, compiled against the indexes that can answer them.

    Every indexed filter gives a group of bitmaps: a session must be in one of each group. What is not indexed is
    checked on the record.
    """

    def __init__(self, filters: Filters, directory: Directory[E]) -> None:
        """Raises ``InvalidRequest`` if the filters name the state ``ended`` and leave ended sessions out."""
        self.directory = directory
        self._states = _states(filters)
        self.has_ended = ENDED in self._states
        """Whether ended sessions are among the candidates."""
        self._values: list[tuple[Mapping[Hashable, Words], Hashable]] = []
        self._checks = _time_checks(filters)
        for name, index in directory.fields.items():
            value = UNSET if name == "state" else getattr(filters, name)
            if value is None and isinstance(index, FieldIndex):
                self._checks.append(_absence_check(name))
            elif value is not UNSET:
                self._values.append((index, value))
                if self.has_ended and id(index) in directory.live_only:
                    self._checks.append(_value_check(name, value))
        self._suspect = filters.suspect
        for key, value in ({} if filters.metadata is UNSET else filters.metadata).items():
            if key in directory.metadata and value is not None:
                self._values.append((directory.metadata[key], strict(value)))
            if key not in directory.metadata or value is None or self.has_ended:
                self._checks.append(_metadata_check(key, value))

    @property
    def indexed(self) -> bool:
        """Whether the indexes alone tell what matches."""
        return not self._checks

    @property
    def cost(self) -> int:
        """How many times the usual work it is to look at a record."""
        return 1 + len(self._checks) // 4

    def matches(self, record: Session) -> bool:
        """Whether a candidate's record passes the filters that are not indexed."""
        for check in self._checks:  # noqa: SIM110 - all() with a generator takes twice as long
            if not check(record):
                return False
        return True

    def words(self, start: int, descending: bool = False) -> Iterator[tuple[int, int]]:
        """The candidates from ``start`` on, chunk by chunk: the chunk's number and their word, which may be 0."""
        groups = self._groups()
        without = [lost.chunks for lost in self.directory.suspects.values()] if self._suspect is False else []
        for number in self._numbers(groups[0], start >> CHUNK_SHIFT, descending):
            word = _intersection(groups, number) & ~_union(without, number)
            yield number, _rest(word, start, descending) if number == start >> CHUNK_SHIFT else word

    def _groups(self) -> list[list[_Words]]:
        """The groups, narrowest first, so that most chunks of a rare value are done after one look."""
        groups = [[self.directory.states[state].chunks for state in self._states]]
        if self._suspect is True:
            groups.append([lost.chunks for lost in self.directory.suspects.values()])
        groups += (self._holders(index, value) for index, value in self._values)
        return sorted(groups, key=_width)

    def _holders(self, index: Mapping[Hashable, Words], value: Hashable) -> list[_Words]:
        """Whoever may have ``value``: ended sessions are not in every index, and are then checked one by one."""
        holders = index.get(value)
        found = [] if holders is None else [holders.chunks]
        if self.has_ended and id(index) in self.directory.live_only:
            found.append(self.directory.states[ENDED].chunks)
        return found

    def _numbers(self, narrowest: list[_Words], start: int, descending: bool) -> Iterator[int]:
        numbers = self.directory.table.numbers
        if _width(narrowest) <= NARROW:
            numbers = sorted({number for words in narrowest for number in words})
        if descending:
            places = range(bisect_right(numbers, start) - 1, -1, -1)
        else:
            places = range(bisect_left(numbers, start), len(numbers))
        return map(numbers.__getitem__, places)


class Walk(Generic[E]):
    """Visits the sessions of a selection in the order of creation, or backwards when ``descending``, in steps."""

    def __init__(self, selection: Selection[E], *, descending: bool = False, start: int | None = None) -> None:
        """Begin with the sequence number ``start``, without one with the first or last of all."""
        self.done = False
        """Whether everything has been visited."""
        self._selection = selection
        self._descending = descending
        self._next = start if start is not None else sys.maxsize if descending else 0

    def entries(self, budget: int) -> Iterator[E]:
        """One step: the matching sessions among the next ``budget`` candidates, in as many chunks at most.

        Whoever stops iterating sooner goes on behind the last session seen.
        """
        matches, table = self._selection.matches, self._selection.directory.table
        budget = max(1, budget // self._selection.cost)
        onward = -1 if self._descending else 1
        for number, word in self.words(budget):
            chunk = table.chunk(number)
            for offset in offsets(word, self._descending):
                entry = chunk[offset]
                self._next = (number << CHUNK_SHIFT | offset) + onward
                if matches(entry.record):
                    yield entry
                budget -= 1
                if budget <= 0:
                    return

    def seqs(self, budget: int) -> Iterator[int]:
        """One step: the numbers of the next ``budget`` candidates, in as many chunks at most; see ``entries``."""
        onward = -1 if self._descending else 1
        for number, word in self.words(budget):
            for offset in offsets(word, self._descending):
                seq = number << CHUNK_SHIFT | offset
                self._next = seq + onward
                yield seq
                budget -= 1
                if budget <= 0:
                    return

    def words(self, budget: int) -> Iterator[tuple[int, int]]:
        """One step: the next ``budget`` chunks, each as its number and the word of its candidates."""
        for number, word in self._selection.words(self._next, self._descending):
            yield number, word
            self._next = (number << CHUNK_SHIFT) - 1 if self._descending else (number + 1) << CHUNK_SHIFT
            budget -= 1
            if budget <= 0:
                return
        self.done = True


def record_checks(filters: Filters) -> list[_Check]:
    """All filters but ``suspect``, which no record tells, as checks of a record that need not be in any index.

    Raises ``InvalidRequest`` as ``Selection`` does.
    """
    states = frozenset(_states(filters))
    checks: list[_Check] = [lambda record: record.state in states, *_time_checks(filters)]
    values = ((name, getattr(filters, name)) for name in _PLAIN)
    checks += (_value_check(name, value) for name, value in values if value is not UNSET)
    metadata = {} if filters.metadata is UNSET else filters.metadata
    return checks + [_metadata_check(key, value) for key, value in metadata.items()]


def _states(filters: Filters) -> list[str]:
    named: list[str] = [filters.state] if isinstance(filters.state, str) else list(filters.state or STATES)
    if filters.ended == "any":
        return named
    if filters.ended:
        return [state for state in named if state == ENDED]
    if filters.state is not UNSET and ENDED in named:
        raise InvalidRequest("state: ended sessions are listed only if asked for by `ended`", field="state")
    return [state for state in named if state != ENDED]


def _time_checks(filters: Filters) -> list[_Check]:
    checks: list[_Check] = []
    if (earliest := filters.created_after) is not None:
        checks.append(lambda record: record.created_at >= earliest)
    if (bound := filters.created_before) is not None:
        checks.append(lambda record: record.created_at < bound)
    return checks


def _value_check(name: str, value: Hashable) -> _Check:
    return lambda record: bool(getattr(record, name) == value)


def _absence_check(name: str) -> _Check:
    return lambda record: getattr(record, name) is None


def _metadata_check(key: str, value: Scalar | None) -> _Check:
    wanted = strict(value)
    return lambda record: strict(record.metadata.get(key)) == wanted


def _width(group: list[_Words]) -> int:
    return sum(map(len, group))


def _intersection(groups: list[list[_Words]], number: int) -> int:
    """The word of those that are in some bitmap of every group."""
    common = -1
    for group in groups:
        common &= _union(group, number)
        if not common:
            break
    return common


def _union(group: list[_Words], number: int) -> int:
    """The word of those that are in any bitmap of the group."""
    either = 0
    for words in group:
        either |= words.get(number, 0)
    return either


def _rest(word: int, start: int, descending: bool) -> int:
    """What of the word of ``start``'s chunk lies at ``start`` or further on."""
    offset = start & OFFSET_MASK
    return word & (2 * BIT[offset] - 1) if descending else word >> offset << offset
