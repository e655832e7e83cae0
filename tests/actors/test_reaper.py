"""The reaper: what is overdue ends, in time and a little at a time, whatever else goes wrong."""

from __future__ import annotations

import contextlib

import pytest
from services import service

from sessiond.actors.context import TICK
from sessiond.actors.errors import NotFound, SessiondError
from sessiond.actors.reaper import HASTE
from sessiond.actors.session import SessionActor

SOON = 2 * TICK
"""A deadline is met within two ticks: one that it is filed under, and one between two sweeps."""


@pytest.mark.parametrize(
    ("state", "timeout", "reason"),
    [
        ("initializing", "setup_timeout", "setup_timeout"),
        ("ringing", "setup_timeout", "setup_timeout"),
        ("active", "idle_timeout", "idle_timeout"),
        ("held", "idle_timeout", "idle_timeout"),
        ("active", "max_duration", "max_duration"),
        ("held", "max_duration", "max_duration"),
    ],
)
@pytest.mark.parametrize("by_ref", [False, True], ids=["without a ref", "with a ref"])
def test_what_is_overdue_ends_within_two_ticks_and_not_before(manager, state, timeout, reason, by_ref):
    """For the reason of its deadline, by the service."""
    session_id = manager.create(state=state, **{timeout: 30})
    if by_ref:
        manager.ref(session_id)
    manager.pass_time(30 - TICK)
    assert manager.get(session_id).state == state
    manager.pass_time(TICK + SOON)
    session = manager.get(session_id)
    assert (session.state, session.end_reason, session.ended_by) == ("ended", reason, "service")
    assert session.ended_at == manager.clock.wall
    assert session.last_activity_at == session.created_at


def test_the_reaper_winds_itself_up(manager):
    """Nobody has to tell it: a timer of a tenth of a second does, again and again."""
    session_id = manager.create(setup_timeout=1)
    for _ in range(15):
        assert manager.dispatcher.fire() == [TICK]
        manager.settle()
        manager.clock.advance(TICK)
    assert manager.get(session_id).state == "ended"


def test_sessions_end_in_the_order_of_their_deadlines(manager):
    """Also when all of them are late."""
    seconds = [50, 10, 40, 20, 30]
    ids = [manager.create(setup_timeout=timeout) for timeout in seconds]
    manager.pass_time(60)
    ended = [entry.record.id for entry in manager.context.retention._kept]
    assert ended == [ids[seconds.index(timeout)] for timeout in sorted(seconds)]


def test_only_so_many_end_in_one_sweep():
    """The rest is a backlog that anybody can see, and is swept at a faster pace."""
    with service(ends_per_second=1000) as manager:
        for _ in range(20):
            manager.create(setup_timeout=10)
        for passed, left in ((20, 10), (0.0055, 5), (0.0075, 0)):  # no more than ten, then as many as the time allows
            manager.clock.advance(passed)
            manager.dispatcher.fire()
            manager.settle()
            assert manager.count_sessions().count == manager.context.wheel.backlog == left
            assert [seconds for seconds, _ in manager.dispatcher.timers] == [HASTE if left else TICK]


def test_where_few_may_end_in_a_second_the_sweeps_are_further_apart():
    with service(ends_per_second=50) as manager:
        for _ in range(5):
            manager.create(setup_timeout=10)
        manager.clock.advance(20)
        manager.dispatcher.fire()
        manager.settle()
        assert manager.count_sessions().count == 3
        assert [seconds for seconds, _ in manager.dispatcher.timers] == [1 / 50]


@pytest.mark.parametrize("rate", [50, 250, 399, 590, 1000, 5000])
@pytest.mark.parametrize("late", [0.0, 0.001], ids=["in time", "late"])
def test_as_many_end_in_a_second_as_may(rate, late):
    """However few that are for one sweep, and however late the timers of the loop."""
    with service(ends_per_second=rate) as manager:
        for _ in range(2 * rate):
            manager.create(setup_timeout=10)
        manager.clock.advance(20)
        manager.dispatcher.fire()
        manager.settle()
        before, until = manager.count_sessions().count, manager.clock.wall + 1
        while manager.clock.wall < until:
            ((seconds, _),) = manager.dispatcher.timers
            manager.clock.advance(seconds + late)
            manager.dispatcher.fire()
            manager.settle()
        ended = before - manager.count_sessions().count
        assert 0.98 * rate <= ended <= 1.05 * rate


def test_only_so_many_are_forgotten_in_one_sweep():
    """Forgetting is work too; what is left over is swept at a faster pace."""
    with service(ends_per_second=50) as manager:
        for _ in range(5):
            manager.end_session(manager.create())
        manager.clock.advance(61)
        assert not manager.sweep()
        assert 0 < manager.count_sessions(ended=True).count < 5
        manager.pass_time(0)
        assert manager.count_sessions(ended=True).count == 0


def test_what_ended_meanwhile_is_passed_over(manager):
    """The wheel forgets nothing that was filed; the reaper finds it ended, or forgotten, and goes on."""
    ids = [manager.create(setup_timeout=10) for _ in range(3)]
    manager.end_session(ids[1], "busy")
    manager.pass_time(20)
    assert [manager.get(session_id).end_reason for session_id in ids] == ["setup_timeout", "busy", "setup_timeout"]


def test_a_touch_moves_the_end(manager):
    """However often."""
    session_id = manager.create(state="active", idle_timeout=30)
    for _ in range(5):
        manager.pass_time(29)
        manager.touch_session(session_id)
    manager.pass_time(29)
    assert manager.get(session_id).state == "active"
    manager.pass_time(1 + SOON)
    assert manager.get(session_id).end_reason == "idle_timeout"


@pytest.mark.parametrize("timeout", ["setup_timeout", "max_duration"])
def test_nothing_extends_the_other_timeouts(manager, timeout):
    session_id = manager.create(state="ringing" if timeout == "setup_timeout" else "active", **{timeout: 30})
    for _ in range(3):
        manager.pass_time(10)
        with contextlib.suppress(SessiondError):
            manager.touch_session(session_id)
            manager.update_session(session_id, caller="x")
    manager.pass_time(SOON)
    assert manager.get(session_id).end_reason == timeout


@pytest.mark.parametrize(
    ("timeout", "state"), [("setup_timeout", "ringing"), ("idle_timeout", "active"), ("max_duration", "held")]
)
def test_a_timeout_may_be_shortened(manager, timeout, state):
    """Even to one that is over."""
    session_id = manager.create(state=state, **{timeout: 1000})
    manager.pass_time(100)
    manager.update_session(session_id, **{timeout: 150})
    if timeout != "idle_timeout":  # the update was activity
        manager.pass_time(51)
    else:
        manager.pass_time(151)
    assert manager.get(session_id).end_reason == timeout


@pytest.mark.parametrize(
    ("timeout", "state"), [("setup_timeout", "ringing"), ("idle_timeout", "active"), ("max_duration", "held")]
)
def test_a_timeout_may_be_lengthened_or_taken_away(manager, timeout, state):
    longer, never = (manager.create(state=state, **{timeout: 10}) for _ in range(2))
    manager.update_session(longer, **{timeout: 1000})
    manager.update_session(never, **{timeout: 0})
    manager.pass_time(990)
    assert {manager.get(longer).state, manager.get(never).state} == {state}
    manager.pass_time(11)
    assert manager.get(longer).end_reason == timeout
    assert manager.get(never).state == state


def test_a_timeout_that_was_never_may_be_set(manager):
    """A session that the reaper did not know of is filed then."""
    session_id = manager.create(state="active", idle_timeout=0, max_duration=0)
    manager.pass_time(100_000)
    manager.update_session(session_id, max_duration=50)
    manager.pass_time(SOON)
    assert manager.get(session_id).end_reason == "max_duration"


def test_a_session_created_overdue_ends_at_once(manager):
    """Its gateway told of it too late."""
    session_id = manager.create(at=manager.clock.wall - 1000)
    manager.pass_time(SOON)
    assert manager.get(session_id).end_reason == "setup_timeout"


@pytest.mark.parametrize("step", [-1e6, 1e6])
def test_the_walls_clock_ends_nothing_and_keeps_nothing_alive(manager, step):
    session_id = manager.create(state="active", idle_timeout=30)
    manager.clock.step_wall(step)
    manager.pass_time(29)
    assert manager.get(session_id).state == "active"
    manager.pass_time(1 + SOON)
    assert manager.get(session_id).end_reason == "idle_timeout"


# The wheel's load


def filed(manager):
    """How many entries the wheel holds."""
    return sum(map(len, manager.context.wheel._buckets.values()))


def test_touches_and_updates_cost_the_wheel_nothing(manager):
    """A touch is one attribute store: no entry may be added for what only moves a deadline away, or not at all."""
    ringing = manager.create(setup_timeout=100.05)
    active = manager.create(state="active", idle_timeout=100.05, max_duration=200.05)
    before = filed(manager)
    for _ in range(10):
        for session_id in (ringing, active):
            manager.touch_session(session_id)
            manager.update_session(session_id, caller=str(_))
            manager.update_session_metadata(session_id, {"n": _})
        manager.clock.advance(1)
    assert filed(manager) == before


def test_a_session_is_filed_once_at_a_time(manager):
    """However its timeouts are changed, entries do not pile up for ever."""
    session_id = manager.create(state="active", idle_timeout=100)
    for number in range(20):
        manager.update_session(session_id, idle_timeout=10 + number % 2)
        manager.pass_time(5)
    assert filed(manager) <= 2


# Faulty sessions


@pytest.mark.parametrize("method", ["look", "end_if_overdue"])
@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
@pytest.mark.parametrize("by_ref", [False, True], ids=["without a ref", "with a ref"])
def test_a_session_that_crashes_under_the_reaper_keeps_nobody_else_alive(method, error, by_ref):
    """It is restarted, and ended when that does not help; the reaper goes on with the next one."""

    def crash(self, *args):
        if self.record.type == "faulty":
            raise error
        return getattr(super(Faulty, self), method)(*args)

    class Faulty(SessionActor):
        pass

    setattr(Faulty, method, crash)
    with service(Faulty) as manager:
        ids = [manager.create(type=kind, setup_timeout=10) for kind in ("sip", "faulty", "sip")]
        if by_ref:
            for session_id in ids:
                manager.ref(session_id)
        manager.clock.advance(11)
        for _ in range(10):
            manager.dispatcher.fire()
            manager.settle()
            manager.clock.advance(TICK)
        reasons = [manager.get(session_id).end_reason for session_id in ids]
        assert reasons == ["setup_timeout", "crashed", "setup_timeout"]
        assert manager.context.tally.restarts == {"session": 3}
        assert manager.given_up == []


def test_the_reaper_itself_is_restarted_with_backoff(manager, monkeypatch):
    """A bug in it delays the ends, and no more."""
    session_id = manager.create(setup_timeout=1)
    manager.clock.advance(2)

    def crash(_):
        raise RuntimeError

    monkeypatch.setattr(manager.context.wheel, "due", crash)
    manager.dispatcher.fire()
    manager.settle()
    monkeypatch.undo()
    assert manager.context.tally.restarts == {"reaper": 1}
    for _ in range(3):  # the backoff, then a tick
        manager.dispatcher.fire()
        manager.settle()
    assert manager.get(session_id).end_reason == "setup_timeout"


def test_a_forgotten_session_is_unknown_to_the_wheel_too(manager):
    """Entries that are left of it do no harm."""
    session_id = manager.create(setup_timeout=500)
    manager.end_session(session_id)
    manager.pass_time(100)
    manager.pass_time(500)
    with pytest.raises(NotFound):
        manager.get(session_id)
    assert filed(manager) == manager.context.wheel.backlog == 0


def test_a_deadline_that_is_changed_for_ever_is_filed_once(manager):
    """However far off: what is filed stays until its time comes, and would else be a way to fill the memory."""
    session_id = manager.create(setup_timeout=1e9)
    for less in range(1, 50):
        manager.update_session(session_id, setup_timeout=1e9 - less)
    assert len(manager.context.wheel._buckets) == 1
