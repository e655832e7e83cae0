"""A service that serves, and has records of calls to read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from record_store import RecordStore, record_store
from serving import Served, serving

from sessiond.stores.records import StoredRecords

__all__ = ["recorded"]


@contextlib.contextmanager
def recorded(path: Path) -> Iterator[tuple[Served, RecordStore]]:
    """Serve with the records in a new store at ``path``, which is read on a thread of its own, until the block ends."""
    with serving() as served:

        def post(work: Callable[[], None]) -> None:
            served.loop.call_soon_threadsafe(work)

        with record_store(path, post) as store:
            served.registry.local()._context.records = StoredRecords(store)
            yield served, store
