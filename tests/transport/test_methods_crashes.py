"""Code that crashes, behind a socket: the request that did it is told, and nobody else notices."""

from __future__ import annotations

import logging

import pytest
from serving import serving
from wire import notification, request

from sessiond.actors.session import SessionActor

CRASHES = [RuntimeError, AssertionError, RecursionError, MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit]
BY_NAME = {error.__name__: error for error in CRASHES}


class Faulty(SessionActor):
    """Crashes when it is put on hold, as its callee says, or at birth, as its type says; a touch answers nonsense."""

    def __init__(self, context, seq, record, *rest):
        if record.type in BY_NAME:
            raise BY_NAME[record.type]("stillborn")
        super().__init__(context, seq, record, *rest)

    def update_state(self, state, if_version=None, at=None):
        answer = super().update_state(state, if_version, at)
        if state == "held":
            raise BY_NAME[self.record.callee]("on hold")
        return answer

    def touch(self):
        super().touch()
        return object()


@pytest.fixture(scope="module")
def served():
    with serving(session_class=Faulty) as running:
        yield running


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("crash", BY_NAME)
def test_a_crash_is_told_to_whoever_caused_it(connect, crash):
    """The last record stays, but for what the crashed turn had changed in it already, and the session goes on."""
    wire, other = connect(), connect()
    session_id = wire.call("create_session", {"type": "sip", "state": "active", "callee": crash})["id"]
    (fault, text, details), result = wire.ask("update_session_state", session_id, "held")
    assert (fault, result) == (0, None)
    assert details == {"code": "internal", "id": session_id}
    assert crash not in text
    assert other.call("get_session", session_id)["state"] in {"active", "held"}
    assert other.call("update_session", session_id, {"caller": "x"})["version"] >= 2


@pytest.mark.parametrize("crash", BY_NAME)
def test_a_session_that_cannot_begin_is_told_to_its_creator(connect, crash):
    wire, other = connect(), connect()
    (fault, _, details), _ = wire.ask("create_session", {"type": crash})
    assert (fault, details) == (0, {"code": "internal"})
    assert wire.call("count_sessions", {"type": crash, "ended": "any"}) == {"count": 0}
    assert other.call("ping") == "pong"


def test_an_answer_that_cannot_be_encoded_is_a_crash_of_its_request(wire):
    session_id = wire.call("create_session", {"type": "sip"})["id"]
    wire.send(request(1, "touch_session", session_id), notification("touch_session", session_id), request(2, "ping"))
    error, pong = wire.receive_many(2)
    assert error[:2] == [1, 1]
    assert (error[2][0], error[2][2]) == (0, {"code": "internal"})
    assert pong == [1, 2, None, "pong"]


def test_a_session_that_crashes_again_and_again_ends(wire):
    session_id = wire.call("create_session", {"type": "sip", "state": "active", "callee": "RuntimeError"})["id"]
    for _ in range(4):
        wire.send(notification("update_session_state", session_id, "active"))
        assert wire.refusal("update_session_state", session_id, "held")["code"] == "internal"
    session = wire.call("get_session", session_id)
    assert (session["state"], session["end_reason"], session["ended_by"]) == ("ended", "crashed", "service")
    assert wire.refusal("update_session_state", session_id, "held")["code"] == "session_ended"
