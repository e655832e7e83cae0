"""What is collected: exact numbers after lives that went as the test says, and labels that stay few."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections import Counter
from types import SimpleNamespace

import pykka
import pytest
from entries import add, end
from hypothesis import given
from hypothesis import strategies as st
from manual_clock import ManualClock
from prometheus_client import CollectorRegistry
from pykka._envelope import Envelope
from pykka.messages import ProxyCall

import sessiond
from sessiond import Config, Limit, Settings
from sessiond.actors.clock import SystemClock
from sessiond.actors.commander import CommanderActor
from sessiond.actors.commanding import COMMANDS, OUTCOMES
from sessiond.actors.context import Context
from sessiond.actors.dispatcher import ThreadDispatcher
from sessiond.actors.ender import EnderActor
from sessiond.actors.errors import LimitExceeded
from sessiond.actors.gateway import GatewayActor
from sessiond.actors.guard import Turn
from sessiond.actors.herald import HeraldActor
from sessiond.actors.keeper import KeeperActor
from sessiond.actors.mailbox import Mailbox
from sessiond.actors.reaper import ReaperActor
from sessiond.actors.registration import EVENTS
from sessiond.actors.registry import RegistryActor
from sessiond.actors.states import LIVE_STATES
from sessiond.actors.surveyor import SurveyorActor
from sessiond.actors.sync import OUTCOMES as SYNC_OUTCOMES
from sessiond.metrics.collecting import Collecting
from sessiond.metrics.collector import SessionCollector
from sessiond.metrics.families import families
from sessiond.stores.figures import Figures
from sessiond.stores.settings import StoreSettings
from sessiond.transport.observed import LATENCY_BOUNDS, Observed, observe, observe_all
from sessiond.transport.server import FrontEnd
from sessiond.watch import LoopWatch

TYPES = ("sip", "webrtc", "other")


class Samples(dict):
    """Samples by name and labels; ``samples("name", label="value")``."""

    def __init__(self, families):
        super().__init__(
            ((sample.name, frozenset(sample.labels.items())), sample.value)
            for family in families
            for sample in family.samples
        )

    def __call__(self, name, **labels):
        return self[f"sessiond_{name}", frozenset(labels.items())]

    def labels(self, name):
        return [dict(labels) for known, labels in self if known == f"sessiond_{name}"]


def samples_of(context, *front_end) -> Samples:
    work = Collecting(context, *front_end)
    while (families := work.step()) is None:
        pass
    return Samples(families)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def start(clock):
    """Starts session managers inside the test; a proxy of each and what collects from it."""
    started = []

    def start(*limits, **settings):
        registry = sessiond.start(Config(sessions=Settings(**settings), limit=limits), clock=clock)
        started.append(registry)
        return registry.proxy(), sessiond.collector(registry)

    yield start
    for registry in started:
        sessiond.stop(registry)


@pytest.fixture
def context():
    return Context.create(Settings(), ThreadDispatcher(), SystemClock(), lambda _: None)


def test_lives_are_counted_as_they_went(start, clock):
    manager, lives = start()
    answered = manager.create_session(type="sip", state="ringing").get().id
    busy = manager.create_session(type="sip").get().id
    manager.create_session(type="webrtc", state="active").get()
    clock.advance(4)
    manager.update_session_state(answered, "active").get()
    manager.end_session(busy, "busy").get()
    clock.advance(100)
    manager.update_session_state(answered, "held").get()

    samples = Samples(lives.collect())
    assert {(label["type"], label["state"]): samples("sessions", **label) for label in samples.labels("sessions")} == {
        (kind, state): 0 for kind in TYPES for state in LIVE_STATES
    } | {
        ("sip", "held"): 1,
        ("webrtc", "active"): 1,
    }
    assert samples("sessions_retained") == 1

    manager.end_session(answered).get()
    samples = Samples(lives.collect())
    assert samples("sessions", type="sip", state="held") == 0
    assert samples("sessions_retained") == 2
    assert [samples("sessions_created_total", type=kind) for kind in TYPES] == [2, 1, 0]
    assert [samples("sessions_answered_total", type=kind) for kind in TYPES] == [1, 1, 0]
    ended = {
        tuple(label.values()): samples("sessions_ended_total", **label)
        for label in samples.labels("sessions_ended_total")
    }
    assert sum(ended.values()) == 2
    assert samples("sessions_ended_total", type="sip", reason="busy") == 1
    assert samples("sessions_ended_total", type="sip", reason="normal") == 1
    rung = [samples("session_ring_seconds_bucket", type="sip", le=bound) for bound in ("3.0", "5.0", "+Inf")]
    assert rung == [0, 1, 1]
    assert samples("session_ring_seconds_sum", type="sip") == 4
    lasted = ("1.0", "5.0", "60.0", "120.0", "14400.0", "+Inf")
    assert [samples("session_duration_seconds_bucket", type="sip", le=bound) for bound in lasted] == [0, 1, 1, 2, 2, 2]
    assert samples("session_duration_seconds_sum", type="sip") == 4 + 104
    assert samples("session_duration_seconds_count", type="webrtc") == 0


def test_what_has_not_happened_yet_is_there_as_zero(context):
    """An increase of a series that was not there before is not seen as one."""
    samples = samples_of(context)
    reasons = {label["reason"] for label in samples.labels("sessions_ended_total") if label["type"] == "sip"}
    assert {"normal", "busy", "crashed", "gateway_lost", "idle_timeout", "admin", "other"} <= reasons
    actors = {label["actor"] for label in samples.labels("actor_restarts_total")}
    colleagues = (SurveyorActor, HeraldActor, ReaperActor, CommanderActor, EnderActor, KeeperActor)
    assert actors == {"session", *(actor.name for actor in (RegistryActor, GatewayActor, FrontEnd, *colleagues))}
    assert {label["event"] for label in samples.labels("gateway_events_total")} == set(EVENTS)
    assert {label["outcome"] for label in samples.labels("syncs_total")} == set(SYNC_OUTCOMES)
    assert samples("reaper_backlog") == 0
    assert samples("commands_waiting") == 0
    commands = {(label["command"], label["outcome"]) for label in samples.labels("commands_total")}
    assert commands == {(command, outcome) for command in COMMANDS for outcome in OUTCOMES}
    assert {value for (name, _), value in samples.items() if name != "sessiond_build_info"} == {0}


def test_gateways_are_counted_with_what_happened_to_them(start, clock):
    manager, lives = start()
    manager.register_gateway("gw", epoch="e1").get()
    manager.create_session(type="sip", gateway="gw").get()
    manager.sync_sessions("gw", ids=[]).get()
    manager.register_gateway("gw", epoch="e2").get()
    assert gateways(lives) == ({"live": 2, "lost": 0}, 0)
    context = manager.context.get()
    context.incarnations.lose(context.incarnations.find("gw", "e1"), clock.read(), 120)
    samples = Samples(lives.collect())
    assert gateways(lives) == ({"live": 1, "lost": 1}, 1)
    labels = samples.labels("gateway_events_total")
    happened = {label["event"]: samples("gateway_events_total", **label) for label in labels}
    assert {event: count for event, count in happened.items() if count} == {"registered": 1, "shared": 1}
    assert samples("syncs_total", outcome="complete") == 1


def gateways(lives):
    """The gateways by state, and the sessions that are suspect."""
    samples = Samples(lives.collect())
    states = {label["state"]: samples("gateways", **label) for label in samples.labels("gateways")}
    return states, samples("suspect_sessions")


def test_names_that_nobody_configured_are_other(start):
    manager, lives = start(types=("fax",), reasons=("voicemail",))
    for kind in ("fax", "x" * 64, "é", "other", "sip"):
        session = manager.create_session(type=kind).get().id
        manager.end_session(session, "voicemail" if kind == "fax" else f"because of {kind}"[:64]).get()
    samples = Samples(lives.collect())
    for name in ("sessions", "sessions_created_total", "sessions_ended_total", "session_duration_seconds_count"):
        assert {label["type"] for label in samples.labels(name)} == {"sip", "webrtc", "fax", "other"}
    assert samples("sessions_created_total", type="other") == 3
    assert samples("sessions_ended_total", type="fax", reason="voicemail") == 1
    assert samples("sessions_ended_total", type="other", reason="other") == 3
    assert samples("sessions_ended_total", type="sip", reason="other") == 1


@given(st.lists(st.tuples(st.sampled_from(["sip", "webrtc", "x", "y"]), st.sampled_from([*LIVE_STATES, "ended"]))))
def test_the_gauge_is_what_lives(lives):
    context = Context.create(Settings(types=("x",)), ThreadDispatcher(), SystemClock(), lambda _: None)
    for kind, state in lives:
        entry = add(context.directory, type=kind, state="active" if state == "ended" else state)
        if state == "ended":
            end(context.directory, entry)
    expected = Counter(("other" if kind == "y" else kind, state) for kind, state in lives if state != "ended")
    samples = samples_of(context)
    found = {(label["type"], label["state"]): samples("sessions", **label) for label in samples.labels("sessions")}
    assert Counter(found) == expected
    assert samples("sessions_retained") == len(lives) - expected.total()


def test_limits_show_how_near_they_are_and_whom_they_refused(start):
    """By name. How many sessions each of a million callers has is no metric."""
    manager, lives = start(
        Limit(name="fax", by="type", value="fax", concurrent=1),
        Limit(name="callers", by="caller", concurrent=1),
        Limit(name="rate", by="type", value="sip", per_second=100),
        max_sessions=3,
    )
    names = ["max_sessions", "fax", "callers", "rate"]
    assert [Samples(lives.collect())("limit_refusals_total", limit=name) for name in names] == [0, 0, 0, 0]
    several = [("fax", "a"), ("fax", "b"), ("sip", "a"), ("sip", "c"), ("sip", "c"), ("x", "d"), ("x", "e")]
    for kind, caller in several:
        with contextlib.suppress(LimitExceeded):
            manager.create_session(type=kind, caller=caller).get()
    samples = Samples(lives.collect())
    assert [samples("limit_refusals_total", limit=name) for name in names] == [1, 1, 2, 0]
    assert samples.labels("limit_sessions") == samples.labels("limit_maximum") == [{"limit": "fax"}]
    assert samples("limit_sessions", limit="fax") == samples("limit_maximum", limit="fax") == 1


def test_restarts_and_the_backlog_are_shown(context):
    context.tally.count_restart("reaper")
    for seq in range(3):
        context.wheel.add(seq, 1.0)
    context.wheel.due(2.0)
    samples = samples_of(context)
    assert samples("actor_restarts_total", actor="reaper") == 1
    assert samples("actor_restarts_total", actor="session") == 0
    assert samples("reaper_backlog") == 3


def test_messages_that_wait_are_shown_by_actor(context):
    for name, count in {"registry": 2, "session": 3}.items():
        mailbox = Mailbox(context.dispatcher, 10, kind=name)
        for _ in range(count):
            mailbox.put(Envelope("a message"))
    samples = samples_of(context)
    found = {label["actor"]: samples("mailbox_messages", **label) for label in samples.labels("mailbox_messages")}
    idle = dict.fromkeys(("surveyor", "herald", "reaper", "gateway", "commander", "ender", "keeper", "front_end"), 0)
    assert found == {"session": 3, "registry": 2} | idle


def test_each_actor_of_a_service_has_its_own_count(start):
    manager, _ = start()
    dispatcher = manager.actor_ref.actor_inbox.dispatcher
    own = {"registry", "surveyor", "herald", "reaper", "commander", "ender", "keeper"}
    assert set(dispatcher.waiting) == own
    session = manager.session_ref(manager.create_session(type="sip").get().id).get()
    assert set(dispatcher.waiting) == own | {"session"}
    assert session.is_alive()


def test_a_message_that_waits_for_a_session_is_shown_while_it_waits(start):
    """Those of all sessions together; the turn in which is collected is the registry's."""
    manager, lives = start()
    ids = [manager.create_session(type="sip").get().id for _ in range(2)]
    refs = [manager.session_ref(each).get() for each in ids]

    def depths(_registry) -> list[float]:
        for ref in (refs[0], refs[0], refs[1]):
            ref.tell(ProxyCall(("touch",), (), {}))
        (shown,) = (each for each in families(registry._context, {}) if each.name == "sessiond_mailbox_messages")
        return {sample.labels["actor"]: sample.value for sample in shown.samples}

    registry = manager.actor_ref.local()
    assert manager.actor_ref.ask(Turn(depths))["session"] == 3
    assert [ref.ask(ProxyCall(("touch",), (), {})).version for ref in refs] == [1, 1]
    assert Samples(lives.collect())("mailbox_messages", actor="session") == 0


def test_the_loop_is_shown_where_it_is_watched(context):
    watch = LoopWatch(lambda _seconds, look: looks.append(look), lambda: clock.pop(0))
    looks, clock = [], [1000.0, 1000.030]
    watch.start()
    looks.pop()()
    watch.pauses.observe(0.0003)
    samples = samples_of(context, None, (), watch)
    bounds = ("0.01", "0.02", "0.05", "1.0", "+Inf")
    assert [samples("loop_stall_seconds_bucket", le=bound) for bound in bounds] == [0, 0, 1, 1, 1]
    assert samples("loop_stall_seconds_count") == 1
    assert samples("loop_stall_seconds_sum") == samples("loop_longest_stall_seconds") == pytest.approx(0.025)
    assert [samples("gc_pause_seconds_bucket", le=bound) for bound in ("0.0001", "0.0005", "+Inf")] == [0, 1, 1]
    assert samples("gc_pause_seconds_sum") == 0.0003


def test_nothing_is_said_of_a_loop_that_nobody_watches(context):
    names = {name for name, _ in samples_of(context)}
    assert not {name for name in names if name.startswith(("sessiond_loop", "sessiond_gc"))}


def test_the_build_says_what_runs(context):
    (build,) = samples_of(context).labels("build_info")
    assert build["version"] == sessiond.__version__
    assert build["python"].startswith("3.")


def test_requests_are_shown_by_method_and_code(context):
    observed = Observed(["ping", "touch_session"])
    ping, touch = observed.methods["ping"], observed.methods["touch_session"]
    ping.answered, touch.answered = 2, 1
    observe([ping, touch], 0.0002)
    touch.answered = 2
    observe([touch], 7.0)
    observe_all([(observed.methods["unknown"], 5.0)], 5.0)
    touch.errors["not_found"] += 2
    observed.methods["unknown"].errors["unknown_method"] += 1
    observed.connections = 5
    observed.closed_for["not_a_frame"] += 1
    samples = samples_of(context, observed, LATENCY_BOUNDS)

    counts = {
        (label["method"], label["code"]): samples("requests_total", **label)
        for label in samples.labels("requests_total")
    }
    assert counts == {
        ("ping", "ok"): 2, ("ping", "internal"): 0,
        ("touch_session", "ok"): 1, ("touch_session", "internal"): 0, ("touch_session", "not_found"): 2,
        ("unknown", "ok"): 0, ("unknown", "internal"): 0, ("unknown", "unknown_method"): 1,
    }  # fmt: skip
    bounds = ("0.0001", "0.00025", "5.0", "+Inf")
    took = [samples("request_duration_seconds_bucket", method="touch_session", le=bound) for bound in bounds]
    assert took == [0, 1, 1, 3]
    assert samples("request_duration_seconds_count", method="touch_session") == 3
    assert samples("request_duration_seconds_sum", method="touch_session") == pytest.approx(14.0002)
    assert samples("connections") == 5
    assert samples("connections_closed_total", reason="not_a_frame") == 1


def test_there_are_no_requests_without_a_front_end(context):
    names = {name for name, _ in samples_of(context)}
    assert not {name for name in names if name.startswith(("sessiond_request", "sessiond_connection"))}


def test_registering_does_not_collect():
    CollectorRegistry().register(SessionCollector(lambda: pytest.fail("collected")))


def test_a_manager_that_has_stopped_shows_nothing_and_spoils_nothing(start):
    manager, lives = start()
    registry = CollectorRegistry()
    registry.register(lives)
    assert registry.get_sample_value("sessiond_sessions", {"type": "sip", "state": "active"}) == 0
    manager.actor_ref.stop()
    assert list(registry.collect()) == []


def test_a_manager_that_is_stuck_is_an_error():
    def stuck():
        raise pykka.Timeout

    with pytest.raises(pykka.Timeout):
        SessionCollector(stuck).collect()


def test_collecting_is_safe_from_any_thread(start):
    """While others create, a collector sees counters that only grow and that never fall behind the gauge."""
    manager, lives = start()
    done = threading.Event()
    seen = []

    def collect() -> None:
        while not done.is_set():
            samples = Samples(lives.collect())
            seen.append(samples("sessions_created_total", type="sip"))

    watcher = threading.Thread(target=collect)
    watcher.start()
    for _ in range(300):
        manager.create_session(type="sip").get()
    done.set()
    watcher.join()
    assert seen == sorted(seen)
    assert Samples(lives.collect())("sessions", type="sip", state="initializing") == 300


def test_who_does_not_collect_does_not_import_prometheus():
    """It takes as long to import as all the rest together, and each gateway that uses a client would pay for it."""
    code = "import sys, sessiond; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_commands_are_counted_by_what_came_of_them(start):
    manager, commands = start()
    session_id = manager.create_session(type="sip").get().id
    assert manager.terminate_session(session_id).get().gateway == "not_asked"
    samples = Samples(commands.collect())
    assert samples("commands_total", command="terminate_session", outcome="not_asked") == 1
    assert samples("commands_total", command="terminate_session", outcome="done") == 0
    assert samples("commands_waiting") == 0


EMPTY = {"figures": Figures(), "unsettled_changes": 0, "recovered_sessions": 0, "recovery_seconds": 0.0}
"""What there is to tell of a store that has kept nothing yet."""


class Sink:
    """What a courier tells of its sink."""

    name, delivered, failures, dead, behind, oldest = "billing", 7, 2, 1, 4, 1_699_999_990.0


def test_sinks_are_counted_each_by_its_name(clock):
    context = Context.create(Settings(), ThreadDispatcher(), clock, lambda _: None)
    idle = Sink()
    idle.name, idle.behind, idle.oldest = "archive", -2, None  # delivered before it was counted
    samples = samples_of(context, None, (), None, SimpleNamespace(**EMPTY, sinks=[Sink(), idle]))
    told = {
        sink: [
            samples(f"sink_{name}", sink=sink)
            for name in ("records_total", "failures_total", "dead_letters_total", "lag_records", "lag_seconds")
        ]
        for sink in ("billing", "archive")
    }
    assert told == {"billing": [7, 2, 1, 4, 10.0], "archive": [7, 2, 1, 0, 0.0]}


# What is kept


def test_a_store_that_is_down_is_seen_with_what_waits_for_it(context):
    figures = Figures()
    figures.committed(0.004, entries=3, size=700)
    figures.committed(9.0, entries=1, size=300)
    figures.is_up, figures.failures, figures.folded = False, 1, 2
    keeping = SimpleNamespace(
        figures=figures, unsettled_changes=5, recovered_sessions=8, recovery_seconds=0.5, sinks=()
    )
    samples = samples_of(context, None, (), None, keeping)
    seen = {name: samples(f"store_{name}") for name in ("up", "unsettled_changes", "changes_total", "failures_total")}
    assert seen == {"up": 0, "unsettled_changes": 5, "changes_total": 4, "failures_total": 1}
    assert (samples("store_log_changes"), samples("store_log_bytes"), samples("store_folded_sessions_total")) == (
        4,
        1000,
        2,
    )
    bounds = ("0.0025", "0.005", "5.0", "+Inf")
    assert [samples("store_commit_seconds_bucket", le=bound) for bound in bounds] == [0, 1, 1, 2]
    assert samples("store_commit_seconds_sum") == pytest.approx(9.004)
    assert (samples("recovered_sessions"), samples("recovery_seconds")) == (8, 0.5)


def test_nothing_is_said_of_a_store_where_there_is_none(context):
    names = {name for name, _ in samples_of(context)}
    assert not {name for name in names if name.startswith(("sessiond_store", "sessiond_recover"))}
    assert "sessiond_resident_sessions" not in names


def test_sessions_that_are_in_memory_and_those_that_come_and_go_are_counted(tmp_path):
    store = StoreSettings(kind="sqlite", path=str(tmp_path / "sessiond.db"), residents=1)
    seen = []
    for _ in range(2):
        registry = sessiond.start(Config(store=store))
        try:
            manager = registry.proxy()
            ids = [each.id for each in manager.list_sessions().get().sessions]
            for _ in range(2 - len(ids)):
                manager.create_session(type="sip").get()
            for each in ids:
                manager.touch_session(each).get()
            seen.append(Samples(sessiond.collector(registry).collect()))
        finally:
            sessiond.stop(registry)
    names = ("resident_sessions", "sessions_left_memory_total", "sessions_returned_total")
    assert [tuple(map(each, names)) for each in seen] == [(2, 0, 0), (2, 0, 1)]


def test_what_was_kept_and_taken_in_again_is_counted(tmp_path):
    """By a session manager in this program, and by the next one with its store."""
    config = Config(store=StoreSettings(kind="sqlite", path=str(tmp_path / "sessiond.db")))
    kept = []
    for _ in range(2):
        registry = sessiond.start(config)
        try:
            registry.proxy().create_session(type="sip").get()
            kept.append(Samples(sessiond.collector(registry).collect()))
        finally:
            sessiond.stop(registry)
    first, second = kept
    assert [each("recovered_sessions") for each in kept] == [0, 1]
    assert [each("store_up") for each in kept] == [1, 1]
    assert first("store_commit_seconds_count") >= 1
    assert first("store_changes_total") >= 1
    assert second("recovery_seconds") > 0
    assert [each("store_unsettled_changes") for each in kept] == [0, 0]
