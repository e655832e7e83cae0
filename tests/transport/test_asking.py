"""Requests of the service on one connection, and their answers in whatever order and number these come."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.transport.asking import Asking
from sessiond.transport.codec import Response


class Noting:
    """What somebody who asked was told."""

    def __init__(self, asking, method="warn_session", **arguments):
        self.told = []
        frame, self.forget = asking.ask(method, arguments, self.answered, self.lost)
        self.message = msgpack.unpackb(frame)

    @property
    def msgid(self):
        return self.message[1]

    def answered(self, error, result):
        self.told.append((error, result))

    def lost(self):
        self.told.append("lost")


@pytest.fixture
def asking():
    return Asking()


def test_a_request_is_one_of_the_protocol(asking):
    assert Noting(asking, "warn_session", id="x").message == [
        0,
        1,
        "warn_session",
        [{"id": "x"}],
    ]
    assert Noting(asking).msgid == 2


def test_answers_come_in_any_order_and_count_once(asking):
    first, second = Noting(asking), Noting(asking)
    asking.take(Response(second.msgid, None, 2))
    asking.take(Response(first.msgid, "no", None))
    asking.take(Response(first.msgid, None, "again"))
    asking.take(Response(99, None, "to nothing"))
    assert (first.told, second.told, len(asking)) == ([("no", None)], [(None, 2)], 0)


def test_an_answer_that_nobody_waits_for_any_more_means_nothing(asking):
    asked = Noting(asking)
    asked.forget()
    asked.forget()
    asking.take(Response(asked.msgid, None, "late"))
    asking.lose()
    assert (asked.told, len(asking)) == ([], 0)


def test_all_that_wait_learn_that_the_connection_is_lost(asking):
    first, second, answered = Noting(asking), Noting(asking), Noting(asking)
    asking.take(Response(answered.msgid, None, None))
    asking.lose()
    asking.take(Response(first.msgid, None, "from the grave"))
    assert (first.told, second.told, answered.told) == (["lost"], ["lost"], [(None, None)])


def test_who_learns_of_the_loss_may_forget_what_others_wait_for(asking):
    first, second = Noting(asking), Noting(asking)
    first.lost = second.forget
    asking.lose()
    assert second.told == ["lost"]


@given(st.lists(st.tuples(st.sampled_from(["ask", "take", "forget"]), st.integers(0, 20))))
def test_everybody_is_told_once_at_most(steps):
    asking, asked = Asking(), []
    for step, number in steps:
        if step == "ask" or not asked:
            asked.append(Noting(asking))
        elif step == "take":
            asking.take(Response(number, None, number))
        else:
            asked[number % len(asked)].forget()
    asking.lose()
    assert all(len(each.told) <= 1 for each in asked)
    assert all(told in {"lost", (None, each.msgid)} for each in asked for told in each.told)
