"""The agenda of graces: lost incarnations in the order in which they have been waited for, and a walk through each."""

from __future__ import annotations

import pytest
from manual_clock import ManualClock

from sessiond.actors.bitmap import Bitmap
from sessiond.actors.graces import AGAIN, Graces
from sessiond.actors.incarnation import Incarnation, Incarnations, Judgement


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def books():
    return Incarnations({})


@pytest.fixture
def lost(clock, books):
    """Lose an incarnation that holds sessions of these numbers."""

    def lose(*seqs, grace=100.0):
        incarnation = Incarnation("gw", str(seqs), 4, clock.read())
        incarnation.sessions = Bitmap(seqs)
        books.add(incarnation)
        books.lose(incarnation, clock.read(), grace)
        return incarnation

    return lose


def due(books, clock):
    books.graces.due(clock.read())
    return books.graces.backlog


def test_nothing_is_due_before_the_grace_is_over(clock, books, lost):
    lost(1, 2)
    clock.advance(99)
    assert due(books, clock) == 0
    clock.advance(1)
    assert due(books, clock) == 2


def test_the_oldest_of_those_lost_first_come_first(clock, books, lost):
    lost(5000, 9, 2000)
    clock.advance(1)
    lost(1)
    clock.advance(100)
    assert due(books, clock) == 4
    assert books.graces.take(2, clock.read()) == [9, 2000]
    assert books.graces.take(9, clock.read()) == [5000, 1]


def test_whoever_was_found_meanwhile_is_passed_over(clock, books, lost):
    found, found_late = lost(1), lost(2, 3)
    books.recover(found, clock.read())
    clock.advance(100)
    assert due(books, clock) == 2
    assert books.graces.take(1, clock.read()) == [2]
    books.recover(found_late, clock.read())
    assert books.graces.backlog == 0
    assert books.graces.take(9, clock.read()) == []


def test_whoever_was_found_and_lost_again_is_waited_for_anew(clock, books, lost):
    incarnation = lost(1)
    clock.advance(50)
    books.recover(incarnation, clock.read())
    books.lose(incarnation, clock.read(), 100)
    clock.advance(50)
    assert due(books, clock) == 0
    clock.advance(50)
    assert due(books, clock) == 1


def test_what_is_still_held_after_a_walk_is_met_again(clock, books, lost):
    """Something waited in its mailbox, or it crashed."""
    lost(1, 2)
    clock.advance(100)
    due(books, clock)
    assert books.graces.take(9, clock.read()) == [1, 2]
    assert books.graces.backlog == 0
    clock.advance(AGAIN)
    assert due(books, clock) == 2


def test_what_has_left_meanwhile_is_not_met(clock, books, lost):
    incarnation = lost(1, 2, 3000)
    clock.advance(100)
    due(books, clock)
    assert books.graces.take(1, clock.read()) == [1]
    for seq in (1, 2, 3000):
        incarnation.sessions.discard(seq)
    assert 3000 not in books.graces.take(9, clock.read())
    clock.advance(AGAIN)
    assert due(books, clock) == 0


def test_a_verdict_does_not_wait_for_the_grace(clock, books, lost):
    """It walks once: what it spares has the whole grace."""
    incarnation = lost(1, 2)
    began = clock.read()
    clock.advance(1)
    books.judge(incarnation, Judgement(began, Bitmap()), clock.read())
    assert due(books, clock) == 2
    assert books.graces.take(9, clock.read()) == [1, 2]
    clock.advance(AGAIN)
    assert due(books, clock) == 0
    clock.advance(100)
    assert due(books, clock) == 2


def test_an_incarnation_without_sessions_is_no_backlog(clock, books, lost):
    lost()
    clock.advance(100)
    assert due(books, clock) == 0
    assert Graces().take(1, clock.read()) == []
