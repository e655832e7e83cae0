"""What a failed fsync may have left unwritten is written once more: those pages, as they are, and no others."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from sessiond.actors.store import StoreError
from sessiond.stores.renewal import Pages, renew_wal


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store.db")


@pytest.fixture
def connection(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connected:
        connected.execute("PRAGMA journal_mode = WAL")
        connected.execute("CREATE TABLE t (x)")
        connected.execute("INSERT INTO t VALUES (randomblob(50000))")
        connected.execute("PRAGMA wal_checkpoint(RESTART)")
        connected.execute("INSERT INTO t VALUES (1)")
        yield connected


@pytest.fixture
def written(monkeypatch):
    """The numbers of the pages that are written, in order, and None for each fsync."""
    seen = []
    pwrite, fsync = os.pwrite, os.fsync
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: seen.append(at // 4096 + 1) or pwrite(file, data, at))
    monkeypatch.setattr(os, "fsync", lambda file: seen.append(None) or fsync(file))
    return seen


def test_the_pages_of_the_wal_are_written_as_they_are(path, connection, written):
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    before = Path(path).read_bytes()
    with contextlib.closing(Pages(path)) as pages:
        pages.renew()
    *numbers, last = written
    assert last is None
    assert numbers == sorted(set(numbers))
    assert 0 < len(numbers) < len(before) // 4096  # not those of what the WAL held before it began anew
    assert Path(path).read_bytes() == before


def test_there_may_be_no_wal(path, connection, written):
    connection.close()
    assert not Path(f"{path}-wal").exists()
    renew_wal(path)
    with contextlib.closing(Pages(path)) as pages:
        pages.renew()
    assert written == [None]


def test_a_wal_is_written_as_it_is(path, connection, written):
    before = Path(f"{path}-wal").read_bytes()
    renew_wal(path)
    assert Path(f"{path}-wal").read_bytes() == before
    assert written == [None]
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_what_cannot_be_written_is_said(path, connection, monkeypatch):
    def fail(file):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=r"store\.db-wal: Input/output error"):
        renew_wal(path)
    with contextlib.closing(Pages(path)) as pages, pytest.raises(StoreError, match=r"store\.db: Input/output error"):
        pages.renew()
    with pytest.raises(StoreError, match="No such file"):
        Pages(f"{path}.nowhere")
