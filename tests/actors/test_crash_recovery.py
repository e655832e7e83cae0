"""After a crash: what waits is done by the successor, the log stays readable and memory flat."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading

import pytest
from crashing import RESTARTS, Touchy, touch
from pykka.messages import ProxyCall
from runtimes import PATIENCE, collector_off
from services import send, service

from sessiond.actors.errors import Internal, SessionEnded
from sessiond.actors.session import EndIfOverdue


@pytest.fixture
def manager():
    with service(Touchy) as running:
        yield running


class Gated(Touchy):
    """Stays in a turn as long as a test wants."""

    def __init__(self, *args):
        super().__init__(*args)
        self._entered, self._released = threading.Event(), threading.Event()

    def hold(self):
        self._entered.set()
        assert self._released.wait(PATIENCE)

    def hold_and_crash(self):
        self.hold()
        raise RuntimeError


@pytest.fixture
def gated():
    """A service, a session of it, that session's actor and its ref."""
    with service(Gated) as manager:
        session_id = manager.create(state="active")
        ref = manager.ref(session_id)
        yield manager, session_id, ref.local(), ref


def crash_while(actor, ref, act):
    """Have the actor crash in a turn during which ``act`` was done; what ``act`` returned."""
    crash = send(ref, "hold_and_crash")
    assert actor._entered.wait(PATIENCE)
    done = act()
    actor._released.set()
    with pytest.raises(Internal):
        crash.get(timeout=PATIENCE)
    return done


def test_what_waits_during_a_crash_is_done_by_the_successor(gated):
    """In the order in which it came."""
    manager, session_id, actor, ref = gated
    waiting = crash_while(
        actor, ref, lambda: [send(ref, "update_state", "held"), send(ref, "update_state", "active"), send(ref, "get")]
    )
    assert [reply.get(timeout=PATIENCE).version for reply in waiting] == [2, 3, 3]
    assert manager.get(session_id).version == 3


def test_what_waits_for_a_session_that_ends_is_answered_by_its_last_record(gated):
    """As if it had come after the end."""
    manager, session_id, actor, ref = gated
    for _ in range(RESTARTS):
        touch(manager, session_id)
    ref = manager.ref(session_id)
    actor = ref.local()
    read, ended, set_ended, stopped, *refused, wrong, unheard = crash_while(
        actor,
        ref,
        lambda: [
            send(ref, "get"),
            send(ref, "end"),
            send(ref, "update_state", "ended"),
            ref.stop(block=False),
            send(ref, "touch"),
            send(ref, "update_state", "held"),
            send(ref, "update_metadata", {"a": 1}),
            ref.ask(ProxyCall(("update",), (), {"caller": "x"}), block=False),
            send(ref, "no_such_method", 1, 2, 3),
            ref.ask("anything", block=False),
            send(ref, "get", "too", "many", "arguments"),
            ref.tell(ProxyCall(("touch",), (), {})),
        ],
    )
    assert unheard is None
    assert read.get(timeout=PATIENCE).end_reason == "crashed"
    assert ended.get(timeout=PATIENCE).version == set_ended.get(timeout=PATIENCE).version == 2
    assert stopped.get(timeout=PATIENCE) is True
    for reply in refused:
        with pytest.raises(SessionEnded):
            reply.get(timeout=PATIENCE)
    with pytest.raises(Internal):
        wrong.get(timeout=PATIENCE)


def test_a_stop_that_waits_during_a_crash_is_not_lost(gated):
    """An administrator's end ends the successor."""
    manager, session_id, actor, ref = gated
    stopped = crash_while(actor, ref, lambda: ref.stop(block=False))
    assert stopped.get(timeout=PATIENCE) is True
    manager.settle()
    assert manager.get(session_id).end_reason == "admin"


def test_a_request_that_waits_behind_a_crash_is_done_by_the_successor(gated):
    """By the registry as well as by ref."""
    manager, session_id, actor, ref = gated

    def update():
        return manager.registry.ask(ProxyCall(("update_session_state",), (session_id, "held"), {}), block=False)

    assert crash_while(actor, ref, update).get(timeout=PATIENCE).version == 2


def test_a_crash_with_a_full_mailbox_loses_nothing(gated):
    """What waited for the crashed actor is never too much for its successor."""
    manager, session_id, actor, ref = gated

    def fill():
        for _ in range(1000):
            ref.tell(ProxyCall(("get",), (), {}))
        ref.tell(EndIfOverdue())
        return ref.ask(EndIfOverdue(), block=False)

    last = crash_while(actor, ref, fill)
    assert last.get(timeout=PATIENCE) is None
    manager.settle()
    assert manager.get(session_id).state == "active"
    assert manager.ref(session_id).ask(ProxyCall(("get",), (), {}), timeout=PATIENCE).version == 1


# Logging and memory


def test_crashes_are_logged_with_their_session_and_traceback(manager, caplog):
    session_id = manager.create()
    touch(manager, session_id)
    (logged,) = caplog.records
    assert session_id in logged.getMessage()
    assert logged.levelno == logging.ERROR
    assert logged.exc_info[0] is RuntimeError


def test_a_storm_of_crashes_is_logged_at_a_limited_rate(manager, caplog):
    """Ten tracebacks in ten seconds; the next one tells how many crashes went unlogged."""
    for _ in range(10):
        session_id = manager.create()
        for _ in range(RESTARTS):
            touch(manager, session_id)
    assert len(caplog.records) == 10
    manager.clock.advance(10)
    touch(manager, session_id)
    assert "20 more" in caplog.records[-1].getMessage()


def storm(manager, crashes):
    """So many crashing requests, to sessions that end of them and to one that survives."""
    survivor = manager.create(setup_timeout=0)
    for number in range(crashes // (2 * RESTARTS + 1)):
        victim = manager.create(request_id=str(number))
        for session_id in [victim] * (RESTARTS + 1) + [survivor] * RESTARTS:
            with contextlib.suppress(Internal):
                manager.touch_session(session_id)
        manager.clock.advance(60)
        manager.sweep()
    assert manager.get(victim).end_reason == "crashed"
    assert manager.get(survivor).state == "initializing"


def test_a_storm_of_crashes_leaves_memory_flat():
    """A hundred thousand crashing requests, and reference counting alone keeps memory where it was."""
    with service(Touchy, retention=600, max_retained=100) as manager, collector_off():
        storm(manager, 50_000)
        before = sys.getallocatedblocks()
        storm(manager, 50_000)
        grown = sys.getallocatedblocks() - before
        assert manager.context.tally.restarts["session"] > 80_000
    assert grown < 10_000
