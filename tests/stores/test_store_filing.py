"""Records of ended calls: in the log as soon as they are kept, and in their table before anybody looks."""

from __future__ import annotations

import dataclasses

import pytest
from still_store import LATER, RECORDS, committed, killed, sql
from stored import as_image, ending, opened

from sessiond.stores.database import MAX_ROWS
from sessiond.stores.filing import BACKLOG
from sessiond.stores.tuning import TUNING

# What a commit writes


def test_a_commit_is_one_row_of_the_log_and_nothing_else(still, path, traced):
    store = still.store
    store._writer._connected()
    store.keep(1, as_image(1))
    store.touch(2, 5.0)
    store.end(ending(1))
    traced.said.clear()
    store._writer._commit(store.waiting)
    (statement,) = traced.said
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
        for seq in range(50):
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


def test_all_that_have_waited_for_a_while_are_filed_together(still):
    committed(still, *range(TUNING.file_rows - 1))
    still.clock.now += 0.3
    assert not still.store._writer._do_chores()
    assert still.store._filing.is_needless


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


def test_a_step_is_a_single_statement_that_is_not_synced(still, traced):
    committed(still, *range(2 * TUNING.file_rows))
    traced.said.clear()
    still.store._writer._do_chores()
    assert [said.split(" (")[0] for said in traced.said[1:-1]] == ["REPLACE INTO records"]
    assert [traced.said[0], traced.said[-1]] == ["PRAGMA synchronous = NORMAL", "PRAGMA synchronous = FULL"]


def test_when_very_many_wait_they_are_filed_until_they_are_fewer(still):
    committed(still, *range(BACKLOG + 1000))
    still.store._writer._do_chores()
    assert BACKLOG - MAX_ROWS < len(still.store._filing._unfiled) <= BACKLOG


def test_a_commit_never_waits_for_much_more_than_the_last_one_has_brought(still):
    """However many have come together while none could be filed."""
    store = still.store
    for first in range(0, 4 * BACKLOG, BACKLOG):
        committed(still, *range(first, first + BACKLOG))
    for count in (1, 100, 1000):
        committed(still, *range(20_000, 20_000 + count))
        before = len(store._filing._unfiled)
        store._writer._do_chores()
        assert count < before - len(store._filing._unfiled) < count + TUNING.file_rows + MAX_ROWS


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
