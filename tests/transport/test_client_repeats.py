"""When a request may be sent again, and when the next connection is tried."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.actors.errors import Unavailable
from sessiond.transport import client_requests as requests
from sessiond.transport.client_repeats import FIRST_DELAY, MAX_DELAY, Journal, Reconnection, Repeat
from sessiond.transport.client_requests import Request

ADDRESS = {"gateway": "gw", "external_id": "call-1"}


@pytest.mark.parametrize(
    ("request_", "repeat"),
    [
        (requests.create_session({"type": "sip"}), Repeat.ALWAYS),
        (requests.create_session({"type": "sip", "request_id": "r"}), Repeat.ALWAYS),
        (requests.get_session("a"), Repeat.ALWAYS),
        (requests.list_sessions(None, {}), Repeat.ALWAYS),
        (requests.count_sessions({}), Repeat.ALWAYS),
        (requests.explain_limit("x", {"value": "a"}), Repeat.ALWAYS),
        (requests.list_records(None, {}), Repeat.ALWAYS),
        (requests.get_record("x"), Repeat.ALWAYS),
        (requests.ping(), Repeat.ALWAYS),
        (requests.server_info(), Repeat.ALWAYS),
        (requests.touch_session(ADDRESS), Repeat.ALWAYS),
        (requests.end_session("a", None, {}), Repeat.ALWAYS),
        (requests.end_session("a", None, {"if_version": None}), Repeat.ALWAYS),
        (requests.end_session("a", None, {"if_version": 1}), Repeat.NEVER),
        (requests.update_session("a", {"caller": "x"}, None), Repeat.UNLESS_OVERTAKEN),
        (requests.update_session("a", {"caller": "x"}, 1), Repeat.NEVER),
        (requests.update_session_state(ADDRESS, "held", None, 1.5), Repeat.UNLESS_OVERTAKEN),
        (requests.update_session_state("a", "held", 1, None), Repeat.NEVER),
        (requests.update_session_metadata("a", {"if_version": 1}, None), Repeat.UNLESS_OVERTAKEN),
        (requests.update_session_metadata("a", {}, 1), Repeat.NEVER),
        (requests.call("update_session", [5, {}]), Repeat.NEVER),
        (requests.call("update_session", []), Repeat.NEVER),
        (requests.call("create_session", ["sip"]), Repeat.NEVER),
        (requests.call("transfer_session", ["a"]), Repeat.NEVER),
    ],
    ids=lambda value: value.method if isinstance(value, Request) else "",
)
def test_rules(request_, repeat):
    """Doing it twice leaves the same as doing it once, or it is not repeated."""
    assert request_.repeat is repeat


def update(target="a", if_version=None):
    return requests.update_session_state(target, "held", if_version, None)


def send(journal: Journal, request: Request):
    journal.send(request)
    request.is_sent = True


def may_repeat(journal: Journal, request: Request) -> bool:
    try:
        journal.check(request)
    except Unavailable:
        return False
    return True


def test_what_was_never_sent_may_always_be_sent():
    """A connection that was lost before has done no harm."""
    journal, request = Journal(), update(if_version=1)
    assert may_repeat(journal, request)
    journal.send(request)  # and this failed before the last byte
    assert may_repeat(journal, request)
    journal.send(request)


def test_what_carries_a_version_is_not_repeated():
    """Its repeat would meet the version that the first one made, and tell of a conflict where there was none."""
    journal, request = Journal(), update(if_version=1)
    send(journal, request)
    assert not may_repeat(journal, request)
    with pytest.raises(Unavailable, match="whether update_session_state was carried out is not known") as caught:
        journal.send(request)
    assert caught.value.details == {"outcome": "unknown"}


@pytest.mark.parametrize(
    ("later", "is_overtaken"),
    [
        (lambda: update("a"), True),
        (lambda: update("a", if_version=1), True),
        (lambda: requests.update_session_metadata("a", {}, None), True),
        (lambda: update("b"), False),
        (lambda: requests.touch_session("a"), False),
        (lambda: requests.get_session("a"), False),
        (lambda: update(ADDRESS), True),
    ],
    ids=["same", "with a version", "another method", "another session", "touch", "read", "perhaps the same session"],
)
@pytest.mark.parametrize("is_done", [True, False])
def test_an_update_is_not_repeated_after_a_later_one(later, is_overtaken, is_done):
    """The repeat would undo it, whether or not it has its answer by then."""
    journal, request, other = Journal(), update("a"), later()
    send(journal, request)
    send(journal, other)
    if is_done:
        journal.done(other)
    assert may_repeat(journal, request) is not is_overtaken


def test_the_later_update_itself_is_repeated():
    """Nothing came after it."""
    journal, request, later = Journal(), update("a"), update("a")
    send(journal, request)
    send(journal, later)
    assert may_repeat(journal, later)
    journal.done(request)
    assert may_repeat(journal, later)


SESSIONS = ["a", "b", ADDRESS, {"gateway": None, "external_id": "call-1"}]


@given(st.lists(st.tuples(st.sampled_from(["send", "repeat", "done"]), st.integers(0, 7)), max_size=60))
def test_no_repeat_undoes_a_later_update(steps):
    """Whatever was sent and answered: an update goes out again only if none that it might undo went out after it."""
    journal, sent, under_way = Journal(), [], {}
    for step, index in steps:
        if step == "send":
            request = under_way[index] = update(SESSIONS[index % 4])
            send(journal, request)
            sent.append(request)
        elif index in under_way and step == "done":
            journal.done(under_way.pop(index))
        elif index in under_way:
            request = under_way[index]
            later = sent[sent.index(request) + 1 :]
            assert may_repeat(journal, request) is not any(may_be_same(request, each) for each in later)


def may_be_same(one, other) -> bool:
    """Whether two updates may be for one session, as far as a client can tell."""
    return one.session == other.session or one.session[0] != other.session[0]


def test_a_journal_remembers_what_is_under_way_only():
    """However many sessions a client has updated."""
    journal = Journal()
    for number in range(100):
        request = update(str(number))
        send(journal, request)
        journal.done(request)
        journal.done(request)
    journal.done(update("never sent"))
    assert not journal._latest


def reconnection(patience=5.0, draw=1.0):
    return Reconnection(patience, lambda: draw)


def test_the_first_attempt_and_the_first_after_an_answer_are_made_at_once():
    """A service that was reached a moment ago can be reached, most likely."""
    state = reconnection()
    assert state.pause(100.0) == 0.0
    state.begun(100.0)
    state.answered()
    state.failed(200.0)
    assert state.pause(200.0) == 0.0
    assert not state.is_given_up(200.0)


def test_attempts_become_rarer():
    """Doubled from the first delay to the last."""
    state, pauses = reconnection(), []
    for _ in range(8):
        state.begun(0.0)
        assert state.pause(0.0) == math.inf
        state.failed(0.0)
        pauses.append(state.pause(0.0))
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for _ in range(2000):
        state.begun(0.0)
    state.failed(0.0)
    assert state.pause(0.0) == MAX_DELAY


def test_a_connection_without_an_answer_counts_as_a_failure():
    """A service at its limit takes connections and closes them: no reason to try faster."""
    state = reconnection()
    for _ in range(3):
        state.begun(0.0)
        assert state.is_trying
        state.failed(0.0)
    assert state.pause(0.0) == 4 * FIRST_DELAY


@given(st.floats(0, 1))
def test_delays_are_spread(draw):
    """Between a half and the whole, so that workers that lost their connections together come back one by one."""
    state = reconnection(draw=draw)
    state.begun(0.0)
    state.failed(0.0)
    assert FIRST_DELAY / 2 <= state.pause(0.0) <= FIRST_DELAY
    assert state.pause(FIRST_DELAY) == 0.0


def test_requests_wait_for_a_service_only_while_it_may_be_back_in_time():
    """Away for longer than a request waits, it is asked for when an attempt is due, and else given up at once."""
    state = reconnection(patience=5.0)
    state.begun(100.0)
    state.failed(100.0)
    assert not state.is_given_up(100.0)
    state.begun(104.9)
    state.failed(104.99)
    assert not state.is_given_up(104.99)
    state.begun(105.0)
    assert state.is_given_up(105.0)  # somebody else tries
    state.failed(105.5)
    assert state.is_given_up(105.5)
    assert not state.is_given_up(105.5 + MAX_DELAY)
    state.begun(108.0)
    state.answered()
    state.failed(300.0)
    assert not state.is_given_up(300.0)
