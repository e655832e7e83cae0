"""What gateways and administrators are told of changes that are on their way: nothing before they are settled."""

from __future__ import annotations

import pytest
from commanded import Gateway
from gated import gated
from runtimes import PATIENCE

from sessiond.actors.errors import Unavailable
from sessiond.actors.params import SyncPart
from sessiond.actors.settings import Commanding, GatewaySettings


@pytest.fixture
def manager(tmp_path):
    gateways, commanding = GatewaySettings(lease=3600), Commanding(rate=1000)
    with gated(tmp_path / "store.db", gateways=gateways, commanding=commanding, max_duration=0) as running:
        yield running


@pytest.fixture
def link(manager):
    """A connection of a gateway that takes commands."""
    return Gateway(manager, "g").connect()


def create(manager, link, **fields):
    with link.asking():
        session_id = manager.create(state="active", **fields)
    manager.clock.advance(1)
    manager.settle()
    return session_id


def sync_soon(manager, link, **part):
    """One part of a sync, whose answer may be on its way: what comes of it, once there is anything."""
    outcome = []

    def begin(registry):
        answer = registry.sync("g", SyncPart(**part), link.incarnation)
        getattr(answer, "then", lambda told: told(answer, None))(lambda *told: outcome.append(told))

    manager.turn(begin)
    manager.settle()
    return outcome


# Syncs


def test_a_sync_is_answered_when_all_is_settled_that_it_has_claimed(manager, link):
    first, second = create(manager, link), create(manager, link)
    link.lose()
    new, _ = manager.connect("g", "e2")
    manager.shut()
    outcome = sync_soon(manager, new, ids=[first])
    assert outcome == []
    manager.acknowledge()
    ((synced, error),) = outcome
    assert error is None
    assert synced.missing == [second]
    assert manager.get(first).epoch == "e2"


def test_a_sync_that_meets_an_end_waits_for_it(manager, link):
    session_id = create(manager, link, external_id="x")
    manager.shut()
    manager.soon("end_session", session_id, "busy")
    outcome = sync_soon(manager, link, external_ids=["x"])
    assert outcome == []
    manager.acknowledge()
    assert [each.end_reason for each in outcome[0][0].ended] == ["busy"]


def test_a_sync_claims_a_session_whose_create_is_not_settled(manager, link):
    """Whoever goes on with a call need not wait for the store to know of it."""
    manager.shut()
    with link.asking():
        manager.soon("create_session", type="sip", external_id="x")
    link.lose()
    new, _ = manager.connect("g", "e2")
    outcome = sync_soon(manager, new, external_ids=["x"])
    manager.acknowledge(2)
    assert outcome[0][0].unknown == []
    assert manager.get_session({"gateway": "g", "external_id": "x"}).epoch == "e2"
    assert [each.sessions for each in manager.list_gateways().gateways] == [0, 1]


def test_a_sync_whose_claims_are_lost_is_refused(manager, link):
    session_id = create(manager, link)
    link.lose()
    new, _ = manager.connect("g", "e2")
    manager.breaks()
    outcome = sync_soon(manager, new, ids=[session_id])
    manager.fails()
    assert isinstance(outcome[0][1], Unavailable)
    assert manager.get(session_id).epoch == "e1"


def test_a_lost_gateway_s_sessions_end_when_their_create_is_settled_late(manager, link):
    manager.shut()
    with link.asking():
        create = manager.soon("create_session", type="sip", setup_timeout=0)
    link.lose()
    manager.acknowledge()
    session_id = create.get(timeout=PATIENCE).id
    assert manager.get(session_id).suspect
    manager.store.is_shut = False
    manager.live_for(GatewaySettings().grace + 1)
    assert manager.get(session_id).end_reason == "gateway_lost"


# Commands


def test_a_gateway_is_told_to_hang_up_when_the_end_is_settled(manager, link):
    session_id = create(manager, link, idle_timeout=10)
    manager.shut()
    manager.pass_time(11)
    assert link.asked == []
    manager.acknowledge()
    manager.settle()
    assert [asked.arguments["id"] for asked in link.asked] == [session_id]


def test_a_gateway_is_not_told_of_an_end_that_was_lost(manager, link):
    create(manager, link, idle_timeout=10)
    manager.breaks()
    manager.pass_time(11)
    manager.fails()
    assert link.asked == []


def test_a_termination_is_answered_when_the_end_is_settled(manager, link):
    session_id = create(manager, link)
    manager.shut()
    terminated = manager.soon("terminate_session", session_id)
    link.asked[0].answer()
    assert not terminated.done()
    assert manager.count_sessions().count == 1
    manager.acknowledge()  # what the history tells of the command
    assert not terminated.done()
    manager.acknowledge()
    assert terminated.get(timeout=PATIENCE).gateway == "done"
    assert manager.count_sessions().count == 0


def test_a_termination_that_finds_the_call_ended_waits_for_that_end(manager, link):
    session_id = create(manager, link)
    manager.shut()
    terminated = manager.soon("terminate_session", session_id)
    manager.soon("end_session", session_id, "busy")
    link.asked[0].answer()
    assert not terminated.done()
    manager.acknowledge(len(manager.journal))
    assert terminated.get(timeout=PATIENCE).version == 2
    assert manager.get(session_id).end_reason == "busy"


def test_a_termination_that_was_lost_is_refused(manager, link):
    session_id = create(manager, link)
    manager.breaks()
    terminated = manager.soon("terminate_session", session_id)
    link.asked[0].answer()
    manager.fails()
    with pytest.raises(Unavailable):
        terminated.get(timeout=PATIENCE)
    assert manager.get(session_id).state == "active"


def test_a_session_whose_create_is_not_settled_can_be_terminated(manager, link):
    manager.shut()
    with link.asking():
        manager.soon("create_session", type="sip", external_id="x")
    terminated = manager.soon("terminate_session", {"gateway": "g", "external_id": "x"})
    link.asked[0].answer()
    manager.acknowledge(len(manager.journal))
    assert terminated.get(timeout=PATIENCE).gateway == "done"
    assert manager.count_sessions().count == 0


def test_ends_in_bulk_are_answered_when_they_are_settled(manager):
    for _ in range(3):
        manager.create()
    manager.shut()
    ended = manager.soon("end_sessions", dry_run=False)
    for _ in range(3):
        manager.clock.advance(0.1)
        manager.dispatcher.fire()
        manager.settle()
    assert not ended.done()
    manager.acknowledge(len(manager.journal))
    assert ended.get(timeout=PATIENCE).ended == 3
