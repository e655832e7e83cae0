"""Which records a query is about, and the walk through them in the order in which they were kept.

A walk is made in steps, each of which looks at so many rows at most, whatever the filters: somebody who looks for what
is not there waits for it alone. SQLite does the looking, without the GIL; Python sees what has passed.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator

import msgspec
from msgspec import UNSET

from sessiond.actors.index import strict
from sessiond.actors.record import Scalar
from sessiond.actors.record_params import RecordFilters
from sessiond.stores.record_rows import Row, all_of, metadata_of
from sessiond.stores.record_span import Span

__all__ = ["BATCH", "STEP_ROWS", "Walk"]

BATCH = 64
"""Rows that are fetched at once: two megabytes if each is as large as may be."""

STEP_ROWS = 5_000
"""Rows that one step looks at, at some 1 us each."""
_LAST = 2**63 - 1
_PLAIN = ("type", "gateway", "caller", "callee", "direction", "parent", "group", "end_reason", "ended_by")
"""The filters that are the value of a column; ``external_id`` has an index of its own."""

_encode = msgspec.json.Encoder().encode
_Condition = tuple[str, tuple[object, ...]]


class Walk:
    """Visits the records that match by ascending number, or backwards when ``descending``, in steps.

    Used by one thread at a time. Between steps it keeps no hold on the database.
    """

    def __init__(
        self,
        filters: RecordFilters,
        *,
        descending: bool = False,
        left: tuple[int, int] | None = None,
        has_history: bool = True,
    ) -> None:
        """Visit only the numbers that are ``left`` of an earlier walk, from the first to the last of them.

        Without history there is none in any row.
        """
        self.is_done = False
        """Whether everything has been visited."""
        self._filters = filters
        self._descending = descending
        self._low, self._high = (0, _LAST) if left is None else (min(number, _LAST) for number in left)
        self._span = _span(filters) if left is None else None
        self._metadata = {} if filters.metadata is UNSET else filters.metadata
        self._has_history = has_history
        self._candidates: list[_Condition] = []
        self._source = "records NOT INDEXED"
        if isinstance(filters.external_id, str):
            self._candidates = [("external_id = ?", (filters.external_id,))]
            self._source = "records INDEXED BY records_external"

    @property
    def left(self) -> tuple[int, int]:
        """The first and the last of the numbers that are still to be visited."""
        return self._low, self._high

    def left_from(self, number: int) -> tuple[int, int]:
        """The same if ``number`` is the next one."""
        return (self._low, number) if self._descending else (number, self._high)

    def narrow(self, connection: sqlite3.Connection) -> bool:
        """A step before the first one: leave out numbers of other times; whether that is all to be done before."""
        if self._span is None:
            return True
        found = self._span.step(connection)
        if found is None:
            return False
        self._low, self._high = found
        self._span = None
        return True

    def rows(self, connection: sqlite3.Connection) -> Iterator[Row]:
        """One step: the matching rows among the next ``STEP_ROWS``. Whoever stops iterating sooner is done with it."""
        low, high = self._low, self._high
        following = self._following(connection)
        if following is not None and self._descending:
            low, self._high = following + 1, following
        elif following is not None:
            high, self._low = following - 1, following
        for row in self._matching(connection, low, high):
            if not self._metadata or self._has_metadata(row):
                yield row
        self.is_done = following is None

    def _following(self, connection: sqlite3.Connection) -> int | None:
        """The number with which the step after this one begins; None if this is the last one."""
        which, values = self._which(self._low, self._high, [])
        found = connection.execute(f"SELECT number {which} LIMIT 1 OFFSET {STEP_ROWS}", values).fetchall()
        return int(found[0][0]) if found else None

    def _matching(self, connection: sqlite3.Connection, low: int, high: int) -> Iterator[Row]:
        """The rows from ``low`` to ``high`` that SQLite finds to match."""
        conditions = _conditions(self._filters)
        batch: list[Row] | None = None
        while batch is None or len(batch) == BATCH:
            which, values = self._which(low, high, conditions)
            batch = all_of(connection, f"{which} LIMIT {BATCH}", values, has_history=self._has_history)
            yield from batch
            if batch and self._descending:
                high = batch[-1].number - 1
            elif batch:
                low = batch[-1].number + 1

    def _which(self, low: int, high: int, conditions: list[_Condition]) -> tuple[str, list[object]]:
        where, values = _joined([("number BETWEEN ? AND ?", (low, high)), *self._candidates, *conditions])
        order = "DESC" if self._descending else "ASC"
        return f"FROM {self._source} WHERE {where} ORDER BY number {order}", values

    def _has_metadata(self, row: Row) -> bool:
        metadata = metadata_of(row.metadata)
        return all(strict(metadata.get(key)) == strict(value) for key, value in self._metadata.items())


def _span(filters: RecordFilters) -> Span | None:
    """What is to be found out before; None if it is of no use, or there is a better index."""
    after, before = filters.ended_after, filters.ended_before
    if (after is None and before is None) or isinstance(filters.external_id, str):
        return None
    return Span(after or 0.0, math.inf if before is None else before, (0, _LAST))


def _conditions(filters: RecordFilters) -> list[_Condition]:
    """What a row must fulfil; of metadata it must also be looked at in Python."""
    conditions = [_condition(name, value) for name in _PLAIN if (value := getattr(filters, name)) is not UNSET]
    if filters.external_id is None:
        conditions.append(("external_id IS NULL", ()))
    conditions += _times("created_at", filters.created_after, filters.created_before)
    conditions += _times("ended_at", filters.ended_after, filters.ended_before)
    metadata = {} if filters.metadata is UNSET else filters.metadata
    conditions += (_metadata_condition(key, value) for key, value in metadata.items())
    return conditions


def _condition(name: str, value: str | list[str] | None) -> _Condition:
    if value is None:
        return f'"{name}" IS NULL', ()
    if isinstance(value, list):
        return f'"{name}" IN ({", ".join("?" * len(value))})', tuple(value)
    return f'"{name}" = ?', (value,)


def _times(name: str, after: float | None, before: float | None) -> Iterator[_Condition]:
    if after is not None:
        yield f"{name} >= ?", (after,)
    if before is not None:
        yield f"{name} < ?", (before,)


def _metadata_condition(key: str, value: Scalar | None) -> _Condition:
    """What the JSON of metadata in which ``key`` has ``value`` must fulfil; it only spares Python most rows.

    The key and the value stand there as they are encoded, but a number can be written in several ways; SQLite reads it
    nearly as exactly as it was written.
    """
    name = _encode(key).decode() + ":"
    if value is None:  # a quotation mark behind a comma or a brace begins a key, for inside of texts they are escaped
        return "instr(metadata, ?) = 0 AND instr(metadata, ?) = 0", ("{" + name, "," + name)
    if isinstance(value, (str, bool)):
        return "instr(metadata, ?) > 0", (name + _encode(value).decode(),)
    margin = abs(value) * 1e-9 + 1e-300
    numbers = "SELECT 1 FROM json_each(metadata) WHERE type IN ('integer', 'real') AND value BETWEEN ? AND ?"
    return f"instr(metadata, ?) > 0 AND EXISTS ({numbers})", (name, value - margin, value + margin)


def _joined(conditions: list[_Condition]) -> tuple[str, list[object]]:
    return " AND ".join(text for text, _ in conditions), [value for _, values in conditions for value in values]
