"""A crash in one session's code: the caller is told, the last record is kept, and nobody else notices."""

from __future__ import annotations

import pykka
import pytest
from crashing import RESTARTS, Touchy, touch
from pykka.messages import ProxyCall
from runtimes import PATIENCE
from services import service

from sessiond.actors.errors import Internal, InvalidTransition, NotFound, SessionEnded
from sessiond.actors.session import SessionActor


class Unheard(BaseException):
    """An exception that nobody has a rule for."""


ERRORS = [RuntimeError, SystemExit, KeyboardInterrupt, RecursionError, MemoryError, pykka.ActorDeadError, Unheard]

METHODS = {
    "get": lambda manager, session_id: manager.get_session(session_id),
    "touch": lambda manager, session_id: manager.touch_session(session_id),
    "update_state": lambda manager, session_id: manager.update_session_state(session_id, "held"),
    "amend": lambda manager, session_id: manager.update_session(session_id, caller="x"),
    "annotate": lambda manager, session_id: manager.update_session_metadata(session_id, {"a": 1}),
    "finish": lambda manager, session_id: manager.end_session(session_id),
}


def faulty(method, error=RuntimeError):
    """A session class whose ``method`` raises ``error``, in sessions of the type ``faulty``."""

    def crash(self, *args, **options):
        if self.record.type == "faulty":
            raise error("faulty")
        return getattr(super(Faulty, self), method)(*args, **options)

    class Faulty(SessionActor):
        pass

    setattr(Faulty, method, crash)
    return Faulty


@pytest.fixture
def manager():
    with service(Touchy) as running:
        yield running


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("by_ref", [False, True], ids=["without a ref", "with a ref"])
def test_a_crash_in_any_method_is_internal_and_touches_nobody_else(method, error, by_ref):
    """Whatever is raised: the session is there as it was, and so are its neighbour and the registry."""
    with service(faulty(method, error)) as manager:
        neighbour = manager.create(state="active")
        victim = manager.create(type="faulty", state="active", caller="a")
        if by_ref:
            manager.ref(victim)
        record = manager.context.directory.by_id[victim].record
        with pytest.raises(Internal):
            METHODS[method](manager, victim)
        assert manager.context.directory.by_id[victim].record == record
        assert manager.context.tally.restarts == {"session": 1}
        METHODS[method](manager, neighbour)
        assert manager.ping() == "pong"
        assert manager.given_up == []
        assert manager.count_sessions(type="faulty").count == 1


@pytest.mark.parametrize("error", ERRORS)
def test_a_crash_in_a_message_by_ref_is_internal(error):
    """The same for those who hold the session's ref and ask it themselves."""
    with service(faulty("touch", error)) as manager:
        session = manager.ref(manager.create(type="faulty"))
        with pytest.raises(Internal):
            session.proxy().touch().get(timeout=PATIENCE)
        assert not session.is_alive()


@pytest.mark.parametrize("error", ERRORS)
def test_a_crash_in_a_message_that_nobody_waits_for_is_a_crash(error):
    """A tell is no way around supervision."""
    with service(faulty("touch", error)) as manager:
        session_id = manager.create(type="faulty")
        session = manager.ref(session_id)
        session.tell(ProxyCall(("touch",), (), {}))
        assert session.actor_stopped.wait(PATIENCE)
        manager.settle()
        assert manager.context.tally.restarts == {"session": 1}
        assert manager.get(session_id).version == 1
        assert manager.ref(session_id).is_alive()


def test_an_unknown_method_of_a_session_is_a_crash_like_any_other(manager):
    """A bug in the program that embeds the service is contained too."""
    session_id = manager.create()
    with pytest.raises(Internal):
        manager.ref(session_id).ask(ProxyCall(("no_such_method",), (), {}), timeout=PATIENCE)
    assert manager.get(session_id).version == 1


def test_our_own_errors_are_no_crashes(manager):
    """They are answers: the actor goes on, and its ref stays good."""
    session_id = manager.create()
    session = manager.ref(session_id)
    for _ in range(2 * RESTARTS):
        with pytest.raises(InvalidTransition):
            session.proxy().update_state("held").get(timeout=PATIENCE)
    assert session.is_alive()
    assert manager.context.tally.restarts == {}


def test_the_last_record_and_all_that_belongs_to_it_are_kept(manager):
    """Version, times, timeouts, activity, address and request_id."""
    fields = {"state": "active", "gateway": "g", "external_id": "x", "idle_timeout": 50, "request_id": "r"}
    session_id = manager.create(**fields)
    manager.clock.advance(10)
    manager.update_session(session_id, caller="a")
    before = manager.get(session_id)
    manager.clock.advance(10)
    touch(manager, session_id)
    assert manager.get(session_id) == before
    assert manager.get_session({"gateway": "g", "external_id": "x"}) == before
    assert manager.create_session(type="sip", **fields).id == session_id
    manager.pass_time(40.5)
    assert manager.get(session_id).end_reason == "idle_timeout"


def test_what_was_adopted_before_the_crash_is_the_last_record(manager):
    """Records change by replacement, so there is no half of a change."""
    session_id = manager.create()
    with pytest.raises(Internal):
        manager.update_session_metadata(session_id, {"a": 1})
    session = manager.get(session_id)
    assert (session.metadata, session.version) == ({"a": 1}, 2)


def test_a_restart_makes_a_new_actor(manager):
    """Refs change; clients address sessions by id."""
    session_id = manager.create()
    before = manager.ref(session_id)
    touch(manager, session_id)
    after = manager.ref(session_id)
    assert not before.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        before.proxy()
    assert after.actor_urn != before.actor_urn
    assert after.proxy().get().get(timeout=PATIENCE).id == session_id


def test_one_crash_too_many_ends_the_session(manager):
    """Three restarts within 60 s, then it ends with the reason ``crashed``."""
    session_id = manager.create(state="active")
    for _ in range(RESTARTS + 1):
        assert manager.get(session_id).state == "active"
        touch(manager, session_id)
    session = manager.get(session_id)
    assert (session.state, session.end_reason, session.ended_by) == ("ended", "crashed", "service")
    assert manager.context.tally.ended == {("sip", "crashed"): 1}
    assert manager.context.tally.restarts == {"session": RESTARTS}
    with pytest.raises(SessionEnded):
        manager.touch_session(session_id)


def test_crashes_long_ago_do_not_count(manager):
    """The window of 60 s slides."""
    session_id = manager.create(state="active")
    for _ in range(5 * RESTARTS):
        touch(manager, session_id)
        manager.clock.advance(61 / RESTARTS)
    assert manager.get(session_id).state == "active"


def test_each_session_has_restarts_of_its_own(manager):
    first, second = manager.create(), manager.create()
    for _ in range(RESTARTS):
        touch(manager, first)
        touch(manager, second)
    assert {manager.get(first).state, manager.get(second).state} == {"initializing"}


@pytest.mark.parametrize("error", ERRORS)
def test_a_session_that_cannot_be_restarted_ends(error):
    """A constructor that crashes is not tried again."""

    class Stillborn(Touchy):
        born = False

        def __init__(self, *args):
            if Stillborn.born:
                raise error
            super().__init__(*args)

    with service(Stillborn) as manager:
        session_id = manager.create()
        Stillborn.born = True
        touch(manager, session_id)
        assert manager.get(session_id).end_reason == "crashed"


@pytest.mark.parametrize("error", ERRORS)
def test_a_session_that_cannot_be_started_was_never_there(error):
    """The create is answered as internal, leaves nothing behind, and may be repeated."""

    class Stillborn(SessionActor):
        doomed = True

        def __init__(self, *args):
            if Stillborn.doomed:
                raise error
            super().__init__(*args)

    with service(Stillborn) as manager:
        with pytest.raises(Internal):
            manager.create(external_id="x", request_id="r")
        assert manager.count_sessions(ended="any").count == 0
        with pytest.raises(NotFound):
            manager.get_session({"external_id": "x"})
        Stillborn.doomed = False
        assert manager.create_session(type="sip", external_id="x", request_id="r").created


def test_a_crash_before_the_first_message_is_one_of_that_session_only():
    """``on_start`` runs with the first message that comes by a ref; what waits then is answered all the same."""

    class Stillborn(SessionActor):
        def on_start(self):
            raise RuntimeError

    with service(Stillborn) as manager:
        session_id = manager.create()
        assert manager.ref(session_id).ask(ProxyCall(("get",), (), {}), timeout=PATIENCE).end_reason == "crashed"
        assert manager.create()
