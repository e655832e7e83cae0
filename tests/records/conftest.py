"""What the tests of sinks share: a database with records, and a clock that stands still."""

from __future__ import annotations

import pytest
from kept_records import KeptRecords
from manual_clock import ManualClock

from sessiond.records.reading import Reader


@pytest.fixture
def kept(tmp_path):
    records = KeptRecords(tmp_path / "store.db")
    yield records
    records.close()


@pytest.fixture
def reader(kept):
    reader = Reader(kept.path)
    yield reader
    reader.close()


@pytest.fixture
def clock():
    return ManualClock()
