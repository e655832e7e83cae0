"""What a store does that cannot write: nothing acknowledged is lost, nothing else is there, and it mends by itself."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import queue
import sqlite3

import pytest
from stored import PATIENCE, Stored, as_image, ending, opened

from sessiond.actors.errors import Unavailable
from sessiond.actors.store import Live, StoreError
from sessiond.stores import database
from sessiond.stores.tuning import TUNING


class Disk:
    """Where connections come from that can be made to fail."""

    def __init__(self):
        self.pages = 2**30
        """The size of the disk."""
        self.refuses = False
        self._connections = []
        self._attempts = queue.SimpleQueue()

    def connect(self, path):
        if self.refuses:
            self._attempts.put(None)
            raise sqlite3.OperationalError("the test refuses")
        connection = database.connect(path)
        connection.execute(f"PRAGMA max_page_count = {self.pages}")
        self._connections.append(connection)
        if self.refuses:  # since it was asked for
            connection.set_authorizer(_deny)
        return connection

    def is_full(self):
        """No page more than there are."""
        self.pages = 1
        self._limit()

    def has_room(self):
        self.pages = 2**30
        self._limit()

    def breaks(self):
        """Every write of the connections that there are fails, and nobody gets another."""
        self.refuses = True
        self._each(lambda connection: connection.set_authorizer(_deny))

    def waits_for_attempts(self):
        """Until somebody has tried, given up, and tried again."""
        while not self._attempts.empty():
            self._attempts.get()
        for _ in range(2):
            self._attempts.get(timeout=PATIENCE)

    def _limit(self):
        self._each(lambda connection: connection.execute(f"PRAGMA max_page_count = {self.pages}"))

    def _each(self, act):
        for connection in self._connections:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
                act(connection)


def _deny(*_):
    return sqlite3.SQLITE_DENY


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def again(tmp_path, disk):
    """Open the same store on that disk, as a context."""
    tuning = dataclasses.replace(TUNING, probes=(0.0, 0.005), connect=disk.connect)

    def again(durability="commit", **changes):
        return opened(tmp_path / "sessiond.db", durability, dataclasses.replace(tuning, **changes))

    return again


BIG = {"metadata": {"blob": "x" * 20_000}}
"""Fields that do not fit into the pages that are there."""


def test_a_full_disk_is_told_and_what_is_not_kept_is_forgotten(again, disk):
    with again() as stored:
        store = stored.store
        stored.settle(store.keep(1, as_image(1)))
        disk.is_full()
        refused = store.keep(2, as_image(2, **BIG))
        stored.run_until(lambda: stored.told)
        assert "the disk is full; make room" in str(stored.told[0])
        assert isinstance(stored.told[0], StoreError)
        assert not store.figures.is_up
        while_down = store.keep(3, as_image(3, **BIG))
        disk.has_room()
        stored.run_until(lambda: "restored" in stored.told)
        assert store.figures.is_up
        assert (stored.kept, store.waiting) == (1, 0)
        later = store.keep(4, as_image(4))
        assert later > while_down > refused
        stored.settle(later)
        assert len(stored.told) == 2
    with again() as stored:
        assert [live.seq for live in stored.live] == [1, 4]


def test_all_that_came_before_the_failure_was_told_is_forgotten(again, disk):
    """Whoever handed it over waits for the answer, and is told with the others."""
    with again() as stored:
        store = stored.store
        disk.breaks()
        store.keep(1, as_image(1))
        failure = stored.next_post()
        store.keep(2, as_image(2))
        store.end(ending(2))
        failure()
        assert len(stored.told) == 1
        assert store.waiting == 0
        disk.refuses = False
        stored.run_until(lambda: "restored" in stored.told)
        stored.settle(store.keep(3, as_image(3)))
    with again() as stored:
        assert [live.seq for live in stored.live] == [3]
        assert stored.ended == []


def test_a_relaxed_store_forgets_nothing(again, disk):
    with again("relaxed") as stored:
        store = stored.store
        disk.breaks()
        store.keep(1, as_image(1))
        stored.run_until(lambda: stored.told)
        last = store.keep(2, as_image(2))
        disk.refuses = False
        stored.settle(last)
        assert stored.told[1:] == ["restored"]
    with again() as stored:
        assert [live.seq for live in stored.live] == [1, 2]


def test_a_relaxed_store_that_is_down_remembers_only_what_counts(again, disk):
    """Its disk may be full for a day, and the same sessions go on and on."""
    with again("relaxed", most=10) as stored:
        store = stored.store
        disk.breaks()
        store.keep(1, as_image(1))
        stored.run_until(lambda: stored.told)
        for version in range(200):
            for seq in (1, 2):
                store.keep(seq, as_image(seq, version=version))
                store.touch(seq, 10.0 + version)
            if version % 50 == 0:
                store.end(ending(100 + version))
            last = store.put("x", version)
        disk.waits_for_attempts()
        assert store.waiting < 20
        disk.refuses = False
        stored.settle(last)
    with again() as stored:
        assert stored.live == [Live(seq, 209.0, as_image(seq, version=199)) for seq in (1, 2)]
        assert [end.seq for end in stored.ended] == [100, 150, 200, 250]
        assert stored.recovered.values == {"x": 199}


def test_a_store_that_is_down_does_not_remember_touches(again, disk):
    with again() as stored:
        disk.breaks()
        stored.store.keep(1, as_image(1))
        stored.run_until(lambda: stored.told)
        stored.store.touch(1, 5.0)
        assert stored.store.waiting == 0
        disk.refuses = False
        stored.run_until(lambda: "restored" in stored.told)


def test_a_relaxed_store_that_is_closed_while_it_is_down_tries_once_more(again, disk):
    with again("relaxed", probes=(PATIENCE,)) as stored:
        disk.breaks()
        stored.store.keep(1, as_image(1))
        stored.run_until(lambda: stored.told)
        disk.refuses = False
    with again() as stored:
        assert [live.seq for live in stored.live] == [1]


@pytest.mark.parametrize("durability", ["commit", "relaxed"])
def test_a_store_that_stays_down_can_be_closed(again, disk, durability, caplog):
    with again(durability) as stored:
        disk.breaks()
        stored.store.keep(1, as_image(1))
        stored.run_until(lambda: stored.told)
    assert "could not be kept" in caplog.text
    disk.refuses = False
    with again() as stored:
        assert stored.live == []


def test_reads_go_on_while_nothing_can_be_written(again, disk):
    with again(fold_entries=1) as stored:
        store = stored.store
        stored.settle(store.keep(1, as_image(1)))
        stored.settle(store.end(ending(2)))
        assert stored.rows("SELECT seq FROM records") == [(2,)]
        disk.breaks()
        store.keep(3, as_image(3))
        stored.run_until(lambda: stored.told)
        assert stored.load(1).seq == 1
        assert stored.rows("SELECT seq FROM records") == [(2,)]


def test_a_failure_and_its_end_are_logged_once(again, disk, caplog):
    with again() as stored:
        disk.breaks()
        stored.store.keep(1, as_image(1))
        stored.run_until(lambda: stored.told)
        disk.refuses = False
        stored.run_until(lambda: "restored" in stored.told)
        stored.settle(stored.store.keep(1, as_image(1)))
    levels = [record.levelno for record in caplog.records if record.levelno > logging.DEBUG]
    assert levels == [logging.ERROR, logging.WARNING]


def test_what_is_missing_can_come_again_after_a_failure(again, disk):
    """The same session, the same record: what failed has left no trace."""
    with again() as stored:
        store = stored.store
        stored.settle(store.keep(1, as_image(1)))
        disk.is_full()
        store.end(ending(1, **BIG))
        stored.run_until(lambda: stored.told)
        disk.has_room()
        stored.run_until(lambda: "restored" in stored.told)
        assert stored.load(1).seq == 1
        stored.settle(store.end(ending(1, **BIG)))
    with again() as stored:
        assert stored.live == []
        assert stored.ended == [ending(1, **BIG)]


def test_a_fold_that_fails_does_not_stop_commits(again, disk, monkeypatch, caplog):
    with again(fold_entries=1) as stored:
        store = stored.store
        monkeypatch.setattr(store._folding, "step", _fail)
        for seq in range(5):
            stored.settle(store.keep(seq, as_image(seq)))
        assert (stored.told, store.figures.is_up) == ([], True)
        assert "cannot be folded" in caplog.text
        assert store._folding.live(1) is not None
        monkeypatch.undo()
    with again() as stored:
        assert len(stored.live) == 5


def _fail(*_):
    raise sqlite3.OperationalError("the test fails")


def test_a_writer_that_crashes_says_so_and_goes_on(again, monkeypatch, caplog):
    with again() as stored:
        store = stored.store
        store.put("x", 2**70)
        stored.run_until(lambda: "restored" in stored.told)
        stored.settle(store.keep(1, as_image(1)))
    assert "crashed" in caplog.text


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "sessiond.db"
    path.write_bytes(b"this is a letter to my aunt\n" * 1000)
    with pytest.raises(StoreError, match=r"sessiond.db: it is no database of sessiond; restore a backup"):
        Stored(path)
    assert path.read_bytes().startswith(b"this is a letter")


def test_a_corrupt_log_is_refused(again, tmp_path):
    with again(last_fold=0.0) as stored:
        stored.settle(stored.store.keep(1, as_image(1)))
    with sqlite3.connect(tmp_path / "sessiond.db") as connection:
        connection.execute("UPDATE log SET body = x'c1'")
    connection.close()
    with pytest.raises(StoreError, match=r"it is corrupt .*; restore a backup"):
        Stored(tmp_path / "sessiond.db")


def test_corrupt_pages_are_refused(again, tmp_path):
    path = tmp_path / "sessiond.db"
    with again() as stored:
        for seq in range(500):
            stored.store.keep(seq, as_image(seq))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xaa" * (len(content) - 4096))
    with pytest.raises(StoreError, match="it is corrupt; restore a backup"):
        Stored(path)


def test_a_folder_that_is_not_there_is_named_and_so_is_the_store(tmp_path):
    path = tmp_path / "nowhere" / "sessiond.db"
    with pytest.raises(StoreError) as caught:
        Stored(path)
    assert str(caught.value) == f"{path}: there is no folder {path.parent}; make it first"


def test_a_folder_that_is_a_file_is_said_to_be_none(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "sessiond.db"
    with pytest.raises(StoreError) as caught:
        Stored(path)
    assert str(caught.value) == f"{path}: Not a directory; its folder must be one, and be writable"


def test_a_store_that_was_refused_is_not_locked(tmp_path):
    path = tmp_path / "sessiond.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError):
        Stored(path)
    path.unlink()
    Stored(path).close()


def test_only_its_owner_may_read_a_store(again, tmp_path):
    with again() as stored:
        stored.settle(stored.store.keep(1, as_image(1)))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"sessiond.db", "sessiond.db-wal", "sessiond.db.lock"} <= set(modes)


def test_whoever_waits_for_an_answer_when_the_store_is_closed_gets_unavailable(again):
    with again() as stored:
        stored.settle(stored.store.end(ending(1)))
        begun = functools.partial(stored.store.read, _endless)
        waiting = [begun(), begun()]
    for pending in waiting:
        with pytest.raises(Unavailable):
            stored.answer(pending)


def _endless(connection):
    endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    return connection.execute(endless).fetchall()


def test_a_read_only_file_is_told(again):
    with again():
        pass
    with again(connect=database.connect_reader) as stored:
        stored.store.keep(1, as_image(1))
        stored.run_until(lambda: stored.told)
        assert "it is read-only; make the file, its folder and the file system writable" in str(stored.told[0])
