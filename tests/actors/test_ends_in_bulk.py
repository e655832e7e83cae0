"""end_sessions: many calls, a few at a time."""

from __future__ import annotations

import pytest
from commanded import Gateway, ask_soon, let
from hypothesis import given
from hypothesis import strategies as st
from runtimes import PATIENCE
from services import service

from sessiond.actors.bulk import Allowance
from sessiond.actors.errors import InvalidRequest, LimitExceeded, Overloaded, SessiondError, Unavailable
from sessiond.actors.future import Pending
from sessiond.actors.results import EndedSessions, Failure
from sessiond.actors.settings import Commanding


@pytest.fixture
def manager():
    with service(commanding=Commanding(rate=1000)) as manager:
        yield manager


@pytest.fixture
def gateway(manager):
    return Gateway(manager)


def live(manager, **filters):
    return manager.count_sessions(**filters).count


def ended(manager, **query):
    future = ask_soon(manager, "end_sessions", dry_run=False, **query)
    for _ in range(200):
        if future.done():
            break
        let(manager, 0.02)
    return future.get(timeout=PATIENCE)


def test_by_default_nothing_is_ended(manager, gateway):
    ids = [gateway.create() for _ in range(5)]
    manager.create(gateway="other")
    assert manager.end_sessions(gateway="gw") == EndedSessions(5, dry_run=True, ids=ids)
    assert manager.end_sessions(gateway="gw", limit=2) == EndedSessions(5, dry_run=True, ids=ids[:2])
    assert live(manager) == 6


def test_all_that_match_are_ended_by_their_gateways(manager, gateway):
    link = gateway.connect(answers=lambda _: (None, None))
    ids = [gateway.create() for _ in range(5)]
    other = manager.create(gateway="other")
    assert ended(manager, gateway="gw") == EndedSessions(5, ended=5, failed=[], cursor=None)
    assert [asked.arguments["id"] for asked in link.asked] == ids
    assert [session.id for session in manager.list_sessions().sessions] == [other]


def test_page_by_page(manager, gateway):
    gateway.connect(answers=lambda _: (None, None))
    for _ in range(5):
        gateway.create()
    first = ended(manager, gateway="gw", limit=2)
    assert (first.matched, first.ended) == (5, 2)
    second = ended(manager, gateway="gw", limit=2, cursor=first.cursor)
    last = ended(manager, gateway="gw", limit=2, cursor=second.cursor)
    assert (second.matched, second.ended, last.matched, last.ended, last.cursor) == (3, 2, 1, 1, None)


def test_what_fails_is_told_one_by_one_and_not_tried_again_by_later_pages(manager, gateway):
    gateway.connect(answers=lambda asked: ("no", None) if asked.arguments["external_id"] == "bad" else (None, None))
    good, bad = gateway.create(), gateway.create(external_id="bad")
    gateway.create()
    first = ended(manager, gateway="gw", limit=2)
    assert (first.ended, first.failed) == (1, [Failure(bad, "unavailable", "The gateway refused: no")])
    second = ended(manager, gateway="gw", limit=2, cursor=first.cursor)
    assert (second.matched, second.ended, second.failed, second.cursor) == (2, 1, [], None)
    assert (manager.get(good).state, manager.get(bad).state) == ("ended", "active")


def test_no_more_than_expected_are_ended(manager):
    for _ in range(3):
        manager.create()
    with pytest.raises(LimitExceeded) as caught:
        manager.end_sessions(dry_run=False, most=2)
    assert caught.value.details == {"limit": "most", "maximum": 2, "current": 3}
    assert live(manager) == 3
    assert ended(manager, most=3).ended == 3


def test_only_so_many_in_a_second():
    with service(commanding=Commanding(rate=50)) as manager:
        for state in ("ringing", "active") * 50:
            manager.create(state=state)
        two = [
            ask_soon(manager, "end_sessions", dry_run=False, state=state, limit=50) for state in ("ringing", "active")
        ]
        assert live(manager) == 98
        seconds = 0.0
        while not all(each.done() for each in two):
            let(manager, 0.02)
            seconds += 0.02
            assert abs(live(manager) - (98 - 50 * seconds)) <= 1
        assert 1.9 < seconds < 2.1
        assert [each.get().ended for each in two] == [50, 50]


def test_what_ends_by_itself_meanwhile_is_no_failure(manager):
    with service(commanding=Commanding(rate=1), max_retained=0) as slow:
        ids = [slow.create() for _ in range(4)]
        future = ask_soon(slow, "end_sessions", dry_run=False)
        slow.end_session(ids[3])
        for _ in range(3):
            let(slow, 1)
        assert future.get(timeout=PATIENCE) == EndedSessions(4, ended=4, failed=[], cursor=None)


def test_nothing_matches(manager):
    assert ended(manager, gateway="nobody") == EndedSessions(0, ended=0, failed=[], cursor=None)


def test_what_cannot_be_asked(manager):
    for query, field in (
        ({"ended": True}, "ended"),
        ({"ended": "any"}, "ended"),
        ({"limit": 257}, "limit"),
        ({"dry_run": None}, "dry_run"),
        ({"most": -1}, "most"),
        ({"colour": 1}, "colour"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            manager.end_sessions(**query)
        assert caught.value.details["field"] == field
    with pytest.raises(InvalidRequest):
        manager.end_sessions(cursor="x")


def test_who_asked_is_gone():
    """What has begun is brought to its end, and nothing more is begun."""
    with service(commanding=Commanding(rate=1)) as manager:
        for _ in range(3):
            manager.create()
        registry = manager.registry.local()
        future = ask_soon(manager, "end_sessions", dry_run=False)
        (pending,) = registry._ender._under_way
        assert isinstance(pending, Pending)
        pending.is_abandoned = True
        for _ in range(5):
            let(manager, 1)
        assert live(manager) == 2
        assert not future.done()


def test_only_so_many_requests_are_carried_out_at_once():
    """Each holds a page of ids until its turn comes, and nothing else bounds how many a client sends."""
    with service(commanding=Commanding(rate=1)) as manager:
        for _ in range(3):
            manager.create()
        futures = [ask_soon(manager, "end_sessions", dry_run=False) for _ in range(65)]
        assert [future.done() for future in futures] == [False] * 64 + [True]
        with pytest.raises(Overloaded):
            futures[-1].get(timeout=PATIENCE)


def test_the_service_stops():
    with service(commanding=Commanding(rate=1)) as manager:
        for _ in range(3):
            manager.create()
        future = ask_soon(manager, "end_sessions", dry_run=False)
        manager.close_commands()
        with pytest.raises(SessiondError) as caught:
            future.get(timeout=PATIENCE)
        assert isinstance(caught.value, Unavailable)


@given(st.lists(st.floats(0, 3), max_size=50), st.floats(1, 100), st.floats(0, 10))
def test_an_allowance_is_never_exceeded(pauses, rate, burst):
    allowance = Allowance(rate, burst, 0.0)
    now, taken = 0.0, 0
    for pause in pauses:
        now += pause
        while allowance.take(now):
            taken += 1
        assert taken <= max(1.0, burst) + now * rate + 1e-6
