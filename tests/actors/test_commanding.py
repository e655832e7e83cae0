"""Whom a command goes to, for how long, and what an answer means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.actors.commanding import (
    ABSENT,
    DONE,
    FAILED,
    MAX_LOSSES,
    NOT_FOUND,
    OUTCOMES,
    OVERLOADED,
    TIMEOUT,
    Course,
    Patience,
    Verdict,
    meaning,
    refusal,
)
from sessiond.actors.errors import Overloaded, RequestTimeout, Unavailable

PATIENCE = Patience(timeout=5, attempts=3, wait=30)


@pytest.fixture
def course():
    return Course(PATIENCE, now=100.0)


def ask(course, links, now=100.0):
    link = course.choose(links)
    course.asked(link, now)
    return link


# What an answer means


ERRORS = {
    "our own": ([1, "No such call", {"code": "not_found"}], NOT_FOUND, "not_found", "No such call"),
    "our own, of more": ([0, "Busy", {"code": "busy", "n": 1}], FAILED, "busy", "Busy"),
    "Neovim's": ([0, "E117"], FAILED, None, "E117"),
    "a code": ("not_found", NOT_FOUND, "not_found", "not_found"),
    "a text": ("no such call", FAILED, None, "no such call"),
    "a map": ({"code": "not_found", "message": "gone"}, NOT_FOUND, "not_found", "gone"),
    "a map without a code": ({"message": "no"}, FAILED, None, "no"),
    "a map without a text": ({"code": "x"}, FAILED, "x", "x"),
    "a number": (404, FAILED, None, "404"),
    "an empty list": ([], FAILED, None, "[]"),
    "false": (False, FAILED, None, "False"),
}


@pytest.mark.parametrize(("error", "outcome", "code", "text"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_understood_in_whatever_shape_it_comes(error, outcome, code, text):
    assert meaning(error, None) == Verdict(outcome, None, {"code": code, "text": text})


def test_a_text_that_is_a_code_is_no_longer_than_any_code():
    verdict = meaning("a" * 200_000, None)
    assert verdict.error == {"code": "a" * 400, "text": "a" * 400}


def test_an_answer_without_an_error_is_that_it_is_done():
    assert meaning(None, {"sip": 200}) == Verdict(DONE, {"sip": 200})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("code"), inner, max_size=4),
)


@given(JSON)
def test_any_error_has_a_short_text(error):
    verdict = meaning(error, None)
    if error is not None:
        assert verdict.outcome in {FAILED, NOT_FOUND}
        assert len(verdict.error["text"]) <= 400
        assert len(verdict.error["code"] or "") <= 400
        assert refusal(verdict).details["gateway"] == verdict.outcome


@pytest.mark.parametrize("outcome", sorted(set(OUTCOMES) - {DONE}))
def test_every_outcome_but_success_has_an_error_of_its_own(outcome):
    error = refusal(Verdict(outcome))
    assert type(error) is {TIMEOUT: RequestTimeout, OVERLOADED: Overloaded}.get(outcome, Unavailable)
    assert error.details == {"gateway": outcome}


# The course


def test_attempts_go_over_the_links_in_turn_until_none_is_left(course):
    now = 100.0
    asked = []
    verdict = None
    while verdict is None:
        asked.append(ask(course, "ab", now))
        assert course.look(now + 4.9) is None
        now += 5
        verdict = course.look(now)
    assert (asked, verdict, now) == (["a", "b", "a"], Verdict(TIMEOUT), 115.0)


def test_a_link_that_is_new_is_asked_before_one_that_did_not_answer(course):
    ask(course, "a")
    course.look(105.0)
    assert course.choose("ab") == "b"


def test_a_lost_link_costs_no_attempt(course):
    for n in range(MAX_LOSSES):
        assert ask(course, [n]) == n
        assert course.lost(n) is None
    for n in range(3):
        ask(course, "a", 100.0 + 5 * n)
        assert course.look(105.0 + 5 * n) == (Verdict(TIMEOUT) if n == 2 else None)


def test_a_command_that_a_gateway_stumbles_over_is_not_sent_for_ever(course):
    for n in range(MAX_LOSSES):
        ask(course, [n])
        course.lost(n)
    ask(course, "x")
    assert course.lost("x") == Verdict(ABSENT)


def test_the_loss_of_an_earlier_link_does_not_matter_to_the_present_attempt(course):
    ask(course, "ab")
    course.look(105.0)
    assert ask(course, "ab", 105.0) == "b"
    assert course.lost("a") is None
    assert (course.is_asked, course.due) == (True, 110.0)


def test_the_first_answer_counts_though_it_is_to_an_earlier_attempt(course):
    ask(course, "ab")
    course.look(105.0)
    ask(course, "ab", 105.0)
    assert course.answered("a", None, "late", "ab") == Verdict(DONE, "late")


def test_a_session_is_not_found_only_when_no_link_knows_it(course):
    """Processes of a gateway need not know of each other's calls."""
    assert ask(course, "abc") == "a"
    assert course.answered("a", "not_found", None, "abc") is None
    assert ask(course, "abc") == "b"
    assert course.answered("b", "not_found", None, "abc") is None
    assert ask(course, "abc") == "c"
    assert course.answered("c", "not_found", None, "abc").outcome == NOT_FOUND


def test_a_late_denial_leaves_the_present_attempt_alone(course):
    ask(course, "ab")
    course.look(105.0)
    ask(course, "ab", 105.0)
    assert course.answered("a", "not_found", None, "ab") is None
    assert (course.is_asked, course.due) == (True, 110.0)


def test_other_errors_are_final(course):
    ask(course, "ab")
    assert course.answered("a", "busy", None, "ab").outcome == FAILED


def test_a_gateway_that_has_too_much_to_do_is_asked_again_later(course):
    busy = [0, "32 are being carried out", {"code": "overloaded"}]
    for now in (100.0, 105.0, 110.0):
        ask(course, "a", now)
        assert course.answered("a", busy, None, "a") is None
        assert course.is_asked
        assert course.look(now + 4.9) is None
        verdict = course.look(now + 5)
    assert (verdict.outcome, verdict.error["text"]) == (OVERLOADED, "32 are being carried out")


@pytest.mark.parametrize("outcome", [ABSENT, OVERLOADED])
def test_what_cannot_begin_waits_so_long_and_no_longer(course, outcome):
    assert course.due == 130.0
    assert course.held_up(129.9, outcome) is None
    assert course.held_up(130.0, outcome) == Verdict(outcome)


STEPS = st.lists(st.tuples(st.sampled_from(["time", "lost", "denied", "room"]), st.integers(0, 3)), max_size=200)


@given(STEPS, st.integers(1, 5))
def test_every_course_comes_to_an_end(steps, attempts):
    """However links come and go: not before the gateway had its time, and not after the longest there is."""
    course = Course(Patience(5, attempts, 30), 0.0)
    now, timeouts = 0.0, 0
    for what, links in [*steps, *[("time", 0)] * 100]:
        verdict = None
        if not course.is_asked:
            link = course.choose(range(links))
            if link is not None:
                course.asked(link, now)
            else:
                verdict = course.held_up(now, ABSENT)
        elif what == "lost":
            verdict = course.lost(link)
        elif what == "denied":
            verdict = course.answered(link, "not_found", None, range(links))
        if verdict is None and what == "time":
            was_asked = course.is_asked
            now = max(now, course.due)
            verdict = course.look(now)
            timeouts += was_asked
        if verdict is not None:
            assert now <= 30 + attempts * 5
            assert timeouts <= attempts
            assert (verdict.outcome == TIMEOUT) <= (timeouts == attempts)
            return
    raise AssertionError("it never ended")
