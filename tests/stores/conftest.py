"""Records in a file, and whoever reads them."""

from __future__ import annotations

import pytest
from record_store import record_store

from sessiond.stores.records import StoredRecords


@pytest.fixture
def store(tmp_path):
    with record_store(tmp_path / "store.db") as store:
        yield store


@pytest.fixture
def book(store):
    return StoredRecords(store)
