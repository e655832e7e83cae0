"""Records of ended calls: in the log as soon as they are kept, in their table before anybody looks, and never twice."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3

import msgspec
import pytest
from stored import Stored, as_image, ending, opened

from sessiond.actors.errors import Unavailable
from sessiond.actors.history import begun
from sessiond.actors.store import StoreError
from sessiond.stores import schema
from sessiond.stores.backup import backup
from sessiond.stores.check import check
from sessiond.stores.database import connect
from sessiond.stores.recovery import FILED
from sessiond.stores.tuning import TUNING
from sessiond.stores.writer import PAUSE

LATER = dataclasses.replace(TUNING, fold_entries=10**9, fold_bytes=10**12, fold_age=10**9, last_fold=0.0, file_age=1e9)
"""So that nothing is filed or folded unless it must be."""

RECORDS = "SELECT number, id FROM records ORDER BY number"


class Disk:
    """Where connections come from: a full one, or none, if a test says so. Notes what they are asked to do."""

    def __init__(self):
        self.said = []
        self.is_full = False
        self._connections = []

    def connect(self, path):
        connection = connect(path)
        connection.set_trace_callback(self.said.append)
        self._connections.append(connection)
        self._limit(connection)
        return connection

    def fills_up(self):
        self.is_full = True
        self._limit_all()

    def has_room(self):
        self.is_full = False
        self._limit_all()

    def _limit_all(self):
        for connection in self._connections:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
                self._limit(connection)

    def _limit(self, connection):
        connection.execute(f"PRAGMA max_page_count = {1 if self.is_full else 2**30}")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessiond.db"


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def still(path, disk):
    """A store whose writer does what the test says, step by step."""
    clock = Clock()
    stored = Stored(path, tuning=dataclasses.replace(LATER, file_age=0.25, monotonic=clock, connect=disk.connect))
    stored.clock = clock
    stored.store._reader.start(stored._posts.put)
    yield stored
    stored.close()


class Clock:
    """Stands still unless a test moves it on."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def sql(path, *statements):
    """The rows of the last of these statements, by another program."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            rows = connection.execute(*statement if isinstance(statement, tuple) else (statement,)).fetchall()
    return rows


def committed(stored, *seqs):
    """The ends of these sessions, in one commit; their positions."""
    positions = [stored.store.end(ending(seq)) for seq in seqs]
    stored.store._writer._commit(stored.store.waiting)
    return positions


def killed(path, folder):
    """The path of what a process would leave that is killed now."""
    folder.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.with_name(name), folder / name)
    return folder / path.name


# What a commit writes


def test_a_commit_is_one_row_of_the_log_and_nothing_else(still, path, disk):
    store = still.store
    store._writer._connected()
    store.keep(1, as_image(1))
    store.touch(2, 5.0)
    store.end(ending(1))
    disk.said.clear()
    store._writer._commit(store.waiting)
    (statement,) = disk.said
    assert statement.startswith("INSERT INTO log ")
    assert sql(path, "SELECT count(*) FROM log") == [(1,)]
    assert sql(path, RECORDS) == sql(path, "SELECT * FROM named") == []


def test_records_are_numbered_by_the_positions_of_their_ends_whatever_else_is_committed(path):
    with opened(path, tuning=LATER) as stored:
        store = stored.store
        store.put("a", 1)
        first = store.end(ending(1))
        store.author(7, "gw", None)
        store.touch(3, 9.0)
        second = store.end(ending(2))
        stored.settle(store.put("a", 2))
        expected = [(first, "session-1"), (second, "session-2")]
        crashed = killed(path, path.with_name("crashed"))
        assert stored.rows(RECORDS) == expected
    with opened(crashed) as stored:
        assert stored.rows(RECORDS) == expected


# When they are filed


def test_a_record_is_in_its_table_before_a_read_looks(path):
    with opened(path, tuning=LATER) as stored:
        for seq in range(5):
            number = stored.store.end(ending(seq))
            stored.settle(number)
            assert stored.rows(RECORDS)[-1] == (number, f"session-{seq}")


def test_a_read_of_what_many_have_come_to_sees_them_all(path):
    many = 3 * TUNING.file_rows
    with opened(path, tuning=LATER) as stored:
        for seq in range(many):
            number = stored.store.end(ending(seq))
        stored.settle(number)
        assert stored.rows("SELECT count(*), max(number) FROM records") == [(many, number)]


def test_a_read_waits_for_what_came_before_it_and_not_for_what_comes_later(still):
    most, passed = TUNING.file_rows, []
    committed(still, *range(1, 1 + 2 * most))
    store = still.store
    store._writer.once_filed(lambda: passed.append(len(store._filing._unfiled)))
    committed(still, 9000)
    for _ in range(2):
        assert passed == []
        store._chores._taken = 1
        store._writer._do_chores()
    assert passed == [1]


def test_a_few_records_are_filed_after_a_while(still, path):
    (number,) = committed(still, 1)
    still.clock.now += 0.2
    assert not still.store._writer._do_chores()
    assert sql(path, RECORDS) == []
    still.clock.now += 0.1
    committed(still, 2)
    still.store._writer._do_chores()
    assert sql(path, RECORDS) == [(number, "session-1"), (number + 1, "session-2")]
    assert not still.store._writer._do_chores()


def test_a_writer_with_nothing_else_to_do_sleeps_until_then(still):
    committed(still, 1)
    still.clock.now += 0.1
    assert still.store._writer._rest() == pytest.approx(0.15)


def test_many_records_are_filed_at_once(still, path):
    committed(still, *range(TUNING.file_rows - 1))
    still.store._writer._do_chores()
    assert sql(path, RECORDS) == []
    committed(still, TUNING.file_rows)
    still.store._writer._do_chores()
    assert sql(path, "SELECT count(*) FROM records") == [(TUNING.file_rows,)]
    assert still.store._filing.is_needless


def test_whoever_waits_for_new_records_is_told_when_they_are_in_their_table(still, path):
    told = []
    still.store.call_when_filed(lambda: told.append(sql(path, RECORDS)))
    committed(still, 1)
    assert told == []
    still.clock.now += 1.0
    still.store._writer._do_chores()
    assert [len(rows) for rows in told] == [1]


def test_a_store_that_is_closed_has_filed_everything(path):
    with opened(path, tuning=LATER) as stored:
        for seq in range(TUNING.file_rows + 10):
            stored.store.end(ending(seq))
    assert sql(path, "SELECT count(*) FROM records") == [(TUNING.file_rows + 10,)]


def test_nothing_is_cut_from_the_log_before_it_is_filed(still, path, monkeypatch):
    committed(still, 1)
    store = still.store
    store._chores._tuning = dataclasses.replace(store._tuning, fold_entries=1)
    monkeypatch.setattr(store._filing, "step", _fail)
    for _ in range(3):
        still.clock.now += PAUSE
        assert not store._writer._do_chores()
    assert store._folding.is_folding
    assert sql(path, "SELECT count(*) FROM log") == [(1,)]
    monkeypatch.undo()
    still.clock.now += PAUSE
    while store._writer._do_chores():
        pass
    assert sql(path, "SELECT count(*) FROM log") == [(0,)]
    assert len(sql(path, RECORDS)) == 1


def _fail(*_):
    raise sqlite3.OperationalError("the test fails")


def test_a_fold_waits_for_the_records_of_its_stretch_and_for_no_others(still, path):
    positions = committed(still, *range(1, 1 + 3 * TUNING.file_rows))
    store = still.store
    store._chores._tuning = dataclasses.replace(store._tuning, fold_entries=1)
    store._chores._taken = 1
    store._writer._do_chores()
    assert store._folding.is_folding
    committed(still, 5000)
    store._chores._taken = 1
    store._writer._do_chores()
    assert sql(path, "SELECT count(*) FROM log") == [(2,)]
    store._chores._taken = 1
    store._writer._do_chores()
    assert sql(path, "SELECT max(number) FROM records") == [(positions[-1],)]
    assert sql(path, "SELECT count(*) FROM log") == [(1,)]
    assert not store._filing.is_needless


# After a kill


@pytest.mark.parametrize("doings", [[], ["file"], ["file", "fold"]], ids=["neither", "filed", "filed and cut"])
def test_whatever_had_been_done_when_it_was_killed_each_record_is_there_once(still, path, tmp_path, doings):
    numbers = committed(still, 1, 2)
    store = still.store
    if "file" in doings:
        still.clock.now += 1.0
        store._writer._do_chores()
        assert len(sql(path, RECORDS)) == 2
    if "fold" in doings:
        store._chores._tuning = dataclasses.replace(store._tuning, fold_entries=1)
        store._writer._do_chores()
        assert sql(path, "SELECT count(*) FROM log") == [(0,)]
    numbers += committed(still, 3)
    expected = [(number, f"session-{seq}") for seq, number in enumerate(numbers, 1)]
    crashed = killed(path, tmp_path / "crashed")
    for _ in range(2):
        again = Stored(crashed, tuning=LATER)
        assert sql(crashed, RECORDS) == expected
        assert again.ended == [ending(1), ending(2), ending(3)]
        again.close()


def test_a_record_that_was_deleted_does_not_come_back_from_the_log(still, path, tmp_path):
    (number,) = committed(still, 1)
    still.store.purge(1e12, number)
    while still.store._writer._do_chores():
        pass
    assert sql(path, RECORDS) == []
    assert sql(path, "SELECT count(*) FROM log") == [(1,)]
    with opened(killed(path, tmp_path / "crashed")) as stored:
        assert stored.ended == []
        assert stored.rows(RECORDS) == []


def test_what_is_to_be_deleted_is_deleted_though_it_was_still_in_the_log(still, path):
    committed(still, 1)
    still.store.purge(1e12, 1 << 60)
    while still.store._writer._do_chores():
        pass
    assert still.store._filing.is_needless
    assert sql(path, RECORDS) == []


def test_of_two_ends_of_one_session_the_later_one_stays_also_after_a_kill(still, path, tmp_path):
    committed(still, 1)
    still.clock.now += 1.0
    still.store._writer._do_chores()
    for at in (4.0, 5.0):
        last = still.store.end(ending(1, at=at))
        still.store._writer._commit(still.store.waiting)
    assert check(path).records == 1
    with opened(killed(path, tmp_path / "crashed")) as stored:
        assert stored.ended == [ending(1, at=5.0)]
        assert stored.rows(RECORDS) == [(last, "session-1")]


def test_ends_that_were_written_when_records_had_no_part_in_the_log_are_understood(path):
    with opened(path, tuning=LATER) as stored:
        number = stored.store.end(ending(1))
    sql(
        path,
        ("INSERT INTO log VALUES (?, ?)", (number + 1, msgspec.msgpack.encode([[2, 1], [0, 2, as_image(2)]]))),
        ("DELETE FROM named WHERE name = ?", (FILED,)),
        "PRAGMA user_version = 1",
    )
    assert check(path).records == 1
    with opened(path) as stored:
        assert stored.ended == [ending(1)]
        assert [live.seq for live in stored.live] == [2]
        assert stored.rows(RECORDS) == [(number, "session-1")]
    assert sql(path, "PRAGMA user_version") == [(schema.VERSION,)]


def test_an_end_that_makes_no_sense_is_refused(path):
    Stored(path).close()
    sql(path, ("INSERT INTO log VALUES (9, ?)", (msgspec.msgpack.encode([[2, 1, "final", b"", None, None]]),)))
    with pytest.raises(StoreError, match=r"it is corrupt .*; restore a backup"):
        Stored(path)


def test_a_disk_that_is_full_at_the_start_keeps_nobody_from_starting(still, path, tmp_path, disk, caplog):
    ended = ending(1, metadata={"blob": "x" * 20_000})
    number = still.store.end(ended)
    still.store._writer._commit(still.store.waiting)
    crashed = killed(path, tmp_path / "crashed")
    disk.fills_up()
    again = Stored(crashed, tuning=dataclasses.replace(LATER, connect=disk.connect))
    assert "the disk is full" in caplog.text
    assert again.ended == [ended]
    disk.has_room()
    again.start()
    assert again.rows(RECORDS) == [(number, "session-1")]
    again.close()


def test_a_copy_has_what_is_only_in_the_log(path, tmp_path):
    with opened(path, tuning=LATER) as stored:
        number = stored.store.end(ending(1)._replace(timeline=begun("active", 0, 1.0)))
        stored.settle(number)
        assert sql(path, RECORDS) == []
        assert backup(path, tmp_path / "copy.db").records == 1
    assert sql(tmp_path / "copy.db", RECORDS) == []
    with opened(tmp_path / "copy.db") as stored:
        assert stored.rows(RECORDS) == [(number, "session-1")]


def test_a_check_looks_at_what_is_only_in_the_log(still, path):
    still.store.keep(1, as_image(1))
    still.store.end(ending(2, id="session-1"))
    still.store._writer._commit(still.store.waiting)
    findings = check(path)
    assert findings.records == 1
    assert any("lives" in problem for problem in findings.problems)


# When that is not possible


def test_a_step_that_fails_is_done_later_and_commits_go_on(path, monkeypatch, caplog):
    with opened(path, tuning=dataclasses.replace(LATER, file_age=0.0)) as stored:
        store = stored.store
        monkeypatch.setattr(store._filing, "step", _fail)
        for seq in range(5):
            stored.settle(store.end(ending(seq)))
        assert stored.rows(RECORDS) == []
        assert (stored.told, store.figures.is_up) == ([], True)
        assert "the test fails" in caplog.text
        monkeypatch.undo()
        assert len(stored.rows(RECORDS)) == 5
    with opened(path) as stored:
        assert len(stored.ended) == 5


def test_while_a_store_is_down_reads_find_what_was_filed_and_the_rest_once_it_is_up(path, disk):
    with opened(path, tuning=dataclasses.replace(LATER, probes=(0.0, 0.005), connect=disk.connect)) as stored:
        store = stored.store
        stored.settle(store.end(ending(1)))
        assert len(stored.rows(RECORDS)) == 1
        stored.settle(store.end(ending(2)))
        disk.fills_up()
        store.keep(3, as_image(3, metadata={"blob": "x" * 20_000}))
        stored.run_until(lambda: stored.told)
        assert len(stored.rows(RECORDS)) == 1
        disk.has_room()
        stored.run_until(lambda: "restored" in stored.told)
        assert len(stored.rows(RECORDS)) == 2


def test_a_read_that_waits_when_the_store_fails_goes_on(still):
    committed(still, 1)
    pending = still.store.read(lambda connection: connection.execute(RECORDS).fetchall())
    still.store._writer._fail(StoreError("the test fails"))
    assert still.answer(pending) == []
    still.store.figures.is_up = True


def test_a_read_that_waits_when_the_store_is_closed_is_refused(still):
    committed(still, 1)
    pending = still.store.read(lambda connection: connection.execute(RECORDS).fetchall())
    still.close()
    with pytest.raises(Unavailable):
        still.answer(pending)


def test_a_read_that_comes_after_the_close_is_refused(still):
    committed(still, 1)
    still.close()
    with pytest.raises(Unavailable):
        still.answer(still.store.read(lambda connection: connection.execute(RECORDS).fetchall()))
