"""The reaper's wheel against a sorted list."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sessiond.actors.wheel import Wheel

TICK = 0.25  # a power of two, so that a test's ticks have no rounding in them

seconds = st.one_of(st.integers(0, 400).map(lambda eighths: eighths / 8), st.floats(0, 1e9))


@settings(derandomize=True, deadline=None)
@given(st.lists(st.one_of(seconds.map(lambda s: ("add", s)), seconds.map(lambda s: ("wait", s)))), st.integers(1, 5))
def test_a_wheel_hands_out_what_is_due_like_a_sorted_list(events, limit):
    wheel, now, filed = Wheel(TICK), 0.0, []
    for seq, (kind, seconds) in enumerate(events):
        if kind == "add":
            filed.append((wheel.add(seq, seconds), seq))
            continue
        now += seconds
        wheel.due(now)
        filed.sort()
        due = [entry for entry in filed if entry[0] * TICK <= now]
        taken = []
        while part := wheel.take(limit):
            assert len(part) <= limit
            taken += part
            assert wheel.backlog == len(due) - len(taken)
        assert sorted(taken) == sorted(seq for _, seq in due)
        filed = filed[len(due) :]


@settings(derandomize=True, deadline=None)
@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_nothing_is_due_early_nor_more_than_a_tick_late(deadline, now):
    wheel = Wheel(TICK)
    wheel.add(1, deadline)
    wheel.due(now)
    assert wheel.backlog == 1 or now < deadline + TICK
    assert wheel.backlog == 0 or deadline <= now


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 8), max_size=30), st.integers(1, 7))
def test_earlier_ticks_go_first(ticks, limit):
    wheel = Wheel(TICK)
    for seq, tick in enumerate(ticks):
        wheel.add(seq, tick * TICK)
    wheel.due(9 * TICK)
    taken = []
    while part := wheel.take(limit):
        taken += part
    assert [ticks[seq] for seq in taken] == sorted(ticks)


def test_a_deadline_that_has_passed_is_due_at_once():
    wheel = Wheel(TICK)
    wheel.due(100.0)
    wheel.add(7, 3.0)
    wheel.due(100.0)
    assert wheel.take(10) == [7]


def test_a_number_may_be_filed_again_while_its_old_entry_waits():
    wheel = Wheel(TICK)
    wheel.add(7, 1.0)
    wheel.add(7, 2.0)
    wheel.due(1.0)
    assert wheel.take(10) == [7]
    wheel.due(2.0)
    assert wheel.take(10) == [7]
    assert wheel.backlog == 0


def test_the_tick_of_a_deadline_is_the_first_that_is_not_before_it():
    wheel = Wheel(TICK)
    assert wheel.add(1, 1.0) == 4
    assert wheel.add(1, 1.01) == 5
    assert wheel.tick_at(1.0) == wheel.tick_at(1.24) == 4
