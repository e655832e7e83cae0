"""What every store has to do, whatever its durability: see ``actors.store``."""

from __future__ import annotations

import dataclasses
import functools
import queue

import pytest
from stored import Stored, as_image, ending, opened

from sessiond.actors.store import Live, StoreError
from sessiond.stores.tuning import TUNING

QUICK = dataclasses.replace(TUNING, most=3, fold_entries=4, fold_rows=2)
"""Small numbers, so that everything happens early."""


@pytest.fixture(params=["commit", "relaxed"])
def durability(request):
    return request.param


@pytest.fixture(params=[TUNING, QUICK], ids=["usual", "quick"])
def again(request, tmp_path, durability):
    """Open the same store, as a context."""
    return functools.partial(opened, tmp_path / "sessiond.db", durability, request.param)


def test_a_new_store_has_nothing(again):
    with again() as stored:
        recovered = stored.recovered
        assert (dict(recovered.values), dict(recovered.authors), recovered.count) == ({}, {}, 0)
        assert (stored.live, stored.ended) == ([], [])


def test_positions_ascend_and_are_settled(again):
    with again() as stored:
        store = stored.store
        positions = [
            store.keep(1, as_image(1)),
            store.keep(2, as_image(2)),
            store.author(1, "gw", None),
            store.end(ending(1)),
            store.put("sink:file", 7),
        ]
        assert positions == sorted(set(positions))
        stored.settle(positions[-1])
        assert stored.told == []
        assert store.waiting == 0


def test_it_is_known_of_which_sessions_something_is_not_kept(tmp_path, durability):
    stored = Stored(tmp_path / "sessiond.db", durability)
    store = stored.store
    store.author(7, "gw", None)
    store.keep(1, as_image(1))
    store.touch(2, 5.0)
    last = store.end(ending(3))
    assert store.unkept() == {1, 2, 3}
    stored.start()
    stored.settle(last)
    assert store.unkept() == set()
    stored.close()


def test_what_is_handed_over_in_one_turn_is_committed_together(tmp_path):
    turns = queue.SimpleQueue()
    stored = Stored(tmp_path / "sessiond.db", tuning=dataclasses.replace(TUNING, monotonic=lambda: 0.0))
    stored.start(turns.put)
    last = []
    for count in (1, 300, 2):
        last.append([stored.store.keep(seq, as_image(seq)) for seq in range(1, count + 1)][-1])
        over = turns.get_nowait()
        assert turns.empty()
        over()
        stored.settle(last[-1])
    assert stored.rows("SELECT position FROM log") == [(position,) for position in last]
    stored.store.close()


def test_a_session_comes_back_as_it_was_kept_last(again):
    with again() as stored:
        for version in range(1, 30):
            for seq in (3, 1, 2):
                position = stored.store.keep(seq, as_image(seq, version=version))
        stored.settle(position)
    with again() as stored:
        assert stored.live == [Live(seq, 2.0, as_image(seq, version=29)) for seq in (1, 2, 3)]
        assert stored.recovered.count == 3


def test_sessions_come_back_in_the_order_of_their_creation(again):
    numbers = [5, 3, 900, 1, 77, 2**40]
    with again() as stored:
        for seq in numbers:
            stored.store.keep(seq, as_image(seq))
    with again() as stored:
        assert [live.seq for live in stored.live] == sorted(numbers)


def test_many_sessions_come_back_in_batches(again):
    with again() as stored:
        for seq in range(2000):
            position = stored.store.keep(seq, as_image(seq))
        stored.settle(position)
    with again() as stored:
        assert [live.seq for live in stored.live] == list(range(2000))
        assert max(stored.batches) < 1000


def test_a_session_that_ended_comes_back_as_a_record(again):
    whole = ending(
        4,
        at=9.5,
        request_id="again\0",
        digest=b"\0digest",
        gateway="gw\0",
        epoch="e",
        external_id="x",
        caller="",
        callee="\u2028\U0001f600",
        direction="inbound",
        parent="p",
        group="g",
        metadata={
            "one": 1,
            "one.0": 1.0,
            "true": True,
            "most": 2**64 - 1,
            "least": -(2**63),
            "tiny": 5e-324,
            "nul": "a\0b",
            "": "",
        },
        ringing_at=1.5,
        answered_at=1.7000000000000002,
        sip_code=486,
        q850_cause=17,
        version=2**40,
    )
    with again() as stored:
        stored.store.keep(4, as_image(4))
        stored.settle(stored.store.end(whole))
        plain = ending(5)
        stored.settle(stored.store.end(plain))
    with again() as stored:
        assert stored.live == []
        assert stored.recovered.count == 0
        assert stored.ended == [whole, plain]
        kinds = {name: type(value) for name, value in stored.ended[0].final.metadata.items()}
        assert kinds == {name: type(value) for name, value in whole.final.metadata.items()}


def test_of_two_ends_of_one_session_the_later_one_stays(again):
    with again() as stored:
        stored.store.end(ending(1, at=3.0))
        stored.settle(stored.store.end(ending(1, at=4.0)))
        assert stored.told == []
    with again() as stored:
        assert stored.ended == [ending(1, at=4.0)]


def test_the_newest_of_those_that_ended_come_back_in_the_order_in_which_they_were_ended(again):
    """Whatever their gateways said of when that was."""
    with again() as stored:
        for seq, at in enumerate([5.0, 1.0, 4.0, 4.0, 2.0]):
            stored.settle(stored.store.end(ending(seq, at=at, updated_at=10.0 + seq)))
    with again() as stored:
        assert [end.seq for end in stored.ended] == [0, 1, 2, 3, 4]
    stored = Stored(stored.store._path)
    recovered = stored.recovered
    assert [end.seq for end in recovered.ended(12.0, 10)] == [2, 3, 4]
    assert [end.seq for end in recovered.ended(11.0, 2)] == [3, 4]
    assert list(recovered.ended(16.0, 10)) == []
    stored.close()


def test_a_touch_is_kept_and_nobody_is_told(again):
    with again() as stored:
        stored.store.keep(1, as_image(1, touched=5.0))
        stored.store.keep(2, as_image(2, touched=5.0))
        stored.store.touch(1, 7.0)
        stored.store.touch(2, 4.0)
        stored.store.touch(3, 7.0)
    with again() as stored:
        assert stored.live == [Live(1, 7.0, as_image(1, touched=5.0)), Live(2, 5.0, as_image(2, touched=5.0))]
        stored.store.touch(1, 8.0)
    with again() as stored:
        assert [live.touched for live in stored.live] == [8.0, 5.0]


def test_a_touch_takes_effect_without_another_change(again):
    with again() as stored:
        stored.settle(stored.store.keep(1, as_image(1)))
        stored.store.touch(1, 7.0)
        stored.run_until(lambda: stored.store.waiting == 0 or stored.kept > 1)
        assert stored.load(1).touched == 7.0


def test_named_numbers_and_authors_come_back(again):
    with again() as stored:
        store = stored.store
        store.put("sink:a", 1)
        store.put("sink:b\0", -(2**63))
        store.author(0, "gw", None)
        store.author(65535, "gw\0", "epoch")
        store.put("sink:a", 2**63 - 1)
    with again() as stored:
        assert stored.recovered.values == {"sink:a": 2**63 - 1, "sink:b\0": -(2**63)}
        assert stored.recovered.authors == {0: ("gw", None), 65535: ("gw\0", "epoch")}


def test_positions_go_on_where_they_were(again):
    """Records are numbered by them, also when all that had the earlier ones is gone."""
    with again() as stored:
        stored.store.keep(1, as_image(1))
        last = stored.store.put("x", 1)
    for _ in range(3):
        with again() as stored:
            position = stored.store.put("x", 1)
            assert position > last
            last = position


def test_what_was_handed_over_before_the_close_is_kept(again):
    with again() as stored:
        for seq in range(50):
            stored.store.keep(seq, as_image(seq))
    with again() as stored:
        assert len(stored.live) == 50


def test_what_was_handed_over_before_the_start_is_kept(again, tmp_path, durability):
    stored = Stored(tmp_path / "sessiond.db", durability)
    position = stored.store.keep(1, as_image(1))
    stored.start().settle(position)
    stored.close()
    with again() as stored:
        assert len(stored.live) == 1


def test_a_store_that_is_closed_can_be_closed_again(tmp_path, durability):
    stored = Stored(tmp_path / "sessiond.db", durability)
    stored.close()
    stored.close()


def test_a_live_session_can_be_loaded(again):
    with again() as stored:
        store = stored.store
        store.keep(1, as_image(1))
        store.keep(2, as_image(2))
        stored.settle(store.end(ending(2)))
        assert stored.load(1) == Live(1, 2.0, as_image(1))
        assert stored.load(2) is None
        assert stored.load(3) is None
    with again() as stored:
        assert stored.load(1) == Live(1, 2.0, as_image(1))
        stored.settle(stored.store.end(ending(1)))
        assert stored.load(1) is None


def test_many_live_sessions_are_loaded_together_wherever_each_is(again):
    with again() as stored:
        for seq in (1, 2, 3):
            stored.store.keep(seq, as_image(seq))
        stored.settle(stored.store.end(ending(2)))
        lives = {seq: Live(seq, 2.0, as_image(seq)) for seq in (1, 3)}
        assert stored.answer(stored.store.load_all([1, 2, 3, 4])) == lives
    with again() as stored:
        stored.store.touch(3, 9.0)
        stored.settle(stored.store.keep(5, as_image(5)))
        stored.settle(stored.store.end(ending(1)))
        assert stored.answer(stored.store.load_all([1, 2, 3, 4, 5])) == {
            3: Live(3, 9.0, as_image(3)),
            5: Live(5, 2.0, as_image(5)),
        }
        assert stored.answer(stored.store.load_all([])) == {}


def test_a_query_reads_what_is_settled(again):
    with again() as stored:
        position = stored.store.end(ending(1))
        stored.settle(position)
        rows = stored.answer(
            stored.store.read(lambda connection: connection.execute("SELECT number, id FROM records").fetchall())
        )
        assert rows == [(position, "session-1")]


def test_a_query_that_fails_fails_with_what_it_raises(again):
    def query(connection):
        raise KeyError("mine")

    with again() as stored, pytest.raises(KeyError, match="mine"):
        stored.answer(stored.store.read(query))


def test_the_same_path_cannot_be_opened_twice(again, tmp_path):
    with again(), pytest.raises(StoreError, match="in use by another process"):
        Stored(tmp_path / "sessiond.db")
