"""Who leaves memory, against the obvious."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from sessiond.actors.residents import TICK, Residents

QUIET, MOST = 10.0, 4

steps = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(0, 0)),
        st.tuples(st.just("touch"), st.integers(0, 30)),
        st.tuples(st.just("end"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("look"), st.integers(1, 5)),
    ),
    max_size=80,
)


@settings(derandomize=True, deadline=None)
@given(steps)
def test_whoever_leaves_was_quiet_for_longest_and_whoever_should_leave_does(steps):
    residents = Residents(QUIET, MOST)
    touched: dict[int, float] = {}
    now, seq = 100.0, 0
    for what, number in steps:
        if what == "come":
            seq += 1
            touched[seq] = now
            residents.add(seq, now)
        elif what == "touch" and number in touched:
            touched[number] = now
        elif what == "end":
            touched.pop(number, None)
        elif what == "wait":
            now += number / 4
        elif what == "look":
            leave(residents, touched, now, number)
    while leave(residents, touched, now, 100):
        pass
    assert len(touched) <= MOST
    assert all(now - at < QUIET + TICK for at in touched.values())
    assert len(residents) >= len(touched)


def leave(residents: Residents, touched: dict[int, float], now: float, budget: int) -> list[int]:
    surplus = len(touched) - MOST
    leaving = residents.leaving(now, len(touched), touched.get, budget)
    assert len(leaving) <= budget
    gone = [touched.pop(seq) for seq in leaving]
    if any(now - at < QUIET for at in gone):
        assert len(gone) <= surplus, "nobody leaves early but to make room"
    assert all(math.floor(at) <= math.floor(other) for at in gone if now - at < QUIET for other in touched.values())
    return leaving


def test_one_that_may_not_leave_yet_is_asked_again():
    residents = Residents(QUIET, MOST)
    residents.add(1, 0.0)
    assert residents.leaving(11.0, 1, lambda _: 0.0, 5) == [1]
    residents.add(1, 11.0)
    assert residents.leaving(12.0, 1, lambda _: 0.0, 5) == []
    assert residents.leaving(22.0, 1, lambda _: 0.0, 5) == [1]


def test_looking_is_bounded_even_if_nobody_may_leave():
    residents = Residents(QUIET, 0)
    looked = []
    for seq in range(1000):
        residents.add(seq, 0.0)

    def touched(seq: int) -> float:
        looked.append(seq)
        return 50.0

    assert residents.leaving(50.0, 1000, touched, 64) == []
    assert len(looked) == 64
