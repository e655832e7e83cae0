"""The records of calls that have ended, as a store in SQLite has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from sessiond.actors import cursor
from sessiond.actors.call_record import CallRecord, CallRecords
from sessiond.actors.errors import NotFound, Unavailable
from sessiond.actors.future import Pending
from sessiond.actors.listing import PAGE_WEIGHT
from sessiond.actors.params import Address
from sessiond.actors.record_params import RecordFilters, RecordQuery
from sessiond.actors.store import Store
from sessiond.stores.record_rows import Authors, all_of, record_of, weight_of
from sessiond.stores.record_search import Walk

__all__ = ["PAGE_STEPS", "StoredRecords"]

R = TypeVar("R")

PAGE_STEPS = 20
"""Steps that are made for one page: some 100,000 rows, in a tenth of a second. Others take their turns between them."""

_OF_RECORDS = "records"
"""What cursors are good for: not for one run of the service, since records outlive it."""


class StoredRecords:
    """See ``actors.store.Records``."""

    def __init__(self, store: Store) -> None:
        """Read from ``store``, whose readers have connections of SQLite."""
        self._store = store
        self._under_way: set[Pending[Any]] = set()

    def page(self, query: RecordQuery) -> Pending[CallRecords]:
        """See ``Records``."""
        return self._repeated(_Listing(query).step)

    def find(self, target: str | Address) -> Pending[CallRecord]:
        """See ``Records``."""
        if isinstance(target, str):
            return self._repeated(lambda connection: _by_id(connection, target))
        return self._repeated(_Search(target).step)

    def close(self) -> None:
        """See ``Records``."""
        under_way, self._under_way = self._under_way, set()
        for pending in under_way:
            pending.fail(Unavailable("The service has stopped"))

    def _repeated(self, step: Callable[[sqlite3.Connection], R | None]) -> Pending[R]:
        """What ``step`` gives in the end: it is read again, behind what others want to read, while that is None."""
        pending: Pending[R] = Pending()

        def read() -> None:
            self._store.read(step).then(judge)

        def judge(result: R | None, error: BaseException | None) -> None:
            if result is None and error is None and not pending.is_abandoned:
                read()
            elif pending in self._under_way:
                self._under_way.remove(pending)
                _complete(pending, result, error)

        self._under_way.add(pending)
        read()
        return pending


def _complete(pending: Pending[R], result: R | None, error: BaseException | None) -> None:
    if error is not None:
        pending.fail(error)
    elif result is not None:  # else nobody waits for it any more
        pending.set(result)


def _by_id(connection: sqlite3.Connection, id: str) -> CallRecord:
    for row in all_of(connection, "FROM records WHERE id = ?", (id,)):
        return record_of(row, Authors(connection))
    raise NotFound("No record of such a session", id=id)


class _Search:
    """The search for the newest record of an address."""

    def __init__(self, address: Address) -> None:
        self._address = address
        filters = RecordFilters(gateway=address.gateway, external_id=address.external_id)
        self._walk = Walk(filters, descending=True)

    def step(self, connection: sqlite3.Connection) -> CallRecord | None:
        """A bounded piece of work; the record once it is found, else None."""
        for row in self._walk.rows(connection):
            return record_of(row, Authors(connection))
        if self._walk.is_done:
            address = self._address
            raise NotFound("No record of this address", gateway=address.gateway, external_id=address.external_id)
        return None


class _Listing:
    """The making of one page."""

    def __init__(self, query: RecordQuery) -> None:
        """Raises ``InvalidRequest`` for a cursor of another listing."""
        self._query = query
        self._seal = cursor.seal(query, _OF_RECORDS)
        left = None if query.cursor is None else self._left(query.cursor)
        has_history = query.fields is None or not {"history", "history_dropped"}.isdisjoint(query.fields)
        self._walk = Walk(query, descending=query.order == "desc", left=left, has_history=has_history)
        self._records: list[CallRecord] = []
        self._weight = 0
        self._steps = PAGE_STEPS

    def step(self, connection: sqlite3.Connection) -> CallRecords | None:
        """A bounded piece of work; the page once it is done, else None.

        A full page is done when the record that the next one begins with is found, or that there is none; any page
        when enough has been searched for it.
        """
        if not self._walk.narrow(connection):
            return None
        authors = Authors(connection)
        for row in self._walk.rows(connection):
            if len(self._records) >= self._query.limit or self._weight >= PAGE_WEIGHT:
                return self._page(self._walk.left_from(row.number))
            self._records.append(record_of(row, authors))
            self._weight += weight_of(row)
        if self._walk.is_done:
            return self._page(None)
        self._steps -= 1
        return None if self._steps else self._page(self._walk.left)

    def _left(self, text: str) -> tuple[int, int]:
        half = len(text) // 2
        low, high = (cursor.unpack(part, self._seal) for part in (text[:half], text[half:]))
        return low, high

    def _page(self, left: tuple[int, int] | None) -> CallRecords:
        onward = None if left is None else "".join(cursor.pack(number, self._seal) for number in left)
        fields = self._query.fields
        if fields is None:
            return CallRecords(self._records, onward)
        return CallRecords([_projection(record, fields) for record in self._records], onward)


def _projection(record: CallRecord, fields: list[Any]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in fields}
