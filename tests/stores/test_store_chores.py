"""What the writer does between commits: folding, purging, emptying the WAL."""

from __future__ import annotations

import dataclasses
import functools

import pytest
from stored import as_image, ending, opened

from sessiond.actors.store import Live
from sessiond.stores import checkpoints
from sessiond.stores.database import MAX_ROWS
from sessiond.stores.purge import AT_ONCE
from sessiond.stores.tuning import TUNING

NEVER = dataclasses.replace(TUNING, fold_entries=10**9, fold_bytes=10**12, fold_age=10**9, last_fold=0.0)
"""So that nothing is folded unless the test says so."""


@pytest.fixture
def again(tmp_path):
    """Open the same store, as a context."""
    return functools.partial(opened, tmp_path / "sessiond.db")


def rows(stored, query):
    return stored.answer(stored.store.read(lambda connection: connection.execute(query).fetchall()))


def fold(stored):
    """Fold all that is settled, on the writer's thread."""
    posted = stored.notify_when(lambda: stored.store._folding.is_needless)
    stored.store._chores._tuning = dataclasses.replace(TUNING, fold_age=0.0)
    stored.store._writer.ring()
    posted()


def test_a_session_is_folded_once_its_latest_image_is_in_the_table(again):
    with again(tuning=NEVER) as stored:
        store = stored.store
        stored.settle(store.keep(1, as_image(1)))
        assert store._folding.live(1) is not None
        fold(stored)
        assert store._folding.live(1) is None
        assert stored.load(1) == Live(1, 2.0, as_image(1))
        assert (store.figures.log_entries, store.figures.log_bytes, store.figures.folded) == (0, 0, 1)
        assert rows(stored, "SELECT seq, image FROM sessions") == [(1, as_image(1))]
        assert rows(stored, "SELECT count(*) FROM log") == [(0,)]


def test_a_session_that_begins_and_ends_between_folds_never_touches_the_table(again):
    with again(tuning=NEVER) as stored:
        store = stored.store
        for seq in range(1, 20):
            store.keep(seq, as_image(seq))
            position = store.end(ending(seq))
        stored.settle(position)
        fold(stored)
        assert store.figures.folded == 0
        assert rows(stored, "SELECT count(*) FROM records") == [(19,)]


def test_a_session_that_is_in_the_table_leaves_it_when_it_ends(again):
    with again(tuning=NEVER) as stored:
        store = stored.store
        stored.settle(store.keep(1, as_image(1)))
        fold(stored)
        stored.store._chores._tuning = NEVER
        stored.settle(store.end(ending(1)))
        assert stored.load(1) is None
        fold(stored)
        assert rows(stored, "SELECT seq FROM sessions") == []


def test_a_touch_is_folded_too(again):
    with again(tuning=NEVER) as stored:
        store = stored.store
        stored.settle(store.keep(1, as_image(1)))
        fold(stored)
        stored.store._chores._tuning = NEVER
        store.touch(1, 9.0)
        stored.settle(store.put("x", 1))
        assert stored.load(1) == Live(1, 9.0, as_image(1))
        fold(stored)
        assert stored.load(1) == Live(1, 9.0, as_image(1))
    with again() as stored:
        assert stored.live == [Live(1, 9.0, as_image(1))]


def test_old_records_are_deleted_and_others_are_not(again):
    many = 3 * AT_ONCE
    with again() as stored:
        store = stored.store
        numbers = [store.end(ending(seq, at=float(seq))) for seq in range(many)]
        stored.settle(numbers[-1])
        done = stored.notify_when(lambda: not store._chores.purge.is_due)
        store.purge(many - 10.0, numbers[many - 30])
        done()
        assert rows(stored, "SELECT min(number), count(*) FROM records") == [(numbers[many - 29], 29)]
        done = stored.notify_when(lambda: not store._chores.purge.is_due)
        store.purge(many - 10.0, numbers[-1])
        done()
        assert rows(stored, "SELECT count(*) FROM records") == [(10,)]


def test_positions_go_on_when_all_that_had_them_is_gone(again):
    with again() as stored:
        store = stored.store
        last = store.end(ending(1))
        stored.settle(last)
        done = stored.notify_when(lambda: not store._chores.purge.is_due)
        store.purge(10.0, last)
        done()
    with again() as stored:
        assert stored.ended == []
        assert stored.store.put("x", 1) > last


def test_the_wal_stays_short_however_much_is_written(again, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "ENOUGH", 50)
    written = 0
    with again(tuning=dataclasses.replace(TUNING, fold_entries=20)) as stored:
        for number in range(400):
            image = as_image(number % 7, metadata={"blob": "x" * 10_000})
            written += len(image)
            stored.settle(stored.store.keep(number % 7, image))
        assert (tmp_path / "sessiond.db-wal").stat().st_size < written / 4
    with again() as stored:
        assert len(stored.live) == 7


@pytest.mark.parametrize("count", [TUNING.fold_rows + 1, 127, 128, MAX_ROWS - 1, MAX_ROWS])
def test_a_step_folds_as_many_sessions_as_a_commit_has_brought(still, count):
    store = still.store
    store._chores._tuning = dataclasses.replace(NEVER, fold_entries=1)
    for seq in range(4 * count):
        store.keep(seq, as_image(seq))
    while store.waiting:
        store._writer._commit(count)
    for _ in range(2):
        folded = store.figures.folded
        store._writer._do_chores()
        assert store.figures.folded - folded >= count


def test_folding_goes_on_after_a_restart(again):
    with again(tuning=NEVER) as stored:
        for seq in range(10):
            position = stored.store.keep(seq, as_image(seq))
        stored.settle(position)
    with again() as stored:
        done = stored.notify_when(lambda: stored.store._folding.is_needless)
        stored.store._writer.ring()
        done()
        assert rows(stored, "SELECT count(*) FROM sessions") == [(10,)]


def test_images_that_come_while_others_are_folded_stay_in_the_log(again):
    """Steps of one session, and a commit between any two of them."""
    with again(tuning=dataclasses.replace(TUNING, fold_entries=1, fold_rows=1, most=1)) as stored:
        for version in range(1, 20):
            for seq in range(5):
                position = stored.store.keep(seq, as_image(seq, version=version))
        stored.settle(position)
        assert [stored.load(seq).image for seq in range(5)] == [as_image(seq, version=19) for seq in range(5)]
