"""Syncs: both differences between a gateway and the service, and no call is lost for what was not said."""

from __future__ import annotations

import pytest
from services import service

from sessiond.actors.directory import MAX_ADDRESSED
from sessiond.actors.errors import Conflict, Internal, InvalidRequest, LimitExceeded
from sessiond.actors.incarnation import Incarnation
from sessiond.actors.missing import MAX_MISSING
from sessiond.actors.params import SyncPart
from sessiond.actors.session import SessionActor
from sessiond.actors.settings import GatewaySettings
from sessiond.actors.sync import MAX_OWN, MAX_STRANGERS, MAX_SYNCS, SYNC_SECONDS

GRACE = 120.0
MOMENT = 0.01
"""A session of which something is heard at the very moment at which a sync begins is not missed by it."""


def create(link, **fields):
    with link.asking() as manager:
        session_id = manager.create(**{"state": "active"} | fields)
        manager.clock.advance(MOMENT)
    return session_id


def sync(manager, link=None, gateway="gw", **part):
    """One part of a sync by the incarnation of ``link``, or by nobody."""
    incarnation = None if link is None else link.incarnation
    return manager.turn(lambda registry: registry.sync(gateway, SyncPart(**part), incarnation))


def reasons(manager, ids):
    manager.live_for(1)
    return [manager.get(each).end_reason for each in ids]


def outcomes(manager):
    return {outcome: count for outcome, count in manager.context.syncs.outcomes.items() if count}


@pytest.fixture
def restarted(manager):
    """The links of a gateway's two runs, of which the first is lost, and the ids of the calls that that one had."""
    old, _ = manager.connect("gw", "e1")
    ids = [create(old, external_id=f"call {number}") for number in range(4)]
    old.lose()
    manager.clock.advance(1)
    new, _ = manager.connect("gw", "e2", lease=3600)
    return old, new, ids


# Both differences


def test_a_sync_tells_both_differences(manager):
    link, _ = manager.connect("gw", "e1")
    known, missing = create(link, external_id="known"), create(link)
    ended = create(link, external_id="ended")
    manager.end_session(ended, "busy")
    foreign = manager.create(gateway="other", external_id="foreign")
    answer = sync(manager, link, ids=[foreign, ended, "no such"], external_ids=["known", "ended", "foreign", "none"])
    assert answer.unknown == [foreign, "no such", "foreign", "none"]
    assert [(each.id, each.external_id, each.end_reason) for each in answer.ended] == [(ended, "ended", "busy")] * 2
    assert (answer.missing, answer.cursor) == ([missing], None)
    assert reasons(manager, [known, missing]) == [None, None]
    assert outcomes(manager) == {"complete": 1}


def test_an_empty_list_is_an_answer_and_no_list_is_none(manager):
    link, _ = manager.connect("gw", "e1")
    session_id = create(link)
    with pytest.raises(InvalidRequest) as refusal:
        sync(manager, link)
    assert refusal.value.details["field"] == "ids"
    assert sync(manager, link, ids=[]).missing == [session_id]


def test_a_sync_may_come_in_parts(manager):
    link, _ = manager.connect("gw", "e1")
    ids = [create(link) for _ in range(4)]
    first = sync(manager, link, ids=ids[:1], final=False)
    assert (first.missing, first.unknown) == ([], [])
    second = sync(manager, link, sync=first.sync, ids=[ids[1], "x"], final=False)
    assert (second.sync, second.unknown) == (first.sync, ["x"])
    assert sync(manager, link, sync=first.sync, ids=[ids[3]]).missing == [ids[2]]
    assert outcomes(manager) == {"complete": 1}


def test_a_part_that_was_repeated_does_no_harm(manager, restarted):
    _, new, ids = restarted
    token = sync(manager, new, ids=ids[:1], final=False).sync
    for _ in range(2):
        sync(manager, new, sync=token, ids=ids[1:2], final=False)
    answers = [sync(manager, new, sync=token, ids=ids[2:3]) for _ in range(2)]
    assert [answer.missing for answer in answers] == [ids[3:]] * 2
    assert reasons(manager, ids) == [None, None, None, "gateway_lost"]


def test_what_is_missing_comes_in_pages(manager):
    link, _ = manager.connect("gw", "e1")
    with link.asking():
        ids = [manager.create(state="active") for _ in range(2 * MAX_MISSING + 10)]
    manager.clock.advance(1)
    answer = sync(manager, link, ids=ids[:5])
    pages = [answer.missing]
    while answer.cursor is not None:
        answer = sync(manager, link, sync=answer.sync, cursor=answer.cursor)
        pages.append(answer.missing)
    assert [len(page) for page in pages] == [MAX_MISSING, MAX_MISSING, 5]
    assert [each for page in pages for each in page] == ids[5:]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1" * 20, "²"])
def test_a_cursor_that_is_none_is_refused(manager, cursor):
    link, _ = manager.connect("gw", "e1")
    token = sync(manager, link, ids=[]).sync
    with pytest.raises(InvalidRequest) as refusal:
        sync(manager, link, sync=token, cursor=cursor)
    assert refusal.value.details["field"] == "cursor"


def test_what_happened_since_the_sync_began_is_not_missed(manager):
    """The gateway made its list before: what it has told of since then, it has."""
    link, _ = manager.connect("gw", "e1")
    touched, ended, silent = (create(link) for _ in range(3))
    token = sync(manager, link, ids=[], final=False).sync
    manager.clock.advance(1)
    create(link)
    with link.asking():
        manager.touch_session(touched)
        manager.end_session(ended)
    assert sync(manager, link, sync=token).missing == [silent]


def test_in_process_a_gateway_syncs_too(manager):
    manager.register_gateway("gw", epoch="e1")
    kept, missing = manager.create(gateway="gw"), manager.create(gateway="gw")
    manager.clock.advance(1)
    assert manager.sync_sessions("gw", ids=[kept]).missing == [missing]
    for options in ({"ids": [1]}, {"ids": ["x"] * 257}, {"final": None}, {"other": 1}):
        with pytest.raises(InvalidRequest):
            manager.sync_sessions("gw", **options)


# Claims


def test_what_a_restarted_gateway_names_it_claims(manager, restarted):
    _, new, ids = restarted
    manager.clock.advance(1)
    answer = sync(manager, new, ids=ids[:1], external_ids=["call 1"])
    assert answer.unknown == []
    for each in ids[:2]:
        session = manager.get(each)
        assert (session.epoch, session.suspect) == ("e2", False)
        assert session.last_activity_at == manager.clock.wall
        assert manager.get_session_history(each).entries[-1].change == "claimed"
    assert len(new.incarnation.sessions) == 2


def test_what_it_does_not_name_ends_at_once(manager, restarted):
    """It has told of all calls that it has."""
    _, new, ids = restarted
    assert sync(manager, new, ids=ids[:1]).missing == ids[1:]
    assert reasons(manager, ids) == [None, "gateway_lost", "gateway_lost", "gateway_lost"]


def test_its_own_it_judges_itself(manager):
    """A list that was made before a call was created must not end it."""
    link, _ = manager.connect("gw", "e1")
    ids = [create(link) for _ in range(3)]
    assert sync(manager, link, ids=[]).missing == ids
    assert reasons(manager, ids) == [None] * 3


def test_a_call_that_is_nobodys_is_missed_and_not_ended(manager):
    """It was created before the gateway registered."""
    session_id = manager.create(gateway="gw", state="active")
    link, _ = manager.connect("gw", "e1")
    manager.clock.advance(1)
    assert sync(manager, link, ids=[]).missing == [session_id]
    assert sync(manager, link, ids=[session_id]).missing == []
    assert manager.get(session_id).epoch == "e1"
    link.lose()
    assert manager.get(session_id).suspect


def test_a_crash_of_a_session_that_is_named_does_not_lose_it():
    """It gets a second chance; then the part fails, so that the gateway knows that it has to begin anew."""

    class Faulty(SessionActor):
        failures = 1

        def confirm(self, incarnation):
            if type(self).failures:
                type(self).failures -= 1
                raise RuntimeError
            super().confirm(incarnation)

    with service(Faulty) as manager:
        old, _ = manager.connect("gw", "e1")
        ids = [create(old) for _ in range(2)]
        old.lose()
        new, _ = manager.connect("gw", "e2")
        sync(manager, new, ids=ids[:1])
        assert manager.get(ids[0]).epoch == "e2"
        Faulty.failures = 2
        with pytest.raises(Internal):
            sync(manager, new, ids=ids)
        assert reasons(manager, ids) == [None, "gateway_lost"]
        assert outcomes(manager) == {"complete": 1, "failed": 1}


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "busy"])
def test_a_session_whose_ref_somebody_has_is_claimed_too(manager, restarted, waiting):
    _, new, ids = restarted
    refs = [manager.ref(each) for each in ids]
    if waiting:
        for ref in refs:
            ref.proxy().get()
    sync(manager, new, ids=ids[:2])
    assert reasons(manager, ids) == [None, None, "gateway_lost", "gateway_lost"]


def test_very_many_calls_of_one_address_must_be_named_by_their_ids(manager, restarted):
    """Naming some of them only would end the others."""
    _, new, ids = restarted
    twins = [create(new, external_id="twin") for _ in range(MAX_ADDRESSED)]
    token = sync(manager, new, ids=ids, final=False).sync
    with pytest.raises(Conflict) as refusal:
        sync(manager, new, sync=token, external_ids=["twin"], final=False)
    assert refusal.value.details == {"external_id": "twin"}
    with pytest.raises(InvalidRequest):
        sync(manager, new, sync=token)
    assert reasons(manager, [*ids, *twins]) == [None] * (4 + MAX_ADDRESSED)
    assert outcomes(manager) == {"failed": 1}


# Who judges


def test_whoever_only_wants_to_know_claims_and_ends_nothing(manager, restarted):
    _, _, ids = restarted
    manager.clock.advance(1)
    before = manager.get(ids[0])
    answer = sync(manager, None, ids=[ids[0], "x"])
    assert (answer.unknown, answer.missing) == (["x"], ids[1:])
    assert manager.get(ids[0]) == before
    assert reasons(manager, ids) == [None] * 4


def test_a_gateway_that_shares_its_name_ends_nothing_of_the_others(manager):
    """Lost or not: they may be back in a moment."""
    links = {epoch: manager.connect("gw", epoch)[0] for epoch in ("e1", "e2")}
    ids = {epoch: create(link) for epoch, link in links.items()}
    assert sync(manager, links["e2"], ids=[]).missing == [ids["e2"]]
    links["e1"].lose()
    manager.clock.advance(1)
    assert sync(manager, links["e2"], ids=[]).missing == [ids["e2"]]
    assert reasons(manager, ids.values()) == [None, None]
    third, answer = manager.connect("gw", "e3")
    assert answer.outcome == "shared"
    links["e2"].lose()
    assert sync(manager, third, ids=[]).missing == []
    assert reasons(manager, ids.values()) == [None, None]


def test_one_that_was_lost_after_the_other_registered_is_not_its_past(manager):
    """It lives on a line of its own that is down for a moment."""
    old, _ = manager.connect("gw", "e1")
    session_id = create(old)
    old.lose()
    new, _ = manager.connect("gw", "e2")
    back, _ = manager.connect("gw", "e1")
    back.lose()
    assert sync(manager, new, ids=[]).missing == []
    assert reasons(manager, [session_id]) == [None]


def test_nobody_judges_while_one_beside_it_may_go_on_with_the_calls(manager):
    """Of two that came after a restart the other one has the calls, and was lost before it could say so."""
    old, _ = manager.connect("gw", "e1")
    session_id = create(old)
    old.lose()
    heir, _ = manager.connect("gw", "e2")
    other, _ = manager.connect("gw", "e3")
    heir.lose()
    manager.clock.advance(1)
    assert sync(manager, other, ids=[]).missing == []
    assert reasons(manager, [session_id]) == [None]
    heir, _ = manager.connect("gw", "e2")
    sync(manager, heir, ids=[session_id])
    assert manager.get(session_id).epoch == "e2"


def test_whoever_took_over_knows_all():
    with service(gateways=GatewaySettings(policy="take_over")) as manager:
        old, _ = manager.connect("gw", "e1")
        kept, gone = create(old), create(old)
        new, _ = manager.connect("gw", "e2")
        assert sync(manager, new, ids=[kept]).missing == [gone]
        assert reasons(manager, [kept, gone]) == [None, "gateway_lost"]


def test_a_gateway_that_comes_back_after_the_verdict_keeps_what_is_left():
    with service(ends_per_second=1000) as manager:
        old, _ = manager.connect("gw", "e1")
        for _ in range(30):
            create(old)
        old.lose()
        manager.clock.advance(1)
        new, _ = manager.connect("gw", "e2")
        sync(manager, new, ids=[])
        manager.sweep()
        left = manager.count_sessions().count
        assert left == 20
        assert manager.connect("gw", "e1")[1].sessions == left
        manager.live_for(1)
        assert manager.count_sessions().count == left


def test_what_was_heard_of_since_the_sync_began_waits_for_the_grace(manager, restarted):
    """Somebody who is not the gateway speaks of it: maybe a worker of it that has not registered."""
    _, new, ids = restarted
    token = sync(manager, new, ids=[], final=False).sync
    manager.clock.advance(1)
    manager.touch_session(ids[0])
    assert sync(manager, new, sync=token).missing == ids[1:]
    assert reasons(manager, ids) == [None, "gateway_lost", "gateway_lost", "gateway_lost"]
    manager.live_for(GRACE)
    assert manager.get(ids[0]).end_reason == "gateway_lost"


# Syncs that are never closed


def test_a_sync_without_its_last_part_judges_nothing(manager, restarted):
    _, new, ids = restarted
    token = sync(manager, new, ids=ids[:1], final=False).sync
    manager.live_for(SYNC_SECONDS - 1)
    sync(manager, new, sync=token, ids=ids[1:2], final=False)
    manager.live_for(SYNC_SECONDS - 5)
    assert len(manager.context.syncs) == 1
    manager.live_for(5)
    assert len(manager.context.syncs) == 0
    assert outcomes(manager) == {"expired": 1}


def test_a_last_part_that_comes_too_late_judges_nothing(manager, restarted):
    _, new, ids = restarted
    token = sync(manager, new, ids=ids[:1], final=False).sync
    manager.live_for(SYNC_SECONDS)
    with pytest.raises(InvalidRequest) as refusal:
        sync(manager, new, sync=token)
    assert refusal.value.details["field"] == "sync"
    assert reasons(manager, ids) == [None] * 4


@pytest.mark.parametrize("returned", [False, True], ids=["lost", "lost and back"])
def test_a_sync_during_which_its_gateway_is_lost_judges_nothing(manager, restarted, returned):
    _, new, ids = restarted
    token = sync(manager, new, ids=ids[:1], final=False).sync
    new.lose()
    manager.clock.advance(1)
    if returned:
        new, _ = manager.connect("gw", "e2")
    with pytest.raises(InvalidRequest):
        sync(manager, new, sync=token)
    assert reasons(manager, ids) == [None] * 4
    assert outcomes(manager) == {"lost": 1}


def test_a_sync_that_nobody_goes_on_with_after_a_loss_is_counted_as_lost(manager, restarted):
    _, new, ids = restarted
    sync(manager, new, ids=ids[:1], final=False)
    new.lose()
    manager.live_for(SYNC_SECONDS)
    assert outcomes(manager) == {"lost": 1}


def test_nobody_goes_on_with_the_sync_of_another(manager, restarted):
    _, new, ids = restarted
    other, _ = manager.connect("other")
    token = sync(manager, new, ids=ids[:1], final=False).sync
    for link, gateway in ((None, "gw"), (other, "other"), (other, "gw")):
        with pytest.raises(InvalidRequest):
            sync(manager, link, gateway, sync=token)
    with pytest.raises(InvalidRequest):
        sync(manager, new, sync="unheard of")
    assert reasons(manager, ids) == [None] * 4


def test_a_part_that_asks_for_the_result_before_there_is_one_spoils_it(manager, restarted):
    _, new, ids = restarted
    token = sync(manager, new, ids=ids[:1], final=False).sync
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            sync(manager, new, sync=token, cursor="0")
    assert reasons(manager, ids) == [None] * 4


def test_a_part_that_makes_no_sense_spoils_it(manager):
    """Whoever was named in it is not known."""
    manager.register_gateway("gw", epoch="e1", lease=1)
    session_id = manager.create(gateway="gw", state="active")
    manager.live_for(1)
    manager.register_gateway("gw", epoch="e2")
    token = manager.sync_sessions("gw", ids=[], final=False).sync
    with pytest.raises(InvalidRequest):
        manager.sync_sessions("gw", sync=token, ids=[session_id, 7], final=False)
    with pytest.raises(InvalidRequest) as refusal:
        manager.sync_sessions("gw", sync=token)
    assert refusal.value.details["field"] == "sync"
    assert reasons(manager, [session_id]) == [None]
    assert outcomes(manager) == {"failed": 1}


def test_only_so_many_syncs_are_under_way(manager):
    """In all: nobody can begin so many alone."""
    syncs, now = manager.context.syncs, manager.clock.read()
    for number in range(MAX_SYNCS // MAX_OWN):
        incarnation = Incarnation("gw", str(number), 0, now)
        for _ in range(MAX_OWN):
            syncs.begin("gw", incarnation, 0, now)
    with pytest.raises(LimitExceeded) as caught:
        syncs.begin("gw", Incarnation("gw", "one more", 0, now), 0, now)
    assert caught.value.details == {"limit": "syncs", "maximum": MAX_SYNCS}
    syncs.complete(next(iter(syncs._open.values())))
    syncs.begin("gw", Incarnation("gw", "one more", 0, now), 0, now)


def test_nobody_takes_a_gateway_the_place_for_its_sync(manager, restarted):
    """Strangers have so many together, and an incarnation so many: of more the oldest is forgotten."""
    _, new, ids = restarted
    begun = sync(manager, new, external_ids=["call 0"], final=False)
    first = sync(manager, external_ids=[], final=False).sync
    for _ in range(MAX_STRANGERS):
        last = sync(manager, external_ids=[], final=False).sync
    with pytest.raises(InvalidRequest):
        sync(manager, sync=first, external_ids=[])
    sync(manager, sync=last, external_ids=[])
    assert len(manager.context.syncs) == 1 + MAX_STRANGERS
    sync(manager, new, sync=begun.sync, external_ids=["call 1", "call 2", "call 3"])
    assert reasons(manager, ids) == [None] * 4
    for _ in range(MAX_OWN):
        sync(manager, new, external_ids=[], final=False)
    assert len(manager.context.syncs) == MAX_OWN + MAX_STRANGERS


def test_fifty_thousand_calls_survive_a_sync_that_comes_too_late():
    """The gateway was restarted, and its first sync takes longer than it may. The second one names them all."""
    with service() as manager:
        old, _ = manager.connect("gw", "e1")
        ids = manager.turn(lambda registry: fill(registry, old.incarnation, 50_000))
        old.lose()
        manager.clock.advance(1)
        new, _ = manager.connect("gw", "e2", lease=3600)
        late = sync(manager, new, ids=ids[:256], final=False).sync
        manager.clock.advance(SYNC_SECONDS)
        manager.sweep()
        with pytest.raises(InvalidRequest):
            sync(manager, new, sync=late)
        manager.sweep()
        assert (manager.count_sessions().count, manager.count_sessions(suspect=True).count) == (50_000, 49_744)
        token = sync(manager, new, ids=[], final=False).sync
        for first in range(0, 50_000, 256):
            assert sync(manager, new, sync=token, ids=ids[first : first + 256], final=False).unknown == []
        assert sync(manager, new, sync=token).missing == []
        manager.live_for(GRACE)
        assert (manager.count_sessions().count, manager.count_sessions(suspect=True).count) == (50_000, 0)
        assert len(new.incarnation.sessions) == 50_000


def fill(registry, incarnation, count):
    """Create sessions of an incarnation, all in one turn."""
    registry.context.ask_as(incarnation)
    try:
        return [registry.create_session(type="sip", state="active").id for _ in range(count)]
    finally:
        registry.context.ask_as(None)
