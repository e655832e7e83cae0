"""What a registration leads to, case by case."""

from __future__ import annotations

import pytest
from manual_clock import ManualClock

from sessiond.actors.deadlines import Deadline
from sessiond.actors.incarnation import Incarnation
from sessiond.actors.registration import judged, removable

CLOCK = ManualClock()


def known(epoch, *, lost=False, sessions=(), replaced=False, links=0):
    incarnation = Incarnation("gw", epoch, 4, CLOCK.read())
    if lost:
        incarnation.loss = Deadline(CLOCK.read(), 120, "gateway_lost")
    for seq in sessions:
        incarnation.sessions.add(seq)
    incarnation.is_replaced = replaced
    incarnation.links = dict.fromkeys(range(links))
    return incarnation


NOBODY = []
LIVE = [known("a")]
LOST = [known("a", lost=True)]
LOST_WITH_CALLS = [known("a", lost=True, sessions=[1])]
LAPSED = [known("a", lost=True, links=1)]
REPLACED = [known("a", lost=True, replaced=True, sessions=[1]), known("b")]
REPLACED_WITHOUT_CALLS = [known("a", lost=True, replaced=True), known("b")]
REPLACED_AND_ALONE = [known("a", lost=True, replaced=True, sessions=[1]), known("b", lost=True)]
LOST_BESIDE = [known("a", lost=True, sessions=[1]), known("b")]

CASES = {
    "the first": (NOBODY, "a", "registered", "registered", "registered"),
    "a further connection": (LIVE, "a", "joined", "joined", "joined"),
    "back from a loss": (LOST, "a", "resumed", "resumed", "resumed"),
    "a restart without calls": (LOST, "b", "registered", "registered", "registered"),
    "a restart with calls": (LOST_WITH_CALLS, "b", "restarted", "restarted", "restarted"),
    "a restart without an epoch": (LOST_WITH_CALLS, None, "restarted", "restarted", "restarted"),
    "beside one that lives": (LIVE, "b", "shared", "taken_over", "refused"),
    "beside one that lives, without an epoch": (LIVE, None, "shared", "taken_over", "refused"),
    "back beside one that lives": (LOST_BESIDE, "a", "resumed", "taken_over", "refused"),
    "back after it was replaced": (REPLACED, "a", "refused", "refused", "refused"),
    "back after it was replaced, without calls": (REPLACED_WITHOUT_CALLS, "a", "resumed", "taken_over", "refused"),
    "back when whoever replaced it is lost": (REPLACED_AND_ALONE, "a", "resumed", "resumed", "resumed"),
    "where one does not speak any more": (LAPSED, "b", "registered", "registered", "registered"),
}


@pytest.mark.parametrize(("policy", "place"), [("share", 2), ("take_over", 3), ("refuse", 4)])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_outcome(case, policy, place):
    assert judged(case[0], case[1], policy).outcome == case[place]


def test_whoever_is_known_by_its_epoch_is_that_one():
    for incarnations in (LIVE, LOST, LOST_BESIDE):
        assert judged(incarnations, "a", "share").known is incarnations[0]
    assert judged(LIVE, None, "share").known is None


def test_a_refusal_says_who_lives():
    assert judged(LIVE, "b", "refuse").obstacle is LIVE[0]
    assert judged(REPLACED, "a", "share").obstacle is REPLACED[1]


@pytest.mark.parametrize(
    ("incarnations", "epoch", "replaced"),
    [(LIVE, "b", LIVE), (LAPSED, "b", LAPSED), (LOST, "b", []), (LOST_BESIDE, "c", LOST_BESIDE[1:]), (LIVE, "a", [])],
)
def test_those_are_replaced_that_live_or_might_speak_again(incarnations, epoch, replaced):
    assert list(judged(incarnations, epoch, "take_over").replaced) == replaced


@pytest.mark.parametrize("policy", ["share", "refuse"])
def test_no_other_policy_replaces_anybody(policy):
    for incarnations in (LIVE, LAPSED, LOST_BESIDE):
        assert not judged(incarnations, "c", policy).replaced


def test_nothing_is_left_of_those_that_are_lost_without_calls_and_connections():
    left = known("a", lost=True)
    held = [known("b"), known("c", lost=True, sessions=[1]), known("d", lost=True, links=1)]
    assert removable([left, *held]) == [left]
