"""Records of ended calls, when it comes to the worst: each is there once, whatever happened before it was filed."""

from __future__ import annotations

import dataclasses
import sqlite3

import msgspec
import pytest
from still_store import LATER, RECORDS, committed, killed, sql
from stored import Stored, as_image, ending, opened

from sessiond.actors.errors import Unavailable
from sessiond.actors.history import begun
from sessiond.actors.store import StoreError
from sessiond.stores import schema
from sessiond.stores.backup import backup
from sessiond.stores.check import check
from sessiond.stores.recovery import FILED
from sessiond.stores.writer import PAUSE

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


def test_what_is_to_be_deleted_is_deleted_though_more_comes_than_one_step_files(still, path):
    committed(still, 1)
    still.clock.now += 1.0
    still.store._writer._do_chores()
    still.store.purge(4.0, 1 << 60)
    for number in range(10):
        for each in range(100):
            still.store.end(ending(100 * number + each + 2, at=5.0))
        still.store._writer._commit(still.store.waiting)
        still.store._writer._do_chores()
    assert not still.store._filing.is_needless
    assert not still.store._chores.purge.is_due
    assert sql(path, "SELECT count(*) FROM records WHERE ended_at < 4") == [(0,)]


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


def test_a_disk_that_is_full_at_the_start_keeps_nobody_from_starting(still, path, tmp_path, traced, caplog):
    ended = ending(1, metadata={"blob": "x" * 20_000})
    number = still.store.end(ended)
    still.store._writer._commit(still.store.waiting)
    crashed = killed(path, tmp_path / "crashed")
    traced.fills_up()
    again = Stored(crashed, tuning=dataclasses.replace(LATER, connect=traced.connect))
    assert "the disk is full" in caplog.text
    assert again.ended == [ended]
    traced.has_room()
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


def _fail(*_):
    raise sqlite3.OperationalError("the test fails")


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


def test_while_a_store_is_down_reads_find_what_was_filed_and_the_rest_once_it_is_up(path, traced):
    with opened(path, tuning=dataclasses.replace(LATER, probes=(0.0, 0.005), connect=traced.connect)) as stored:
        store = stored.store
        stored.settle(store.end(ending(1)))
        assert len(stored.rows(RECORDS)) == 1
        stored.settle(store.end(ending(2)))
        traced.fills_up()
        store.keep(3, as_image(3, metadata={"blob": "x" * 20_000}))
        stored.run_until(lambda: stored.told)
        assert len(stored.rows(RECORDS)) == 1
        traced.has_room()
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
