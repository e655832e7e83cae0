"""A store that fails has lost what was on its way: nobody was told of it, and everything is as it was before."""

from __future__ import annotations

import pykka
import pytest
from gated import gated
from msgspec.structs import asdict
from runtimes import PATIENCE
from services import send

from sessiond.actors.errors import InvalidTransition, NotFound, Unavailable, VersionConflict
from sessiond.actors.events import SessionChanged
from sessiond.actors.limits import Limit
from sessiond.actors.params import Address
from sessiond.actors.settings import GatewaySettings

ADDRESS = {"gateway": "g", "external_id": "x"}
LIMIT = Limit(name="callers", by="caller", concurrent=1)


@pytest.fixture
def manager(tmp_path):
    with gated(
        tmp_path / "store.db",
        retention=60,
        max_duration=0,
        setup_timeout=100,
        idle_timeout=1000,
        max_sessions=3,
        limits=[LIMIT],
        gateways=GatewaySettings(lease=3600),
    ) as running:
        yield running


@pytest.fixture
def session_id(manager):
    """An active session that the store has acknowledged."""
    created = manager.create(state="active", caller="anna", metadata={"a": 1}, **ADDRESS)
    manager.settle()
    return created


def refused(*futures):
    """All have been answered, by unavailable."""
    for future in futures:
        with pytest.raises(Unavailable):
            future.get(timeout=PATIENCE)


def everything(manager, session_id):
    """All that is known of a session, but for its activity."""
    session = asdict(manager.get(session_id)) | {"last_activity_at": None, "expires_at": None}
    return session, manager.get_session_history(session_id)


# What was on its way


def test_whoever_waits_is_told(manager, session_id):
    manager.breaks()
    waiting = [
        manager.soon("create_session", type="sip"),
        manager.soon("update_session_state", session_id, "held"),
        manager.soon("get_session", session_id),
        manager.soon("update_session_state", session_id, "initializing"),
        manager.soon("update_session", session_id, caller="bert", if_version=1),
        manager.soon("end_session", session_id),
        manager.soon("end_session", session_id),
        manager.soon("touch_session", session_id),
    ]
    assert not any(future.done() for future in waiting)
    manager.fails()
    refused(*waiting)


def test_what_was_settled_before_is_told(manager, session_id):
    manager.shut()
    kept = manager.soon("update_session_state", session_id, "held")
    manager.store.put("test", 1)
    manager.acknowledge()
    manager.breaks()
    lost = manager.soon("update_session_state", session_id, "active")
    manager.fails()
    assert kept.get(timeout=PATIENCE).version == 2
    refused(lost)
    assert manager.get(session_id).state == "held"


def test_a_create_leaves_no_trace(manager):
    manager.breaks()
    create = manager.soon("create_session", type="sip", caller="bert", request_id="r", **ADDRESS)
    change = manager.soon("update_session", ADDRESS, external_id="y")
    end = manager.soon("end_session", {"gateway": "g", "external_id": "y"})
    manager.fails()
    refused(create, change, end)
    for place in ("x", "y"):
        with pytest.raises(NotFound):
            manager.get_session({"gateway": "g", "external_id": place})
    assert not manager.context.directory.by_id
    assert not manager.context.requests
    assert manager.count_sessions(ended=True).count == 0
    manager.recovers()
    again = manager.create_session(type="sip", caller="bert", request_id="r", **ADDRESS)
    assert again.created


def test_creates_that_were_lost_count_no_more(manager):
    manager.breaks()
    for caller in ("anna", "bert", "carl"):
        manager.soon("create_session", type="sip", caller=caller)
    manager.fails()
    manager.recovers()
    for caller in ("anna", "bert", "carl"):
        manager.create(caller=caller)


def test_the_ref_of_a_session_that_was_lost_is_dead(manager):
    manager.breaks()
    manager.soon("create_session", type="sip", **ADDRESS)
    actor = manager.turn(lambda registry: registry.find(Address(**ADDRESS)).actor_ref)
    assert actor.is_alive()
    manager.fails()
    assert not actor.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        send(actor, "get").get(timeout=PATIENCE)


CHANGES = {
    "state": ("update_session_state", ["held"], {}),
    "metadata": ("update_session_metadata", [{"a": None, "b": 2}], {}),
    "fields": ("update_session", [], {"caller": "bert", "parent": "p"}),
    "address": ("update_session", [], {"external_id": "y"}),
    "timeouts": ("update_session", [], {"idle_timeout": 1}),
    "end": ("end_session", ["busy"], {"sip_code": 486}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_session_is_as_it_was(manager, session_id, change):
    method, arguments, options = CHANGES[change]
    before = everything(manager, session_id)
    listed = manager.list_sessions(external_id="x").sessions
    manager.breaks()
    refused_soon = manager.soon(method, session_id, *arguments, **options)
    manager.fails()
    refused(refused_soon)
    assert everything(manager, session_id) == before
    assert manager.get_session(ADDRESS).id == session_id
    assert manager.list_sessions(external_id="x").sessions == listed
    manager.recovers()
    assert manager.update_session_state(session_id, "held").version == 2
    assert manager.end_session(session_id).version == 3


def test_several_changes_are_all_taken_back(manager, session_id):
    before = everything(manager, session_id)
    manager.breaks()
    lost = [manager.soon(method, session_id, *given, **options) for method, given, options in CHANGES.values()]
    manager.fails()
    refused(*lost)
    assert everything(manager, session_id) == before


def test_a_session_is_held_by_whom_it_was_held(manager):
    old, _ = manager.connect("g", "e1")
    with old.asking():
        session_id = manager.create(state="active", **ADDRESS)
    manager.settle()
    old.lose()
    new, _ = manager.connect("g", "e2")
    manager.settle()
    assert manager.get(session_id).suspect
    manager.breaks()
    with new.asking():
        claim = manager.soon("touch_session", session_id)
    look = manager.soon("get_session", session_id)
    assert [each.sessions for each in manager.list_gateways().gateways] == [1, 0]
    manager.fails()
    refused(claim, look)
    assert (manager.get(session_id).epoch, manager.get(session_id).suspect) == ("e1", True)
    manager.recovers()
    with new.asking():
        manager.touch_session(session_id)
    assert (manager.get(session_id).epoch, manager.get(session_id).suspect) == ("e2", False)
    assert [each.sessions for each in manager.list_gateways().gateways] == [0, 1]


def test_a_session_whose_end_was_lost_lives_and_ends_when_it_is_due(manager, session_id):
    ref = manager.ref(session_id)
    manager.breaks()
    end = manager.soon("end_session", session_id)
    assert not ref.is_alive()
    manager.fails()
    refused(end)
    manager.recovers()
    manager.pass_time(999)
    assert manager.get(session_id).state == "active"
    manager.pass_time(2)
    assert manager.get(session_id).end_reason == "idle_timeout"


def test_an_end_by_the_reaper_that_was_lost_comes_again(manager):
    session_id = manager.create()
    manager.breaks()
    manager.pass_time(101)
    manager.fails()
    assert manager.get(session_id).state == "initializing"
    manager.recovers()
    manager.pass_time(1)
    assert manager.get(session_id).end_reason == "setup_timeout"


def test_a_timeout_that_was_lost_does_not_count(manager, session_id):
    manager.breaks()
    manager.soon("update_session", session_id, idle_timeout=0)
    manager.pass_time(999)
    manager.fails()
    manager.recovers()
    manager.pass_time(2)
    assert manager.get(session_id).end_reason == "idle_timeout"


def test_a_stop_by_ref_that_was_lost_is_refused(manager, session_id):
    ref = manager.ref(session_id)
    manager.breaks()
    stop = ref.stop(block=False)
    manager.settle()
    manager.fails()
    refused(stop)
    assert manager.get(session_id).state == "active"
    assert manager.ref(session_id).is_alive()


def test_watchers_hear_nothing_of_what_was_lost(manager, session_id):
    told = []
    manager.watch(told.append, snapshot=False)
    manager.settle()
    manager.breaks()
    manager.soon("update_session_state", session_id, "held")
    manager.soon("create_session", type="sip")
    manager.fails()
    manager.recovers()
    manager.update_session_metadata(session_id, {"b": 1})
    manager.settle()
    (change,) = (event for event in told if isinstance(event, SessionChanged))
    assert (change.session.state, change.session.version) == ("active", 2)


# As long as it fails


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_refused_at_once_and_leaves_no_trace(manager, session_id, change):
    method, arguments, options = CHANGES[change]
    ref = manager.ref(session_id)
    before = everything(manager, session_id)
    manager.fails()
    with pytest.raises(Unavailable):
        getattr(manager, method)(session_id, *arguments, **options)
    assert everything(manager, session_id) == before
    assert ref.is_alive()
    manager.recovers()
    assert everything(manager, session_id) == before
    assert getattr(manager, method)(session_id, *arguments, **options).version == 2


def test_a_create_is_refused_at_once(manager, session_id):
    manager.fails()
    with pytest.raises(Unavailable):
        manager.create(request_id="r")
    assert not manager.context.requests
    assert manager.count_sessions().count == 1


def test_a_stop_by_ref_is_refused(manager, session_id):
    ref = manager.ref(session_id)
    manager.fails()
    with pytest.raises(Unavailable):
        ref.stop()
    assert ref.is_alive()
    assert ref.proxy().get().get(timeout=PATIENCE).state == "active"


def test_a_claim_is_refused(manager):
    old, _ = manager.connect("g", "e1")
    with old.asking():
        session_id = manager.create(state="active")
    old.lose()
    new, _ = manager.connect("g", "e2")
    manager.settle()
    manager.fails()
    with new.asking(), pytest.raises(Unavailable):
        manager.touch_session(session_id)
    assert manager.get(session_id).epoch == "e1"


def test_what_changes_nothing_goes_on(manager, session_id):
    manager.create(request_id="r")
    manager.fails()
    assert manager.get(session_id).version == 1
    assert manager.get_session_history(session_id).entries
    assert manager.touch_session(session_id).version == 1
    assert manager.update_session_state(session_id, "active").version == 1
    assert manager.update_session_metadata(session_id, {"a": 1}).version == 1
    assert manager.update_session(session_id, caller="anna").version == 1
    assert not manager.create_session(type="sip", request_id="r").created
    assert len(manager.list_sessions().sessions) == 2
    with pytest.raises(VersionConflict):
        manager.update_session(session_id, caller="bert", if_version=7)
    with pytest.raises(InvalidTransition):
        manager.update_session_state(session_id, "initializing")


def test_the_reaper_ends_nothing_until_it_is_over(manager, session_id):
    early = manager.create()
    manager.settle()
    manager.fails()
    manager.pass_time(1001)
    assert {manager.get(each).state for each in (early, session_id)} == {"initializing", "active"}
    manager.recovers()
    manager.pass_time(1)
    assert [manager.get(each).end_reason for each in (early, session_id)] == ["setup_timeout", "idle_timeout"]


def test_a_session_that_had_been_told_to_end_when_it_failed_ends_later(manager, session_id):
    """What the reaper tells it waits in its mailbox, since somebody has its ref."""
    manager.ref(session_id)
    manager.breaks()
    manager.turn(lambda _: manager.store.put("test", 0))
    failed = manager.store.held.get(timeout=PATIENCE)
    manager.clock.advance(1001)
    manager.turn(lambda _: (manager.reaper.local().sweep(), failed()))
    manager.settle()
    assert manager.get(session_id).state == "active"
    manager.recovers()
    manager.pass_time(1)
    assert manager.get(session_id).end_reason == "idle_timeout"


def test_touches_while_it_fails_keep_a_session_alive(manager, session_id):
    manager.fails()
    manager.clock.advance(900)
    manager.touch_session(session_id)
    manager.recovers()
    manager.pass_time(900)
    assert manager.get(session_id).state == "active"


def test_touches_while_it_fails_take_no_memory(manager, session_id):
    manager.fails()
    waiting = manager.store.waiting
    for _ in range(100):
        manager.clock.advance(1)
        manager.touch_session(session_id)
    assert manager.store.waiting == waiting


def test_it_may_fail_again(manager, session_id):
    for version in (1, 2, 3):
        manager.breaks()
        lost = manager.soon("update_session_metadata", session_id, {"b": version})
        manager.fails()
        refused(lost)
        manager.recovers()
        assert manager.update_session_metadata(session_id, {"b": version}).version == version + 1


# The end


def test_whoever_waits_when_the_service_stops_is_told(tmp_path):
    """What they wait for may have been kept."""
    with gated(tmp_path / "store.db") as stopping:
        stopping.shut()
        create = stopping.soon("create_session", type="sip")
        look = stopping.soon("get_session", next(iter(stopping.context.directory.by_id)))
    refused(create, look)
