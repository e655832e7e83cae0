"""Sessions as Pykka actors: refs, proxies, stops, what waits in their mailboxes, and what is left of them."""

from __future__ import annotations

import contextlib
import weakref

import pykka
import pytest
from pykka.messages import ProxyCall
from runtimes import PATIENCE, Doer, collector_off, held
from services import send, service

from sessiond.actors.errors import Internal, InvalidRequest, NotFound, Overloaded, SessiondError, SessionEnded
from sessiond.actors.session import SessionActor


@contextlib.contextmanager
def dispatcher_held(manager):
    """Keep the dispatcher in somebody else's turn: what is sent meanwhile waits."""
    busy = Doer.start(manager.dispatcher)
    with held(busy):
        yield
    busy.stop()


# By ref and by proxy


def test_a_session_answers_by_its_ref(manager):
    """Every method of the session, as the registry's of the same meaning."""
    session_id = manager.create(state="active")
    session = manager.ref(session_id).proxy()
    assert session.get().get(timeout=PATIENCE) == manager.get(session_id)
    assert session.touch().get(timeout=PATIENCE).version == 1
    assert session.update_state("held", if_version=1).get(timeout=PATIENCE).version == 2
    assert session.update(caller="a", if_version=2).get(timeout=PATIENCE).version == 3
    assert session.update_metadata({"a": 1}, if_version=3).get(timeout=PATIENCE).version == 4
    manager.clock.advance(4)
    assert session.end("busy", ended_by="callee", if_version=4).get(timeout=PATIENCE).duration == 4
    assert manager.get(session_id).end_reason == "busy"


@pytest.mark.parametrize(
    ("method", "args", "options", "field"),
    [
        ("update_state", ("dialing",), {}, "state"),
        ("update_state", (5,), {}, "state"),
        ("update_state", ("held",), {"at": "now"}, "at"),
        ("update_state", ("ended",), {"at": -1}, "at"),
        ("update_state", ("held",), {"if_version": "1"}, "if_version"),
        ("update", (), {"colour": "red"}, "colour"),
        ("update", (), {"caller": 5}, "caller"),
        ("update", (), {"if_version": 0, "caller": "x"}, "if_version"),
        ("update_metadata", ({"a": []},), {}, "metadata"),
        ("update_metadata", (5,), {}, "metadata"),
        ("update_metadata", ({},), {"if_version": "1"}, "if_version"),
        ("end", ("crashed",), {}, "reason"),
        ("end", (5,), {}, "reason"),
        ("end", (), {"sip_code": 99}, "sip_code"),
        ("end", (), {"if_version": "1"}, "if_version"),
    ],
)
def test_arguments_by_ref_are_checked(manager, method, args, options, field):
    """The ref is a way in like any other."""
    session_id = manager.create(state="active")
    with pytest.raises(InvalidRequest) as caught:
        send(manager.ref(session_id), method, *args, **options).get(timeout=PATIENCE)
    assert caught.value.details["field"] == field
    assert manager.get(session_id).version == 1


def test_a_ref_stays_the_same_while_its_actor_lives(manager):
    session_id = manager.create()
    assert manager.ref(session_id) is manager.ref(session_id)


def test_replies_of_sessions_can_be_gathered(manager):
    """By Pykka's own functions for futures."""
    refs = [manager.ref(manager.create()) for _ in range(5)]
    updates = pykka.get_all([send(ref, "touch") for ref in refs], timeout=PATIENCE)
    assert [update.version for update in updates] == [1] * 5


def test_sessions_are_not_in_pykkas_registry(manager):
    """Which is a list, and would take milliseconds to leave."""
    manager.ref(manager.create())
    assert not pykka.ActorRegistry.get_by_class(SessionActor)


def test_a_session_that_nobody_asked_for_by_ref_has_no_mailbox(manager):
    """Most never need one."""
    session_id = manager.create(state="active")
    manager.touch_session(session_id)
    manager.update_session_state(session_id, "held")
    assert manager.context.directory.by_id[session_id]._ref is None


# What waits


def test_what_the_registry_does_to_a_session_queues_up_behind_what_waits_there(manager):
    """The registry's turn comes first here, and the session's messages are older when it does."""
    session_id = manager.create(state="active")
    session = manager.ref(session_id)
    with dispatcher_held(manager):
        through_registry = [
            send(manager.registry, "update_session", session_id, caller="x"),
            send(manager.registry, "end_session", session_id),
        ]
        by_ref = [send(session, "update_state", "held"), send(session, "update_state", "active")]
    assert [reply.get(timeout=PATIENCE).version for reply in (*by_ref, *through_registry)] == [2, 3, 4, 5]


def test_an_error_of_what_waited_reaches_its_asker(manager):
    session_id = manager.create(state="active")
    session = manager.ref(session_id)
    with dispatcher_held(manager):
        late = send(manager.registry, "touch_session", session_id)
        send(session, "end")
    with pytest.raises(SessionEnded):
        late.get(timeout=PATIENCE)


def test_what_waits_for_a_session_that_is_not_even_kept_is_not_found():
    """As if it had come after the end."""
    with service(max_retained=0) as manager:
        session = manager.ref(manager.create())
        with dispatcher_held(manager):
            send(session, "end")
            late = send(session, "touch")
        with pytest.raises(NotFound):
            late.get(timeout=PATIENCE)


def test_a_full_mailbox_is_overloaded_and_can_still_be_stopped(manager):
    """Asks, tells and requests through the registry are refused; an administrator's stop goes ahead of all."""
    session_id = manager.create()
    session = manager.ref(session_id)
    touch = ProxyCall(("touch",), (), {})
    with dispatcher_held(manager):
        refused = send(manager.registry, "touch_session", session_id)
        waiting = [session.ask(touch, block=False) for _ in range(SessionActor._capacity)]
        with pytest.raises(Overloaded):
            session.tell(touch)
        with pytest.raises(Overloaded):
            session.ask(touch, timeout=PATIENCE)
        stopped = session.stop(block=False)
    with pytest.raises(Overloaded):
        refused.get(timeout=PATIENCE)
    assert stopped.get(timeout=PATIENCE) is True
    assert manager.get(session_id).end_reason == "admin"
    for reply in waiting:
        with pytest.raises(SessionEnded):
            reply.get(timeout=PATIENCE)


# Stops


def test_stopping_a_session_by_its_ref_ends_it_as_admin(manager):
    """Whoever holds a ref is in charge."""
    session_id = manager.create(state="active")
    session = manager.ref(session_id)
    manager.clock.advance(9)
    assert session.stop() is True
    ended = manager.get(session_id)
    assert (ended.state, ended.end_reason, ended.ended_by, ended.duration) == ("ended", "admin", "admin", 9)
    assert session.stop() is False
    assert manager.context.tally.ended == {("sip", "admin"): 1}


def test_stopping_a_session_that_has_ended_changes_nothing(manager):
    session_id = manager.create()
    session = manager.ref(session_id)
    manager.end_session(session_id, "busy")
    assert session.stop() is False
    assert manager.get(session_id).end_reason == "busy"


def test_a_session_may_stop_itself():
    class Hasty(SessionActor):
        def touch(self):
            self.stop()
            return super().touch()

    with service(Hasty) as manager:
        session_id = manager.create()
        assert manager.touch_session(session_id).version == 1
        manager.settle()
        assert manager.get(session_id).end_reason == "admin"


def test_stopping_the_service_ends_no_session():
    """Their refs die; in a process that goes on they are as they were."""
    with service() as manager:
        ids = [manager.create(state="active") for _ in range(3)]
        refs = [manager.ref(session_id) for session_id in ids[:2]]
        directory = manager.context.directory
        assert manager.registry.stop() is True
        assert [directory.by_id[session_id].record.state for session_id in ids] == ["active"] * 3
        assert manager.context.tally.ended == {}
        for ref in refs:
            assert not ref.is_alive()
            with pytest.raises(pykka.ActorDeadError):
                ref.ask(ProxyCall(("touch",), (), {}), timeout=PATIENCE)
            assert ref.stop() is False
        with pytest.raises(pykka.ActorDeadError):
            manager.ping()


def test_stopping_the_service_answers_what_waits():
    """Nobody waits for ever for a service that is gone."""
    with service() as manager:
        session = manager.ref(manager.create())
        with dispatcher_held(manager):
            manager.registry.stop(block=False)
            late = send(session, "touch")
            later = send(manager.registry, "ping")
        for reply in (late, later):
            with pytest.raises(pykka.ActorDeadError):
                reply.get(timeout=PATIENCE)


def test_stopping_the_service_stops_its_actors():
    with service() as manager:
        refs = (manager.registry, manager.surveyor, manager.reaper)
        manager.registry.stop()
        manager.settle()
        assert not any(ref.is_alive() for ref in refs)
        manager.dispatcher.fire()  # the reaper's timer finds nobody, and says nothing


# What is left


class Boastful(SessionActor):
    """Asks for its own ref in its turns, as one that logs its name would."""

    def finish(self, *args):
        assert str(self)
        return super().finish(*args)

    def touch(self):
        assert str(self)
        raise RuntimeError


def end(manager, session_id):
    manager.end_session(session_id)


def end_by_ref(manager, session_id):
    manager.ref(session_id).proxy().end().get(timeout=PATIENCE)


def stop(manager, session_id):
    manager.ref(session_id).stop()


def expire(manager, session_id):
    manager.pass_time(10_000)


def crash(manager, session_id):
    while manager.get(session_id).state != "ended":
        with pytest.raises(Internal):
            manager.touch_session(session_id)


def nothing(manager, session_id):
    pass


def be_asked_by_ref(manager, session_id):
    manager.ref(session_id).proxy().get().get(timeout=PATIENCE)


def be_asked_in_vain(manager, session_id):
    session = manager.ref(session_id)
    for message in (ProxyCall(("update_state",), ("initializing",), {}), ProxyCall(("update",), (), {"caller": 5})):
        with pytest.raises(SessiondError):
            session.ask(message, timeout=PATIENCE)
        with pytest.raises(SessiondError):
            session.ask(message, block=False).get(timeout=PATIENCE)
    with pytest.raises(SessiondError):
        manager.update_session(session_id, caller="x", if_version=9)


def crash_by_ref(manager, session_id):
    with pytest.raises(Internal):
        manager.ref(session_id).proxy().touch().get(timeout=PATIENCE)


def crash_by_id(manager, session_id):
    with pytest.raises(Internal):
        manager.touch_session(session_id)


@pytest.mark.parametrize("finally_", [end, end_by_ref, stop, expire, crash], ids=lambda act: act.__name__)
@pytest.mark.parametrize(
    "before", [nothing, be_asked_by_ref, be_asked_in_vain, crash_by_ref, crash_by_id], ids=lambda act: act.__name__
)
def test_an_ended_session_is_freed_by_reference_counting_alone(before, finally_):
    """Whatever it went through: only its record stays, and the cyclic collector has nothing to do."""
    with service(Boastful) as manager, collector_off():
        session_id = manager.create(state="active")
        actors = [weakref.ref(manager.context.directory.by_id[session_id])]
        before(manager, session_id)
        actors.append(weakref.ref(manager.context.directory.by_id[session_id]))
        finally_(manager, session_id)
        manager.settle()
        assert [actor() for actor in actors] == [None, None]


def test_a_stopped_service_leaves_its_sessions_to_reference_counting_too():
    """Once nobody holds its books any more."""
    with collector_off():
        with service() as manager:
            session_id = manager.create()
            manager.ref(session_id)
            actor = weakref.ref(manager.context.directory.by_id[session_id])
        manager.context.directory.by_id.clear()
        manager.context.directory.table.remove(1)
        assert actor() is None
