"""Which records a query is about, and the walk through them in the order in which they were kept.

A walk is made in steps, each of which looks at so many rows at most, whatever the filters: somebody who looks for what
is not there waits for it alone. SQLite does the looking, without the GIL; Python sees what has passed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec
from msgspec import UNSET

from sessiond.actors.index import strict
from sessiond.actors.record import Scalar
from sessiond.actors.record_params import RecordFilters
from sessiond.stores.record_rows import COLUMNS, METADATA, NUMBER, Row, metadata_of

__all__ = ["FEW_ENDS", "STEP_ROWS", "Walk"]

STEP_ROWS = 5_000
"""Rows that one step looks at, at some 1 us each."""
FEW_ENDS = 50_000
"""If up to so many calls ended in the time that is asked for, it is first looked up which numbers they are among. That
takes less than 0.1 us for each; the numbers of more would be most of those there are."""

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
        self, filters: RecordFilters, *, descending: bool = False, start: int | None = None, has_history: bool = True
    ) -> None:
        """Begin with the number ``start``, without one with the first or last of all.

        Without history the column is empty in every row, and is not read.
        """
        self.is_done = False
        """Whether everything has been visited."""
        self._filters = filters
        self._descending = descending
        self._low, self._high = 0, _LAST
        if start is not None and descending:
            self._high = min(start, _LAST)
        elif start is not None:
            self._low = min(start, _LAST)
        self._is_narrow = False
        self._metadata = {} if filters.metadata is UNSET else filters.metadata
        columns = COLUMNS if has_history else (*COLUMNS[:-1], "x''")
        self._columns = ", ".join(columns)
        by_address = isinstance(filters.external_id, str)
        self._candidates: list[_Condition] = [("external_id = ?", (filters.external_id,))] if by_address else []
        self._source = "records INDEXED BY records_external" if by_address else "records NOT INDEXED"

    @property
    def next(self) -> int:
        """The number to go on with."""
        return self._high if self._descending else self._low

    def rows(self, connection: sqlite3.Connection) -> Iterator[Row]:
        """One step: the matching rows among the next ``STEP_ROWS``. Whoever stops iterating sooner is done with it."""
        if not self._is_narrow:
            self._narrow(connection)
            self._is_narrow = True
        low, high = self._low, self._high
        following = self._following(connection)
        if following is not None and self._descending:
            low, self._high = following + 1, following
        elif following is not None:
            high, self._low = following - 1, following
        for row in self._select(connection, self._columns, low, high, _conditions(self._filters)):
            if not self._metadata or self._has_metadata(row):
                yield row
        self.is_done = following is None

    def _narrow(self, connection: sqlite3.Connection) -> None:
        """Leave out the numbers at either end of which the index says that they are of other times."""
        after = max(
            (at for at in (self._filters.ended_after, self._filters.created_after) if at is not None), default=None
        )
        times = [*_times("ended_at", after, self._filters.ended_before)]
        if not times or self._candidates:
            return
        where, values = _joined(times)
        ends = f"SELECT number FROM records INDEXED BY records_ended WHERE {where} LIMIT {FEW_ENDS + 1}"
        count, first, last = connection.execute(
            f"SELECT count(*), min(number), max(number) FROM ({ends})", values
        ).fetchone()
        if count <= FEW_ENDS:
            self._low, self._high = max(self._low, first or 0), min(self._high, last or -1)

    def _following(self, connection: sqlite3.Connection) -> int | None:
        """The number with which the step after this one begins; None if this is the last one."""
        found = self._select(connection, "number", self._low, self._high, [], f"LIMIT 1 OFFSET {STEP_ROWS}").fetchone()
        return None if found is None else int(found[NUMBER])

    def _select(
        self, connection: sqlite3.Connection, columns: str, low: int, high: int, which: list[_Condition], end: str = ""
    ) -> sqlite3.Cursor:
        where, values = _joined([("number BETWEEN ? AND ?", (low, high)), *self._candidates, *which])
        order = "DESC" if self._descending else "ASC"
        return connection.execute(
            f"SELECT {columns} FROM {self._source} WHERE {where} ORDER BY number {order} {end}", values
        )

    def _has_metadata(self, row: Row) -> bool:
        metadata = metadata_of(row[METADATA])
        return all(strict(metadata.get(key)) == strict(value) for key, value in self._metadata.items())


def _conditions(filters: RecordFilters) -> list[_Condition]:
    """What a row must fulfil; of metadata it must also be looked at in Python."""
    conditions = [_condition(name, value) for name in _PLAIN if (value := getattr(filters, name)) is not UNSET]
    if filters.external_id is None:
        conditions.append(("external_id IS NULL", ()))
    conditions += _times("created_at", filters.created_after, filters.created_before)
    conditions += _times("ended_at", filters.ended_after, filters.ended_before)
    metadata = {} if filters.metadata is UNSET else filters.metadata
    conditions += (_metadata_condition(key, value) for key, value in metadata.items() if value is not None)
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


def _metadata_condition(key: str, value: Scalar) -> _Condition:
    """That the JSON has the key, with that value unless it is a number, which can be written in several ways.

    It may stand inside of a value too, so this only spares Python most rows.
    """
    wanted = _encode(key) + b":" + (_encode(value) if isinstance(value, (str, bool)) else b"")
    return "instr(metadata, ?) > 0", (wanted.decode(),)


def _joined(conditions: list[_Condition]) -> tuple[str, list[object]]:
    return " AND ".join(text for text, _ in conditions), [value for _, values in conditions for value in values]
