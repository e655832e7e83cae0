"""Watching in process: an actor or a function is told of every change, and nobody pays where nobody watches."""

from __future__ import annotations

import pykka
import pytest
from crashing import Touchy, touch
from pykka.messages import ProxyCall
from runtimes import Doer
from services import service

from sessiond.actors import herald
from sessiond.actors.errors import Internal, InvalidRequest, LimitExceeded, NotFound
from sessiond.actors.events import GatewayChanged, SessionChanged, WatchDropped, WatchReady
from sessiond.actors.herald import TICK
from sessiond.actors.mirror import Mirror
from sessiond.actors.params import WatchQuery
from sessiond.actors.settings import WatchSettings

WATCHING = WatchSettings(history=50, keep=300, backlog=10, patience=5)


@pytest.fixture
def manager():
    with service(watching=WATCHING) as running:
        yield running


def watch(manager, **query):
    """The events that a new watch tells, as they come, and its answer."""
    told = []
    answer = manager.watch(told.append, **query)
    manager.settle()
    return told, answer


def pass_seconds(manager, seconds):
    """Let time pass for the herald, which looks around every second."""
    for _ in range(seconds):
        manager.clock.advance(TICK)
        manager.dispatcher.fire()
        manager.settle()


def changes(told):
    return [(event.session.state, event.matches) for event in told if isinstance(event, SessionChanged)]


# What is told


def test_a_watch_begins_with_what_there_is(manager):
    ids = {manager.create() for _ in range(3)}
    told, answer = watch(manager)
    *shown, ready = told
    assert {event.session.id for event in shown} == ids
    assert shown[0].session == manager.get(shown[0].session.id)
    assert ready == WatchReady(answer.watch, answer.number)
    assert (answer.instance, answer.gap) == (manager.context.instance, False)


def test_every_change_is_told_in_order(manager):
    told, answer = watch(manager, snapshot=False)
    session_id = manager.create()
    manager.update_session_state(session_id, "ringing")
    manager.update_session_metadata(session_id, {"codec": "opus"})
    manager.update_session(session_id, callee="+1")
    manager.touch_session(session_id)
    manager.update_session_state(session_id, "ringing")
    manager.update_session(session_id, idle_timeout=9)
    manager.update_session_state(session_id, "active")
    seen = manager.get(session_id)
    manager.end_session(session_id)
    manager.settle()
    assert [event.session.version for event in told] == [1, 2, 3, 4, 5, 6, 7]
    assert [event.number - answer.number for event in told] == [1, 2, 3, 4, 5, 6, 7]
    assert told[-2].session == seen
    assert told[-1].session == manager.get(session_id)
    assert [event.matches for event in told] == [True] * 6 + [False]


def test_the_ends_of_the_service_are_told(manager):
    told, _ = watch(manager)
    manager.create(setup_timeout=10)
    stopped = manager.create()
    manager.ref(stopped).stop()
    manager.pass_time(11)
    assert [event.session.end_reason for event in told[3:]] == ["admin", "setup_timeout"]


def test_what_crashes_is_told_as_it_was_kept():
    with service(Touchy, watching=WATCHING) as manager:
        told, _ = watch(manager)
        session_id = manager.create()
        with pytest.raises(Internal):
            manager.update_session_metadata(session_id, {"codec": "opus"})
        for _ in range(3):
            touch(manager, session_id)
        manager.settle()
        assert [(event.session.version, event.session.end_reason) for event in told[1:]] == [
            (1, None),
            (2, None),
            (3, "crashed"),
        ]


def test_an_actor_is_told(manager):
    class Listener(Doer):
        def on_receive(self, message):
            self.note(message) if isinstance(message, SessionChanged) else None
            return message(self) if callable(message) else None

    listener = Listener.start(manager.dispatcher)
    manager.watch(listener, snapshot=False)
    manager.create()
    manager.settle()
    noted = listener.ask(lambda actor: actor.noted)
    assert changes(noted) == [("initializing", True)]
    listener.stop()


def test_no_more_is_told_after_the_end_of_a_watch(manager):
    told, answer = watch(manager)
    manager.unwatch(answer.watch)
    manager.create()
    manager.settle()
    assert changes(told) == []
    with pytest.raises(NotFound):
        manager.unwatch(answer.watch)


def test_an_actor_that_has_stopped_watches_no_more(manager):
    listener = Doer.start(manager.dispatcher)
    manager.watch(listener, snapshot=False)
    listener.stop()
    manager.create()
    manager.settle()
    assert manager.context.tally.watchers == 0
    assert not manager.context.tally.watchers_dropped


@pytest.mark.parametrize("query", [{"suspect": True}, {"state": "ended"}, {"since": 1}, {"typ": "sip"}])
def test_a_wrong_query_is_refused_and_begins_nothing(manager, query):
    with pytest.raises(InvalidRequest):
        watch(manager, **query)
    assert manager.context.recording is None


def test_there_are_so_many_watches(manager, monkeypatch):
    monkeypatch.setattr(herald, "MAX_WATCHES", 2)
    _, first = watch(manager)
    watch(manager)
    with pytest.raises(LimitExceeded) as caught:
        watch(manager)
    assert caught.value.details == {"limit": "watches", "maximum": 2}
    manager.unwatch(first.watch)
    watch(manager)
    assert manager.context.tally.watchers == 2


def test_gateways_that_come_and_go_are_told(manager):
    told, _ = watch(manager)
    manager.register_gateway("gw", epoch="e1", lease=10)
    held = manager.create(gateway="gw")
    pass_seconds(manager, 11)
    assert manager.get(held).suspect
    manager.heartbeat_gateway("gw", epoch="e1")
    pass_seconds(manager, 11)
    manager.register_gateway("gw", epoch="e1")
    manager.settle()
    gateways = [event for event in told if isinstance(event, GatewayChanged)]
    assert [(event.gateway, event.epoch, event.state) for event in gateways] == [
        ("gw", "e1", state) for state in ("live", "lost", "live", "lost", "live")
    ]
    manager.register_gateway("gw", epoch="e1")
    manager.settle()
    assert told[-1] is gateways[-1]


# Coming back


def test_whoever_comes_back_is_told_what_it_missed(manager):
    told, answer = watch(manager)
    manager.unwatch(answer.watch)
    missed = manager.create()
    manager.settle()
    told, again = watch(manager, since=answer.number, instance=answer.instance)
    assert (again.gap, again.number) == (False, answer.number)
    assert [(event.number, event.session.id) for event in told] == [(answer.number + 1, missed)]


@pytest.mark.parametrize("what", ["another instance", "a number to come", "too many changes", "a pause"])
def test_what_cannot_be_had_any_more_is_a_gap(manager, what):
    _, answer = watch(manager)
    session_id = manager.create(state="active")
    since, instance = answer.number, answer.instance
    if what == "another instance":
        instance = "of yesterday"
    elif what == "a number to come":
        since += 2
    elif what == "too many changes":
        for state in ["held", "active"] * (WATCHING.history // 2):
            manager.update_session_state(session_id, state)
    else:
        manager.unwatch(answer.watch)
        pass_seconds(manager, int(WATCHING.keep) + 1)
    told, again = watch(manager, since=since, instance=instance)
    assert again.gap
    assert again.number == manager.context.changes.last
    assert [event.session.id for event in told[:-1]] == [session_id]
    assert told[-1] == WatchReady(again.watch, again.number)
    only_changes, third = watch(manager, since=since, instance=instance, snapshot=False)
    assert (third.gap, only_changes) == (True, [])


# Nobody watches


def test_nothing_is_recorded_before_the_first_watch(manager):
    manager.create()
    assert (len(manager.context.changes), manager.context.recording) == (0, None)


def test_recording_ends_a_while_after_the_last_watcher_has_left(manager):
    _, answer = watch(manager)
    manager.create(setup_timeout=0)
    manager.unwatch(answer.watch)
    pass_seconds(manager, int(WATCHING.keep) - 1)
    assert len(manager.context.changes) == 1
    pass_seconds(manager, 2)
    assert (len(manager.context.changes), manager.context.recording) == (0, None)
    assert manager.dispatcher.fire() == [pytest.approx(0.1)]  # the reaper's timer, and no other


def test_it_does_not_end_while_somebody_watches(manager):
    _, answer = watch(manager)
    pass_seconds(manager, int(WATCHING.keep) - 1)
    watch(manager)
    manager.unwatch(answer.watch)
    pass_seconds(manager, int(WATCHING.keep) + 5)
    assert manager.context.recording is not None


def test_memory_is_bounded(manager):
    watch(manager)
    session_id = manager.create(state="active")
    for state in ["held", "active"] * 100:
        manager.update_session_state(session_id, state)
    assert len(manager.context.changes) == WATCHING.history


# Slow watchers


class Slow:
    """Takes nothing while it is full."""

    encodes = False

    def __init__(self):
        self.is_ready = True
        self.told = []

    def tell(self, event):
        self.told.append(event)

    def flush(self):
        pass


@pytest.fixture
def slow(manager):
    audience = Slow()
    herald = manager.registry.local().herald
    audience.watch = herald.watch(WatchQuery(), audience)
    manager.settle()
    audience.told.clear()
    return audience


def test_a_watcher_that_takes_nothing_waits_in_the_log(manager, slow):
    slow.is_ready = False
    session_id = manager.create()
    manager.settle()
    assert slow.told == []
    slow.is_ready = True
    pass_seconds(manager, 1)
    assert [event.session.id for event in slow.told] == [session_id]


def test_a_watcher_that_falls_behind_is_told_and_dropped_and_others_lose_nothing(manager, slow):
    told, _ = watch(manager)
    slow.is_ready = False
    number = manager.context.changes.last
    for _ in range(WATCHING.backlog + 1):
        manager.create()
        manager.settle()
    assert slow.told == [WatchDropped(slow.watch.watch, number, "behind")]
    assert len(changes(told)) == WATCHING.backlog + 1
    assert manager.context.tally.watchers_dropped == {"behind": 1}
    manager.create()
    manager.settle()
    assert len(slow.told) == 1
    _, again = watch(manager, since=number, instance=slow.watch.instance)
    assert not again.gap


def test_a_watcher_that_takes_nothing_for_too_long_is_told_and_dropped(manager, slow):
    slow.is_ready = False
    pass_seconds(manager, int(WATCHING.patience) * 2)
    assert slow.told == []
    number = manager.context.changes.last
    manager.create()
    manager.settle()
    pass_seconds(manager, int(WATCHING.patience) - 1)
    assert slow.told == []
    pass_seconds(manager, 1)
    assert slow.told == [WatchDropped(slow.watch.watch, number, "stalled")]


def test_a_watcher_dropped_in_its_snapshot_has_no_number_to_go_on_from(manager, slow):
    for _ in range(100):
        manager.create()
    half = Slow()
    half.is_ready = False
    manager.registry.local().herald.watch(WatchQuery(), half)
    manager.settle()
    pass_seconds(manager, int(WATCHING.patience) + 1)
    assert [event.number for event in half.told] == [None]


def test_a_watcher_that_is_overtaken_by_the_log_is_dropped(manager, slow):
    slow.is_ready = False
    manager.context.watching = None
    manager.registry.local().herald._settings = WatchSettings(backlog=1000)
    for _ in range(WATCHING.history + 1):
        manager.create()
    manager.settle()
    assert [event.reason for event in slow.told] == ["behind"]


def test_a_function_that_crashes_is_told_no_more(manager, caplog):
    def fail(_):
        raise RuntimeError

    manager.watch(fail)
    told, _ = watch(manager)
    manager.create()
    manager.settle()
    assert len(changes(told)) == 1
    assert manager.context.tally.watchers_dropped == {"crashed": 1}
    assert "Crash in herald" in caplog.text


def test_a_full_mailbox_holds_the_news_back(manager):
    class Crowded(Doer):
        _capacity = 4

        def on_receive(self, message):
            return message(self) if callable(message) else self.note(message)

    listener = Crowded.start(manager.dispatcher)
    manager.watch(listener, snapshot=False)
    with manager.dispatcher._turn:  # nothing runs, so that everything is told in one turn afterwards
        created = [manager.registry.ask(_create(), block=False) for _ in range(9)]
    pykka.get_all(created)
    for _ in range(9):
        manager.settle()
        pass_seconds(manager, 1)
    numbers = [event.number for event in listener.ask(lambda actor: actor.noted)]
    assert numbers == list(range(numbers[0], numbers[0] + 9))
    listener.stop()


def _create():
    return ProxyCall(("create_session",), (), {"type": "sip"})


# The herald itself


def test_many_watchers_and_many_changes_are_told_in_bounded_turns(manager, monkeypatch):
    monkeypatch.setattr(herald, "STEP_BUDGET", 8)
    mirrors = [Mirror() for _ in range(5)]
    for mirror in mirrors:
        manager.watch(mirror.apply)
    manager.settle()
    ids = {manager.create() for _ in range(40)}
    manager.settle()
    assert [set(mirror.sessions) for mirror in mirrors] == [ids] * 5
    assert manager.context.tally.notifications == 5 * 41


def test_what_is_asked_meanwhile_is_answered_between_the_steps(manager):
    """A thousand sessions are told of, and nobody waits for all of that."""
    for _ in range(1000):
        manager.create()
    told, answered_after = [], []

    def tell(event):
        told.append(event)
        if len(told) == 1:
            pong = manager.registry.ask(ProxyCall(("ping",), (), {}), block=False)
            pong.add_done_callback(lambda: answered_after.append(len(told)))

    manager.watch(tell)
    manager.settle()
    assert len(told) == 1001
    assert answered_after[0] < 100


def test_a_crash_of_the_herald_loses_nothing(manager, monkeypatch):
    told, _ = watch(manager)
    actor = manager.registry.local().herald
    pump, crashes = actor._pump, [RuntimeError()]

    def fail():
        if crashes:
            raise crashes.pop()
        pump()

    monkeypatch.setattr(actor, "_pump", fail)
    manager.create()
    manager.settle()
    assert changes(told) == []
    manager.dispatcher.fire()
    manager.settle()
    assert changes(told) == [("initializing", True)]
    manager.create()
    manager.settle()
    assert len(changes(told)) == 2


def test_a_watcher_that_leaves_and_then_crashes_is_gone_once(manager):
    """And nobody else is disturbed."""
    told, _ = watch(manager)
    herald = manager.registry.local().herald

    def leave_and_crash(event):
        herald.unwatch(answer.watch)
        raise LookupError(event)

    answer = manager.watch(leave_and_crash, snapshot=False)
    manager.create()
    manager.settle()
    manager.create()
    manager.settle()
    assert len([event for event in told if isinstance(event, SessionChanged)]) == 2
    assert manager.context.tally.watchers == 1
    assert not manager.context.tally.restarts
