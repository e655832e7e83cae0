"""Gateways that register: their leases, losses and returns, and what becomes of their sessions."""

from __future__ import annotations

import contextlib

import msgspec
import pykka
import pytest
from services import service

from sessiond.actors.errors import Conflict, Internal, InvalidRequest, LimitExceeded, NotFound
from sessiond.actors.gateway import MAX_INCARNATIONS, POLL, GatewayActor
from sessiond.actors.params import Registration
from sessiond.actors.session import SessionActor
from sessiond.actors.settings import GatewaySettings

LEASE, GRACE = 30.0, 120.0


def create(link, **fields):
    with link.asking() as manager:
        return manager.create(**{"state": "active"} | fields)


def touch(link, session_id):
    with link.asking() as manager:
        manager.touch_session(session_id)


def states(manager):
    """The state of every incarnation that is known, by name and epoch."""
    return {(each.name, each.epoch): each.state for each in manager.list_gateways().gateways}


def events(manager):
    return dict(manager.context.tally.gateways)


# Registering


def test_a_gateway_that_registers_is_known(manager):
    link, answer = manager.connect("gw", "e1", capabilities=["commands"], metadata={"host": "a"})
    assert (answer.gateway, answer.epoch, answer.outcome) == ("gw", "e1", "registered")
    assert (answer.lease, answer.grace, answer.sessions, answer.suspect) == (LEASE, GRACE, 0, 0)
    assert answer.instance == manager.server_info()["instance"]
    (shown,) = manager.list_gateways().gateways
    assert (shown.name, shown.epoch, shown.state, shown.lost_at) == ("gw", "e1", "live", None)
    assert (shown.connections, shown.sessions, shown.registered_at) == (1, 0, manager.clock.wall)
    assert (shown.capabilities, shown.metadata) == (["commands"], {"host": "a"})
    assert link.incarnation is manager.context.incarnations.newest("gw")


def test_what_a_bound_connection_creates_belongs_to_the_gateway(manager):
    link, _ = manager.connect("gw", "e1")
    session = manager.get(create(link))
    assert (session.gateway, session.epoch, session.suspect) == ("gw", "e1", False)
    other = manager.get(create(link, gateway="other"))
    assert (other.gateway, other.epoch) == ("other", None)
    assert [each.sessions for each in manager.list_gateways().gateways] == [1]


def test_several_connections_are_one_gateway(manager):
    manager.connect("gw", "e1", capabilities=["a"])
    _, answer = manager.connect("gw", "e1", capabilities=["b"])
    assert answer.outcome == "joined"
    (shown,) = manager.list_gateways().gateways
    assert (shown.connections, shown.capabilities) == (2, ["a", "b"])
    assert events(manager) == {"registered": 1}


def test_a_connection_may_register_the_same_again_to_change_what_it_said(manager):
    link, _ = manager.connect("gw", "e1", capabilities=["a"], metadata={"n": 1})
    again = manager.turn(lambda registry: registry.register("gw", Registration(epoch="e1", metadata={"n": 2}), link))
    assert again.outcome == "joined"
    (shown,) = manager.list_gateways().gateways
    assert (shown.connections, shown.capabilities, shown.metadata) == (1, [], {"n": 2})


@pytest.mark.parametrize(("name", "epoch"), [("gw", "e2"), ("gw", None), ("other", "e1")])
def test_a_connection_belongs_to_one_incarnation_for_good(manager, name, epoch):
    link, _ = manager.connect("gw", "e1")
    with pytest.raises(Conflict) as refusal:
        manager.turn(lambda registry: registry.register(name, Registration(epoch=epoch), link))
    assert refusal.value.details == {"gateway": "gw", "epoch": "e1"}
    assert states(manager) == {("gw", "e1"): "live"}


@pytest.mark.parametrize(
    "options",
    [{"epoch": ""}, {"lease": 0.5}, {"lease": 4000}, {"capabilities": [1]}, {"metadata": {"a": []}}, {"other": 1}],
)
def test_a_registration_that_makes_no_sense_is_refused(manager, options):
    with pytest.raises(InvalidRequest):
        manager.register_gateway("gw", **options)
    with pytest.raises(InvalidRequest):
        manager.register_gateway("")
    assert states(manager) == {}


def test_only_so_many_gateways_are_known():
    with service(gateways=GatewaySettings(max_gateways=2)) as manager:
        link, _ = manager.connect("a")
        manager.connect("b")
        with pytest.raises(LimitExceeded) as refusal:
            manager.connect("c")
        assert refusal.value.details == {"limit": "max_gateways", "maximum": 2}
        manager.connect("a")
        for each in list(manager.context.incarnations.newest("a").links):
            each.lose()
        manager.live_for(GRACE)
        manager.connect("c")
        assert set(states(manager)) == {("b", None), ("c", None)}
        assert link.incarnation.loss is not None


def test_only_so_many_incarnations_of_a_gateway_are_known(manager):
    """Those that hold nothing make room; nobody who holds calls does."""
    for number in range(MAX_INCARNATIONS):
        link, _ = manager.connect("gw", f"idle {number}")
        link.lose()
    for number in range(MAX_INCARNATIONS):
        manager.connect("gw", f"busy {number}")
    with pytest.raises(LimitExceeded):
        manager.connect("gw", "one more")
    assert len(states(manager)) == MAX_INCARNATIONS


# Leases


def test_a_connection_that_is_lost_loses_the_gateway_at_once(manager):
    link, _ = manager.connect("gw", "e1")
    session_id = create(link)
    link.lose()
    assert states(manager) == {("gw", "e1"): "lost"}
    assert manager.get(session_id).suspect
    assert manager.list_gateways().gateways[0].lost_at == manager.clock.wall
    assert events(manager) == {"registered": 1, "lost": 1}


def test_a_gateway_lives_while_any_of_its_connections_does(manager):
    links = [manager.connect("gw", "e1")[0] for _ in range(3)]
    for link in links[:2]:
        link.lose()
        assert states(manager) == {("gw", "e1"): "live"}
    links[2].lose()
    assert states(manager) == {("gw", "e1"): "lost"}


def test_a_lease_lapses_when_nothing_is_heard(manager):
    """On no connection at all."""
    links = [manager.connect("gw", "e1")[0] for _ in range(2)]
    manager.live_for(LEASE - 1)
    links[1].ping()
    manager.live_for(LEASE - 1)
    assert states(manager) == {("gw", "e1"): "live"}
    manager.live_for(1)
    assert states(manager) == {("gw", "e1"): "lost"}


def test_a_gateway_may_ask_for_a_lease_of_its_own(manager):
    _, answer = manager.connect("gw", "e1", lease=5)
    assert answer.lease == 5
    manager.connect("patient", lease=100)
    manager.live_for(5)
    assert states(manager) == {("gw", "e1"): "lost", ("patient", None): "live"}


def test_the_look_at_a_lease_is_timed(manager):
    """No sooner than it can lapse."""
    manager.connect("gw", lease=7)
    manager.settle()
    assert 7 in [seconds for seconds, _ in manager.dispatcher.timers]
    manager.clock.advance(3)
    manager.dispatcher.fire()  # too early, as timers may be
    manager.settle()
    assert [seconds for seconds, _ in manager.dispatcher.timers if seconds > 1] == [4]


def test_a_connection_that_speaks_again_brings_the_gateway_back(manager):
    link, _ = manager.connect("gw", "e1")
    session_id = create(link, idle_timeout=60)
    manager.live_for(LEASE)
    assert manager.get(session_id).suspect
    link.ping()
    assert states(manager) == {("gw", "e1"): "live"}
    session = manager.get(session_id)
    assert not session.suspect
    assert session.expires_at == manager.clock.wall + 60
    assert events(manager) == {"registered": 1, "lost": 1, "resumed": 1}
    manager.live_for(LEASE - 1)
    assert states(manager) == {("gw", "e1"): "live"}


@pytest.mark.parametrize("epoch", ["e1", None])
def test_a_gateway_that_comes_back_with_its_epoch_resumes(manager, epoch):
    """Its calls are what they were."""
    link, _ = manager.connect("gw", epoch)
    session_id = create(link)
    before = manager.get(session_id)
    link.lose()
    manager.live_for(GRACE - 1)
    _, answer = manager.connect("gw", epoch)
    assert (answer.outcome, answer.sessions, answer.suspect) == ("resumed", 1, 0)
    manager.live_for(2)
    after = manager.get(session_id)
    assert after.expires_at == before.expires_at + GRACE - 1
    assert msgspec.structs.replace(after, expires_at=before.expires_at) == before
    assert manager.count_sessions(suspect=True).count == 0


# In process


def test_a_gateway_without_a_connection_lives_by_its_heartbeats(manager):
    manager.register_gateway("gw", epoch="e1", lease=10)
    session_id = manager.create(gateway="gw")
    for _ in range(3):
        manager.live_for(9)
        assert manager.heartbeat_gateway("gw", epoch="e1").lease == 10
    manager.live_for(10)
    assert manager.get(session_id).suspect
    manager.heartbeat_gateway("gw", epoch="e1")
    assert not manager.get(session_id).suspect
    assert manager.list_gateways().gateways[0].connections == 0


def test_a_gateway_that_is_renewed_by_its_name_survives_its_connections(manager):
    """Somebody else vouches for it, such as a sidecar."""
    link, _ = manager.connect("gw", "e1")
    manager.live_for(10)
    manager.heartbeat_gateway("gw", epoch="e1")
    link.lose()
    assert states(manager) == {("gw", "e1"): "live"}
    manager.live_for(LEASE)
    assert states(manager) == {("gw", "e1"): "lost"}


def test_a_heartbeat_on_its_own_connection_does_not_outlive_that(manager):
    link, _ = manager.connect("gw", "e1")
    with link.asking():
        manager.heartbeat_gateway("gw", epoch="e1")
    link.lose()
    assert states(manager) == {("gw", "e1"): "lost"}


@pytest.mark.parametrize(("name", "epoch"), [("gw", None), ("gw", "e2"), ("other", "e1")])
def test_nobody_who_is_not_known_has_a_heartbeat(manager, name, epoch):
    manager.connect("gw", "e1")
    with pytest.raises(NotFound):
        manager.heartbeat_gateway(name, epoch=epoch)


# Graces


def test_suspects_end_when_the_grace_is_over_and_not_before(manager):
    link, _ = manager.connect("gw", "e1")
    suspect = create(link, external_id="x")
    other = manager.create(gateway="other", state="active")
    link.lose()
    manager.live_for(GRACE - 0.1)
    assert manager.get(suspect).state == "active"
    manager.live_for(0.1)
    session = manager.get(suspect)
    assert (session.end_reason, session.ended_by) == ("gateway_lost", "service")
    assert session.last_activity_at == session.created_at
    assert manager.get(other).state == "active"
    assert manager.get_session_history(suspect).entries[-1].author.kind == "service"


def test_suspects_end_spread_over_time_the_oldest_first():
    with service(ends_per_second=1000) as manager:
        link, _ = manager.connect("gw", "e1")
        ids = [create(link) for _ in range(30)]
        link.lose()
        manager.clock.advance(GRACE)
        for left in (20, 15, 10):
            manager.sweep()
            assert manager.count_sessions().count == manager.context.incarnations.graces.backlog == left
            assert [manager.get(each).state for each in ids] == ["ended"] * (30 - left) + ["active"] * left
            manager.clock.advance(0.005)


def test_neither_lost_gateways_nor_timeouts_keep_the_other_from_ending():
    with service(ends_per_second=1000) as manager:
        link, _ = manager.connect("gw", "e1")
        for _ in range(100):
            create(link)
            manager.create(setup_timeout=10)
        link.lose()
        manager.clock.advance(GRACE)
        for _ in range(4):
            manager.sweep()
            manager.clock.advance(0.005)
        reasons = manager.count_sessions(ended=True, by="end_reason").groups
        assert sorted(reasons.values()) == [10, 15]


def test_whoever_comes_back_while_its_calls_are_being_ended_keeps_the_rest():
    with service(ends_per_second=1000) as manager:
        link, _ = manager.connect("gw", "e1")
        for _ in range(30):
            create(link)
        link.lose()
        manager.clock.advance(GRACE)
        manager.sweep()
        _, answer = manager.connect("gw", "e1")
        assert (answer.outcome, answer.sessions) == ("resumed", 20)
        manager.live_for(1)
        assert manager.count_sessions().count == 20


@pytest.mark.parametrize("by_ref", [False, True], ids=["without a ref", "with a ref"])
def test_a_suspect_that_crashes_when_it_is_ended_is_ended_at_last(by_ref):
    class Faulty(SessionActor):
        def end_if_lost(self):
            raise RuntimeError

    with service(Faulty) as manager:
        link, _ = manager.connect("gw", "e1")
        session_id = create(link)
        if by_ref:
            manager.ref(session_id)
        link.lose()
        manager.live_for(GRACE)
        for _ in range(5):
            manager.live_for(1)
        assert manager.get(session_id).end_reason == "crashed"
        assert manager.given_up == []


def test_activity_that_waits_already_does_not_keep_a_suspect_alive_but_its_gateway_does(manager):
    link, _ = manager.connect("gw", "e1")
    session_id = create(link)
    manager.ref(session_id)
    link.lose()
    newer, _ = manager.connect("gw", "e2")
    manager.live_for(GRACE - 1)
    manager.touch_session(session_id)
    touch(newer, session_id)
    manager.live_for(1)
    assert manager.get(session_id).epoch == "e2"
    assert manager.get(session_id).state == "active"


# The end of gateways


def test_a_lost_gateway_that_holds_nothing_is_forgotten_after_the_grace(manager):
    link, _ = manager.connect("gw", "e1")
    create(link)
    link.lose()
    manager.live_for(GRACE - 1)
    assert states(manager) == {("gw", "e1"): "lost"}
    manager.live_for(1)
    manager.live_for(POLL)  # the look may have come before the end of the session
    assert states(manager) == {}
    assert manager.context.directory.suspects == {}
    assert events(manager) == {"registered": 1, "lost": 1, "forgotten": 1}
    manager.settle()
    assert not gateway_actors()
    assert manager.connect("gw", "e1")[1].outcome == "registered"


def gateway_actors():
    return pykka.ActorRegistry.get_by_class(GatewayActor)


def test_a_lapsed_gateway_is_not_forgotten_while_it_might_speak(manager):
    link, _ = manager.connect("gw", "e1")
    manager.live_for(LEASE)
    manager.live_for(GRACE)
    manager.live_for(POLL)
    assert states(manager) == {("gw", "e1"): "lost"}
    link.ping()
    assert states(manager) == {("gw", "e1"): "live"}


def test_the_service_stops_its_gateways(manager):
    manager.connect("gw", "e1")
    manager.registry.stop()
    manager.settle()
    assert not gateway_actors()


# Restarts and policies


def test_a_gateway_that_was_restarted_claims_its_calls_by_speaking_of_them(manager):
    old, _ = manager.connect("gw", "e1")
    kept, gone = create(old), create(old)
    old.lose()
    new, answer = manager.connect("gw", "e2")
    assert (answer.outcome, answer.sessions, answer.suspect) == ("restarted", 0, 2)
    assert manager.get(kept).suspect
    touch(new, kept)
    assert (manager.get(kept).epoch, manager.get(kept).suspect) == ("e2", False)
    manager.live_for(GRACE / 2)
    new.ping()
    manager.live_for(GRACE / 2)
    assert manager.get(gone).end_reason == "gateway_lost"
    assert manager.get(kept).state == "active"


def test_two_may_share_a_name(manager):
    first, _ = manager.connect("gw", "e1")
    second, answer = manager.connect("gw", "e2")
    assert answer.outcome == "shared"
    ids = {epoch: create(link) for epoch, link in (("e1", first), ("e2", second))}
    assert {manager.get(each).epoch: each for each in ids.values()} == ids
    first.lose()
    assert {epoch: manager.get(each).suspect for epoch, each in ids.items()} == {"e1": True, "e2": False}


@pytest.fixture
def taking_over():
    with service(gateways=GatewaySettings(policy="take_over")) as manager:
        yield manager


def test_the_younger_one_may_take_the_name_over(taking_over):
    manager = taking_over
    links = [manager.connect("gw", "e1")[0] for _ in range(2)]
    session_id = create(links[0])
    new, answer = manager.connect("gw", "e2")
    assert (answer.outcome, answer.suspect) == ("taken_over", 1)
    for link in links:
        assert link.told == [("gateway_replaced", {"gateway": "gw", "epoch": "e2"})]
        assert link.closed_for == "taken_over"
    assert states(manager) == {("gw", "e1"): "lost", ("gw", "e2"): "live"}
    links[0].ping()  # a request that was under way
    assert manager.get(session_id).suspect
    touch(new, session_id)
    assert manager.get(session_id).epoch == "e2"


def test_whoever_was_replaced_is_refused_while_its_sessions_are_left(taking_over):
    manager = taking_over
    old, _ = manager.connect("gw", "e1")
    session_id = create(old)
    new, _ = manager.connect("gw", "e2")
    old.lose()
    for attempt in (lambda: manager.connect("gw", "e1"), lambda: manager.heartbeat_gateway("gw", epoch="e1")):
        with pytest.raises(Conflict) as refusal:
            attempt()
        assert refusal.value.details["epoch"] == "e2"
    touch(new, session_id)
    assert manager.connect("gw", "e1")[1].outcome == "taken_over"


def test_whoever_was_replaced_may_come_back_once_the_other_is_lost(taking_over):
    """It has its calls still: refusing it would end them."""
    manager = taking_over
    old, _ = manager.connect("gw", "e1")
    session_id = create(old)
    new, _ = manager.connect("gw", "e2")
    old.lose()
    new.lose()
    assert manager.connect("gw", "e1")[1].outcome == "resumed"
    assert not manager.get(session_id).suspect


def test_the_younger_one_may_be_refused():
    with service(gateways=GatewaySettings(policy="refuse")) as manager:
        old, _ = manager.connect("gw", "e1")
        with pytest.raises(Conflict) as refusal:
            manager.connect("gw", "e2")
        assert refusal.value.details == {
            "gateway": "gw",
            "epoch": "e1",
            "instance": manager.server_info()["instance"],
        }
        assert manager.connect("gw", "e1")[1].outcome == "joined"
        old.lose()
        assert states(manager) == {("gw", "e1"): "live"}
        for link in list(manager.context.incarnations.newest("gw").links):
            link.lose()
        assert manager.connect("gw", "e2")[1].outcome == "registered"
        assert events(manager) == {"registered": 2, "refused": 1, "lost": 1}


# Lists


def test_gateways_are_listed_by_name_in_pages(manager):
    for name in ("c", "a", "b"):
        manager.connect(name, "1")
    manager.connect("b", "2")
    first = manager.list_gateways(limit=2)
    assert [(each.name, each.epoch) for each in first.gateways] == [("a", "1"), ("b", "1"), ("b", "2")]
    last = manager.list_gateways(limit=2, cursor=first.cursor)
    assert ([each.name for each in last.gateways], last.cursor) == (["c"], None)
    assert [each.epoch for each in manager.list_gateways(name="b").gateways] == ["1", "2"]
    assert manager.list_gateways(name="x").gateways == []


# Crashes


@pytest.mark.parametrize("operation", ["register", "left", "spoke", "look", "renew"])
def test_a_gateway_actor_that_crashes_loses_nothing(manager, monkeypatch, operation):
    """Whatever it was about; the next time it does what there is to do."""
    link, _ = manager.connect("gw", "e1")
    session_id = create(link)

    def crash(*_):
        raise RuntimeError

    monkeypatch.setattr(GatewayActor, operation, crash)
    for attempt in (
        lambda: manager.connect("gw", "e1"),
        lambda: manager.heartbeat_gateway("gw", epoch="e1"),
        lambda: manager.live_for(LEASE),
        link.ping,
        link.lose,
    ):
        with contextlib.suppress(Internal):
            attempt()
    monkeypatch.undo()
    assert manager.get(session_id).state == "active"
    manager.live_for(LEASE)
    manager.live_for(LEASE)
    assert states(manager) == {("gw", "e1"): "lost"}
    assert manager.connect("gw", "e1")[1].sessions == 1
    assert not manager.get(session_id).suspect
    assert manager.given_up == []


def test_a_gateway_that_could_not_register_leaves_nothing_behind(manager, monkeypatch):
    def crash(*_):
        raise RuntimeError

    monkeypatch.setattr(GatewayActor, "register", crash)
    with pytest.raises(Internal):
        manager.connect("gw")
    manager.settle()
    assert manager.registry.local()._gateways == {}
    assert states(manager) == {}


# Size


def test_losing_and_finding_many_sessions_looks_at_none_of_them(manager):
    link, _ = manager.connect("gw", "e1")
    seen = []

    class Watched(type(link.incarnation.sessions)):
        def __iter__(self):
            seen.append(True)
            return super().__iter__()

    link.incarnation.sessions = Watched(range(1, 50_001))
    link.lose()
    manager.connect("gw", "e1")
    assert not seen


def test_the_log_tells_of_a_gateway_that_is_lost_and_back(manager, caplog):
    """Whoever is called at night finds the name there, also when everything is over."""
    caplog.set_level("INFO")
    link, _ = manager.connect("gw", "e1")
    with link.asking():
        manager.create()
    link.lose()
    manager.connect("gw", "e1")
    told = [record.getMessage() for record in caplog.records if record.name == "sessiond.actors.gateway"]
    assert told == [
        "Gateway gw (epoch e1): registered",
        "Gateway gw (epoch e1): 1 session is suspect and will end in 120 s unless it comes back",
        "Gateway gw (epoch e1): resumed",
    ]


def test_the_loss_of_a_gateway_without_sessions_is_no_warning(manager, caplog):
    caplog.set_level("INFO")
    link, _ = manager.connect("gw", "e1")
    link.lose()
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told[-1] == ("INFO", "Gateway gw (epoch e1): lost, with no sessions")
