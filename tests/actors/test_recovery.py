"""A service that starts anew has everything that it had, but the gateways: of these it waits to hear."""

from __future__ import annotations

import dataclasses

import pytest
from gated import GatedService
from msgspec.structs import asdict

from sessiond.actors import recovery
from sessiond.actors.errors import Conflict, LimitExceeded, NotFound
from sessiond.actors.limits import Limit
from sessiond.actors.params import SyncPart
from sessiond.actors.recovery import Recovery
from sessiond.actors.session import SessionActor
from sessiond.actors.settings import GatewaySettings

GRACE = 120.0
SCALARS = {
    "text": "t\0\u2028\U0001f600",
    "one": 1,
    "one.0": 1.0,
    "yes": True,
    "no": False,
    "least": -(2**63),
    "most": 2**63 - 1,
    "zero": 0.0,
    "tiny": 5e-324,
}


@dataclasses.dataclass
class Life:
    """One service after the other in the same store."""

    service: GatedService
    options: dict
    folder: object
    runs: int = 1

    def restart(self, *, is_crash=True, seconds=0.0, **options):
        """The next run, after so many seconds: the one before was stopped, or has died."""
        service, path = self.service, self.service.path
        service.keep_all()
        if is_crash:
            path = self.folder / f"{self.runs}.db"
            self.runs += 1
            service.crash(path)
        service.stop()
        service.clock.advance(seconds)
        self.service = GatedService(path, SessionActor, clock=service.clock, **self.options | options)
        return self.service


@pytest.fixture
def life(tmp_path):
    options = {
        "retention": 60,
        "max_duration": 0,
        "gateways": GatewaySettings(lease=30, grace=GRACE),
    }
    life = Life(GatedService(tmp_path / "0.db", SessionActor, **options), options, tmp_path)
    yield life
    life.service.stop()


@pytest.fixture
def manager(life):
    """The first run."""
    return life.service


def create(manager, link, **fields):
    with link.asking():
        return manager.create(**{"state": "active"} | fields)


def gateways(manager):
    return {each.epoch: (each.state, each.sessions) for each in manager.list_gateways().gateways}


# Sessions


@pytest.mark.parametrize("is_crash", [True, False])
def test_a_session_is_as_it_was(life, manager, is_crash):
    session_id = manager.create(
        state="ringing",
        gateway="g",
        external_id="x",
        caller="anna",
        callee="bert",
        direction="inbound",
        parent="p",
        group="q",
        metadata=SCALARS,
        at=manager.clock.wall - 7,
        setup_timeout=100,
        idle_timeout=0,
        max_duration=1000,
        request_id="r",
    )
    manager.update_session_state(session_id, "active", at=manager.clock.wall - 3)
    manager.update_session(session_id, caller="carl", external_id="y", max_duration=500)
    manager.update_session_metadata(session_id, {"yes": None})
    before = manager.get(session_id), manager.get_session_history(session_id)
    again = life.restart(is_crash=is_crash)
    session, history = again.get(session_id), again.get_session_history(session_id)
    assert (session, history) == before
    assert {key: type(value) for key, value in session.metadata.items()} == {
        key: type(value) for key, value in before[0].metadata.items()
    }
    assert again.get_session({"gateway": "g", "external_id": "y"}) == session
    assert again.list_sessions(parent="p", metadata={"one.0": 1.0}).sessions == [session]


def test_time_in_which_there_was_no_service_counts(life, manager):
    setup, idle = manager.create(setup_timeout=100), manager.create(state="active", idle_timeout=100)
    manager.clock.advance(40)
    manager.touch_session(idle)
    again = life.restart(seconds=59)
    again.pass_time(0)
    assert again.count_sessions().count == 2
    again.pass_time(2)
    assert again.get(setup).end_reason == "setup_timeout"
    again.pass_time(39)
    assert again.get(idle).end_reason == "idle_timeout"


def test_what_came_due_meanwhile_ends_at_once(life, manager):
    session_id = manager.create(setup_timeout=10)
    again = life.restart(seconds=1000)
    again.pass_time(0)
    assert again.get(session_id).end_reason == "setup_timeout"


def test_a_create_can_be_repeated_after_a_restart(life, manager):
    live = manager.create_session(type="sip", request_id="live", gateway="g")
    over = manager.create_session(type="sip", request_id="over")
    manager.end_session(over.id)
    again = life.restart()
    repeats = [
        again.create_session(type="sip", request_id="live", gateway="g"),
        again.create_session(type="sip", request_id="over"),
    ]
    assert [(each.id, each.created) for each in repeats] == [(live.id, False), (over.id, False)]
    with pytest.raises(Conflict):
        again.create_session(type="webrtc", request_id="live", gateway="g")


def test_what_has_ended_is_retained_for_as_long_as_it_would_have_been(life, manager):
    first = manager.create()
    manager.end_session(first, "busy", sip_code=486)
    final = manager.get(first)
    manager.clock.advance(30)
    second = manager.create()
    manager.end_session(second)
    again = life.restart(seconds=20)
    assert again.get(first) == final
    assert again.get_session_history(first).entries[-1].reason == "busy"
    again.pass_time(11)
    with pytest.raises(NotFound):
        again.get(first)
    assert again.get(second).state == "ended"
    again = life.restart(seconds=30)
    with pytest.raises(NotFound):
        again.get(second)
    assert again.count_sessions(ended="any").count == 0


def test_an_end_that_was_long_ago_for_its_gateway_is_retained_all_the_same(life, manager):
    session_id = manager.create(at=manager.clock.wall - 1000, request_id="r")
    manager.end_session(session_id, at=manager.clock.wall - 900)
    again = life.restart()
    assert again.get(session_id).state == "ended"
    assert not again.create_session(type="sip", at=manager.clock.wall - 1000, request_id="r").created


def test_no_number_is_given_twice(life, manager):
    for _ in range(3):
        session_id = manager.create()
        newest = manager.turn(lambda registry: registry.context.directory.last_seq)
        watched = manager.watch(lambda _: None, snapshot=False).number
        manager.settle()
        manager.end_session(session_id)
        manager.clock.advance(100)
        manager = life.restart()
        assert manager.turn(lambda registry: registry.context.directory.last_seq) >= newest
        assert manager.watch(lambda _: None, snapshot=False).number > watched
        assert manager.count_sessions(ended="any").count == 0


def test_limits_count_what_has_come_back(life, manager):
    manager.create(caller="anna")
    again = life.restart(limits=[Limit(name="callers", by="caller", concurrent=1)], max_sessions=2)
    with pytest.raises(LimitExceeded):
        again.create(caller="anna")
    again.create(caller="bert")
    with pytest.raises(LimitExceeded):
        again.create(caller="carl")


def test_what_has_ended_is_taken_in_by_steps_too(life, manager, monkeypatch):
    """Some sessions at a time, whether they live or not."""
    monkeypatch.setattr(recovery, "STEP", 4)
    for _ in range(12):
        manager.end_session(manager.create())
    for _ in range(4):
        manager.create()
    steps, taken = [], Recovery.steps
    monkeypatch.setattr(Recovery, "steps", lambda *given: (steps.append(count) or count for count in taken(*given)))
    life.restart()
    assert steps == [0, 0, 0, 4, 4]


def test_who_had_no_timeouts_of_its_own_has_those_of_the_new_configuration(life, manager):
    usual, own = manager.create(), manager.create(setup_timeout=1000)
    again = life.restart(setup_timeout=10)
    again.pass_time(11)
    assert [again.get(each).state for each in (usual, own)] == ["ended", "initializing"]


def test_what_was_never_told_to_be_kept_may_be_there_and_is_whole(life, manager):
    """A change that is in the file, and of which nobody was told yet when the process died."""
    session_id = manager.create(state="active")
    manager.shut()
    manager.soon("update_session_state", session_id, "held")
    created = manager.soon("create_session", type="sip", caller="anna")
    manager.acknowledge(2)
    again = life.restart()
    assert again.get(session_id).version == 2
    assert again.get(created.get(timeout=1).id).caller == "anna"


# Gateways


def test_gateways_are_lost_until_they_return(life, manager):
    link, _ = manager.connect("g", "e1")
    session_id = create(manager, link)
    other = manager.create(state="active", gateway="never registered")
    again = life.restart()
    assert gateways(again) == {"e1": ("lost", 1)}
    assert again.get(session_id).suspect
    assert not again.get(other).suspect
    assert again.count_sessions(suspect=True).count == 1
    again.connect("g", "e1")
    assert gateways(again) == {"e1": ("live", 1)}
    assert not again.get(session_id).suspect


def test_the_grace_runs_from_the_start(life, manager):
    link, _ = manager.connect("g", "e1")
    session_id = create(manager, link)
    again = life.restart(seconds=1000)
    again.live_for(GRACE - 1)
    assert again.get(session_id).state == "active"
    again.live_for(2)
    assert again.get(session_id).end_reason == "gateway_lost"
    assert gateways(again) in ({}, {"e1": ("lost", 0)})


def test_a_gateway_that_was_lost_for_a_while_already_has_the_whole_grace_again(life, manager):
    link, _ = manager.connect("g", "e1")
    session_id = create(manager, link)
    link.lose()
    manager.clock.advance(GRACE - 1)
    again = life.restart()
    again.live_for(GRACE - 1)
    assert again.get(session_id).state == "active"


def test_the_next_run_of_a_gateway_claims_what_it_names_and_misses_the_others(life, manager):
    link, _ = manager.connect("g", "e1")
    kept, missing = create(manager, link, external_id="kept"), create(manager, link, external_id="missing")
    again = life.restart(seconds=1, gateways=GatewaySettings(lease=30, grace=GRACE, policy="take_over"))
    new, _ = again.connect("g", "e2")
    again.clock.advance(1)
    synced = again.turn(lambda registry: registry.sync("g", SyncPart(external_ids=["kept"]), new.incarnation))
    assert synced.missing == [missing]
    assert (again.get(kept).epoch, again.get(kept).suspect) == ("e2", False)
    again.live_for(1)
    assert again.get(missing).end_reason == "gateway_lost"
    assert gateways(again)["e2"] == ("live", 1)


@pytest.mark.parametrize("policy", ["share", "take_over", "refuse"])
def test_the_next_run_of_a_gateway_can_register_whatever_the_policy(life, manager, policy):
    """The one before is lost from the very start."""
    link, _ = manager.connect("g", "e1")
    session_id = create(manager, link)
    again = life.restart(gateways=GatewaySettings(lease=30, grace=GRACE, policy=policy))
    new, registered = again.connect("g", "e2")
    assert registered.outcome == "restarted"
    with new.asking():
        again.touch_session(session_id)
    assert again.get(session_id).epoch == "e2"


def test_several_runs_hold_what_they_held(life, manager):
    links = {epoch: manager.connect("g", epoch)[0] for epoch in ("e1", "e2", None)}
    ids = {epoch: create(manager, link) for epoch, link in links.items()}
    again = life.restart()
    assert gateways(again) == dict.fromkeys(ids, ("lost", 1))
    again.connect("g", "e2")
    assert {epoch: again.get(session_id).suspect for epoch, session_id in ids.items()} == {
        "e1": True,
        "e2": False,
        None: True,
    }
    again.live_for(GRACE + 1)
    assert again.get(ids["e1"]).end_reason == again.get(ids[None]).end_reason == "gateway_lost"


def test_histories_tell_who_it_was(life, manager):
    link, _ = manager.connect("g", "e1")
    session_id = create(manager, link)
    link.lose()
    new, _ = manager.connect("g", "e2")
    with new.asking():
        manager.update_session_state(session_id, "held")
    manager.update_session(session_id, caller="anna")
    before = manager.get_session_history(session_id)
    assert [each.author.epoch for each in before.entries] == ["e1", "e2", "e2", None]
    again = life.restart()
    assert again.get_session_history(session_id) == before
    third, _ = again.connect("g", "e3")
    with third.asking():
        again.end_session(session_id)
    last = life.restart()
    entries = last.get_session_history(session_id).entries
    assert entries[: len(before.entries)] == before.entries
    assert entries[-1].author.epoch == "e3"


def test_a_claim_is_kept(life, manager):
    session_id = manager.create(state="active", gateway="g")
    link, _ = manager.connect("g", "e1")
    with link.asking():
        manager.touch_session(session_id)
    again = life.restart()
    assert (again.get(session_id).epoch, again.get(session_id).suspect) == ("e1", True)
    assert again.get(session_id).version == 1


# Relaxed


@pytest.fixture
def relaxed(life):
    life.options["durability"] = "relaxed"
    return life.restart()


def test_relaxed_answers_come_at_once(relaxed):
    relaxed.store.is_shut = True
    created = relaxed.create_session(type="sip", caller="anna", gateway="g", external_id="x")
    assert relaxed.update_session_state(created.id, "active").version == 2
    assert relaxed.list_sessions(caller="anna").sessions[0].state == "active"
    assert relaxed.end_session({"gateway": "g", "external_id": "x"}).version == 3
    assert relaxed.count_sessions().count == 0


def test_relaxed_sessions_come_back(life, relaxed):
    link, _ = relaxed.connect("g", "e1")
    live, over = create(relaxed, link, metadata=SCALARS), create(relaxed, link)
    relaxed.update_session_state(live, "held")
    relaxed.end_session(over)
    before = [asdict(relaxed.get(each)) for each in (live, over)]
    again = life.restart()
    after = [asdict(again.get(each)) for each in (live, over)]
    assert after[0] | {"suspect": False, "expires_at": None} == before[0] | {"expires_at": None}
    assert after[1] == before[1]


def test_a_relaxed_store_that_fails_loses_nothing_that_was_answered(life, relaxed):
    relaxed.breaks()
    created = relaxed.create(state="active", request_id="r")
    assert relaxed.update_session_state(created, "held").version == 2
    relaxed.fails()
    assert relaxed.get(created).version == 2
    relaxed.recovers()
    assert relaxed.update_session_state(created, "active").version == 3
    assert life.restart().get(created).version == 3
