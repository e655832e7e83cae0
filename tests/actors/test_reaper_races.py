"""The reaper and a session's messages: whoever is there first wins, and the reaper loses sight of nobody."""

from __future__ import annotations

import pytest
from runtimes import PATIENCE, Doer, held
from services import send

from sessiond.actors.context import TICK
from sessiond.actors.guard import Turn
from sessiond.actors.session import EndIfOverdue, SessionActor

SOON = 2 * TICK
"""A deadline is met within two ticks: one that it is filed under, and one between two sweeps."""


@pytest.fixture
def overdue(manager):
    """Sends messages, by ref, to a session whose end is pending: the reaper has looked, and told it so."""

    def send_before_the_end(state, *calls, **timeouts):
        session_id = manager.create(state=state, **timeouts)
        session = manager.ref(session_id)
        manager.clock.advance(30.5)
        busy = Doer.start(manager.dispatcher)
        with held(busy):
            swept = send(manager.reaper, "sweep")
            for method, *args in calls:
                send(session, method, *args)
        assert swept.get(timeout=PATIENCE) is True
        manager.settle()
        return session_id

    return send_before_the_end


def test_an_end_that_nothing_waits_for_is_an_end(manager, overdue):
    session_id = overdue("active", idle_timeout=30)
    assert manager.get(session_id).end_reason == "idle_timeout"


ACTIVITIES = [
    ("touch",),
    ("update_state", "held"),
    ("update_state", "ringing"),
    ("update_metadata", {"a": 1}),
    ("update",),
]


@pytest.mark.parametrize("activity", ACTIVITIES, ids=str)
def test_activity_that_waits_already_beats_a_pending_idle_end(manager, overdue, activity):
    session_id = overdue("active", activity, idle_timeout=30)
    session = manager.get(session_id)
    assert session.state != "ended"
    assert session.last_activity_at == manager.clock.wall


def test_an_answer_that_waits_already_beats_a_pending_setup_end(manager, overdue):
    session_id = overdue("ringing", ("update_state", "active"), setup_timeout=30)
    assert manager.get(session_id).state == "active"


def test_a_longer_timeout_that_waits_already_beats_a_pending_end(manager):
    session_id = manager.create(setup_timeout=30)
    session = manager.ref(session_id)
    manager.clock.advance(30.5)
    busy = Doer.start(manager.dispatcher)
    with held(busy):
        send(manager.reaper, "sweep")
        send(session, "update", setup_timeout=100)
    manager.settle()
    assert manager.get(session_id).state == "initializing"


def test_activity_does_not_beat_the_other_ends(manager, overdue):
    """Nothing extends the setup timeout and the maximum duration."""
    ringing = overdue("ringing", ("touch",), setup_timeout=30)
    active = overdue("active", ("touch",), max_duration=30)
    manager.pass_time(SOON)
    assert manager.get(ringing).end_reason == "setup_timeout"
    assert manager.get(active).end_reason == "max_duration"


def test_reading_does_not_beat_a_pending_end(manager, overdue):
    session_id = overdue("active", ("get",), ("get",), idle_timeout=30)
    manager.pass_time(SOON)
    assert manager.get(session_id).end_reason == "idle_timeout"


def test_an_end_that_waits_already_beats_a_pending_one(manager, overdue):
    """The gateway's own reason is the better one."""
    assert manager.get(overdue("active", ("end", "busy"), idle_timeout=30)).end_reason == "busy"


@pytest.mark.parametrize(
    ("state", "activity", "timeouts", "reason"),
    [
        ("active", ("touch",), {"idle_timeout": 30}, "idle_timeout"),
        ("ringing", ("update_state", "active"), {"setup_timeout": 30, "idle_timeout": 70}, "idle_timeout"),
        ("ringing", ("update_state", "active"), {"setup_timeout": 30, "max_duration": 70}, "max_duration"),
    ],
)
def test_a_session_that_beat_its_end_is_ended_the_next_time(manager, overdue, state, activity, timeouts, reason):
    """The reaper must not lose sight of it."""
    session_id = overdue(state, activity, **timeouts)
    assert manager.get(session_id).state == "active"
    manager.pass_time(71)
    assert manager.get(session_id).end_reason == reason


def test_a_session_that_was_touched_after_the_reapers_look_is_ended_the_next_time(manager):
    """Also when nothing waits any more by the time the session hears of it."""
    session_id = manager.create(state="active", idle_timeout=30)
    session = manager.ref(session_id)
    manager.clock.advance(30.5)
    reaper = manager.reaper.local()
    session.ask(Turn(lambda actor: (reaper.sweep(), actor.touch())), timeout=PATIENCE)
    manager.settle()
    assert manager.get(session_id).state == "active"
    manager.pass_time(30 + SOON)
    assert manager.get(session_id).end_reason == "idle_timeout"


@pytest.mark.parametrize("timeout", ["idle_timeout", "max_duration"])
def test_an_answer_may_bring_the_end_nearer(manager, timeout):
    """The reaper does not wait for the setup timeout to notice."""
    session_id = manager.create(setup_timeout=1000, **{timeout: 30})
    manager.update_session_state(session_id, "active")
    manager.pass_time(30 + SOON)
    assert manager.get(session_id).end_reason == timeout


def test_a_session_whose_mailbox_was_full_is_ended_the_next_time(manager):
    """Nor of one that was too busy to end."""
    session_id = manager.create(state="active", idle_timeout=30)
    session = manager.ref(session_id)
    manager.clock.advance(30.5)
    busy = Doer.start(manager.dispatcher)
    with held(busy):
        send(manager.reaper, "sweep")
        reads = [send(session, "get") for _ in range(SessionActor._capacity)]
    assert reads[-1].get(timeout=PATIENCE).id == session_id
    manager.pass_time(SOON)
    assert manager.get(session_id).end_reason == "idle_timeout"


def test_an_end_message_for_a_session_that_is_not_overdue_changes_nothing(manager):
    """The session itself decides."""
    session_id = manager.create()
    session = manager.ref(session_id)
    session.tell(EndIfOverdue())
    manager.settle()
    assert manager.get(session_id).version == 1
