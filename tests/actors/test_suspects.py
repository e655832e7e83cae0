"""Sessions of a lost gateway: suspect at once, all of them, and none touched."""

from __future__ import annotations

import contextlib

import pytest

from sessiond.actors.incarnation import Incarnation

GRACE = 120.0


@pytest.fixture
def gateway(manager):
    """A gateway that has registered; the test loses and finds it by hand."""
    return Held(manager, "gw", "e1")


class Held:
    def __init__(self, manager, name, epoch):
        self.context = manager.context
        now = self.context.clock.read()
        self.incarnation = Incarnation(name, epoch, self.context.authors.number(name, epoch), now)
        self.context.incarnations.add(self.incarnation)

    def lose(self):
        self.context.incarnations.lose(self.incarnation, self.context.clock.read(), GRACE)

    def find(self):
        self.context.incarnations.recover(self.incarnation, self.context.clock.read())

    @contextlib.contextmanager
    def asking(self):
        self.context.ask_as(self.incarnation)
        yield
        self.context.ask_as(None)


def test_all_sessions_of_a_lost_gateway_are_suspect_and_no_other(manager, gateway):
    with gateway.asking():
        held = [manager.create(state="active") for _ in range(3)]
    other = manager.create(gateway="other")
    before = manager.get(held[0])
    gateway.lose()
    assert [session.id for session in manager.list_sessions(suspect=True).sessions] == held
    assert [session.id for session in manager.list_sessions(suspect=False).sessions] == [other]
    assert manager.count_sessions(suspect=True, by="gateway").groups == {"gw": 3}
    after = manager.get(held[0])
    assert (after.suspect, after.state, after.version) == (True, "active", before.version)
    assert after.expires_at == after.last_activity_at + GRACE
    gateway.find()
    assert manager.count_sessions(suspect=True).count == 0
    assert manager.get(held[0]) == before


def test_sessions_belong_to_the_gateway_of_the_connection(manager, gateway):
    with gateway.asking():
        session = manager.get(manager.create())
    assert (session.gateway, session.epoch) == ("gw", "e1")


def test_what_others_create_for_a_gateway_is_held_by_its_newest_run(manager, gateway):
    newer = Held(manager, "gw", "e2")
    assert manager.get(manager.create(gateway="gw")).epoch == "e2"
    newer.lose()
    assert manager.get(manager.create(gateway="gw")).epoch == "e1"
    gateway.lose()
    assert manager.get(manager.create(gateway="gw")).epoch is None


def test_nobody_is_idle_while_the_gateway_is_lost(manager, gateway):
    """Nothing can be heard of its calls then. They are given their whole time again when it is back."""
    with gateway.asking():
        session_id = manager.create(state="active", idle_timeout=30)
    manager.pass_time(20)
    gateway.lose()
    manager.pass_time(60)
    assert manager.get(session_id).suspect
    gateway.find()
    manager.pass_time(29)
    assert manager.get(session_id).state == "active"
    manager.pass_time(2)
    assert manager.get(session_id).end_reason == "idle_timeout"


@pytest.mark.parametrize(("state", "timeout"), [("ringing", "setup_timeout"), ("active", "max_duration")])
def test_other_timeouts_hold_for_suspects_too(manager, gateway, state, timeout):
    with gateway.asking():
        session_id = manager.create(state=state, **{timeout: 30})
    gateway.lose()
    manager.pass_time(31)
    assert manager.get(session_id).end_reason == timeout


REQUESTS = {
    "touch": lambda manager, session_id: manager.touch_session(session_id),
    "no change": lambda manager, session_id: manager.update_session_state(session_id, "active"),
    "state": lambda manager, session_id: manager.update_session_state(session_id, "held"),
    "fields": lambda manager, session_id: manager.update_session(session_id, callee="x"),
    "metadata": lambda manager, session_id: manager.update_session_metadata(session_id, {"a": 1}),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_a_gateway_that_came_back_as_another_claims_a_call_by_speaking_of_it(manager, gateway, request_):
    with gateway.asking():
        session_id = manager.create(state="active")
    gateway.lose()
    newer = Held(manager, "gw", "e2")
    with newer.asking():
        request_(manager, session_id)
    session = manager.get(session_id)
    assert (session.epoch, session.suspect) == ("e2", False)
    assert (len(gateway.incarnation.sessions), list(newer.incarnation.sessions)) == (0, [1])
    assert "claimed" in [entry.change for entry in manager.get_session_history(session_id).entries]


def test_nobody_else_claims_a_call(manager, gateway):
    """Neither another gateway, nor whoever is none, nor a second run while the first one lives."""
    with gateway.asking():
        session_id = manager.create(state="active")
    with Held(manager, "gw", "e2").asking():
        manager.touch_session(session_id)
    gateway.lose()
    with Held(manager, "other", "e1").asking():
        manager.touch_session(session_id)
    manager.touch_session(session_id)
    assert manager.get(session_id).suspect


def test_a_session_that_ends_is_held_by_nobody(manager, gateway):
    with gateway.asking():
        session_id = manager.create()
        manager.end_session(session_id)
    assert len(gateway.incarnation.sessions) == 0
    gateway.lose()
    session = manager.get(session_id)
    assert (session.epoch, session.suspect) == ("e1", False)
