"""Stores on a disk that fails; records in a file, and whoever reads them."""

from __future__ import annotations

import pytest
from faulty_disk import FaultyDisk, compile_faulty_disk
from record_store import record_store
from still_store import TracedDisk, still_store

from sessiond.stores.records import StoredRecords


@pytest.fixture(scope="session")
def faulty_library(tmp_path_factory):
    return compile_faulty_disk(tmp_path_factory.mktemp("faulty_disk"))


@pytest.fixture
def disk(faulty_library, tmp_path):
    """The disk of the store ``disk.store``, which is not there yet."""
    return FaultyDisk(faulty_library, tmp_path / "store.db")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessiond.db"


@pytest.fixture
def traced():
    """The disk of the store ``still``."""
    return TracedDisk()


@pytest.fixture
def still(path, traced):
    with still_store(path, traced) as stored:
        yield stored


@pytest.fixture
def store(tmp_path):
    with record_store(tmp_path / "store.db") as store:
        yield store


@pytest.fixture
def book(store):
    return StoredRecords(store)
