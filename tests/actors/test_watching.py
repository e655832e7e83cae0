"""What a watch tells: with whatever filters, interrupted wherever, whoever applies it all has what there is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from watch_world import World, doings, gateways, queries, trunks

from sessiond.actors.errors import InvalidRequest
from sessiond.actors.events import GatewayChanged, WatchReady
from sessiond.actors.params import WatchQuery
from sessiond.actors.selection import Selection
from sessiond.actors.watching import check


@settings(derandomize=True, deadline=None, max_examples=600)
@given(query=queries, capacity=st.sampled_from([1, 3, 1000]), doings=st.lists(doings, max_size=80))
def test_whoever_applies_what_is_told_has_what_there_is(query, capacity, doings):
    if query.ended is True and query.state is not UNSET:
        query = WatchQuery(ended=True)
    world = World(query, capacity)
    for method, arguments in doings:
        getattr(world, method)(**arguments)
    assert world.told() == world.expected()


@settings(derandomize=True, deadline=None)
@given(query=queries, sessions=st.lists(st.tuples(gateways, trunks, st.sampled_from(["1", None]))))
def test_the_checks_of_records_are_the_filters_of_lists(query, sessions):
    world = World(query, 10)
    for gateway, metadata, caller in sessions:
        world.create(gateway=gateway, metadata=metadata, caller=caller)
    world.end(0)
    listed = {
        entry.record.id
        for number, word in Selection(query, world.directory).words(0)
        for entry in listed_of(world, query, number, word)
    }
    assert listed == set(world.expected())


def listed_of(world, query, number, word):
    chunk = world.directory.table.chunk(number)
    found = [chunk[offset] for offset in range(word.bit_length()) if word >> offset & 1]
    return [entry for entry in found if Selection(query, world.directory).matches(entry.record)]


# One by one


@pytest.fixture
def world():
    return World(WatchQuery(caller="1"), 100)


def events(world):
    return list(world.watch.events(1000))


def test_a_snapshot_ends_with_its_number(world):
    world.create(caller="1")
    world.begin()
    shown, ready = events(world)
    assert (shown.snapshot, shown.matches, shown.number) == (True, True, world.changes.last)
    assert ready == WatchReady(1, world.changes.last)
    assert not world.watch.is_behind


def test_a_session_that_ceases_to_match_is_told_of_once(world):
    events(world)
    world.create(caller="1")
    world.change(0, caller="2")
    world.change(0, caller="3")
    assert [(event.session.caller, event.matches) for event in events(world)] == [("1", True), ("2", False)]


def test_a_session_that_never_matched_is_not_told_of(world):
    events(world)
    world.create(caller="2")
    world.end(0)
    assert events(world) == []
    assert not world.watch.is_behind


def test_an_end_is_told_with_the_last_record(world):
    events(world)
    world.create(caller="1")
    world.end(0)
    (_, end) = events(world)
    assert (end.session.state, end.session.end_reason, end.matches) == ("ended", "normal", False)


def test_gateways_are_told_of_unless_another_is_watched():
    told = []
    for query in (WatchQuery(), WatchQuery(gateway="gw-1"), WatchQuery(gateway="gw-2")):
        world = World(query, 100)
        list(world.watch.events(10))
        world.changes.gateway_changed("gw-1", "e1", "lost")
        told.append(list(world.watch.events(10)))
    expected = GatewayChanged(1, world.changes.last, "gw-1", "e1", "lost")
    assert told == [[expected], [expected], []]


def test_one_step_tells_a_bounded_number_and_the_changes_come_first(world):
    for _ in range(100):
        world.create(caller="1")
    world.begin()
    world.take(1000, 1000)
    assert 0 < len(world.mirror.sessions) == 100
    world.begin()
    assert len(list(world.watch.events(40))) == 10
    for _ in range(100):
        world.change(5, caller="1")
    assert not any(event.snapshot for event in world.watch.events(40))


def test_the_backlog_counts_what_came_while_it_watched(world):
    world.begin()
    events(world)
    for _ in range(5):
        world.create(caller="1")
    world.watch.begin(world.changes.last - 3, snapshot=False)
    assert world.watch.backlog() == 0
    world.create(caller="1")
    assert world.watch.backlog() == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (WatchQuery(suspect=True), "suspect"),
        (WatchQuery(since=1), "instance"),
        (WatchQuery(instance="x"), "from"),
    ],
)
def test_what_no_watch_can_be_about(query, field):
    with pytest.raises(InvalidRequest) as caught:
        check(query)
    assert caught.value.details == {"field": field}


# The mirror


def test_a_mirror_knows_which_sessions_are_suspect():
    world = World(WatchQuery(ended="any"), 100)
    for epoch in ("e1", "e1", "e2"):
        world.create(gateway="gw", epoch=epoch)
    world.end(1)
    world.told()
    for state, suspects in (("lost", 1), ("live", 0)):
        world.changes.gateway_changed("gw", "e1", state)
        world.told()
        assert [session.suspect for session in world.mirror.sessions.values()].count(True) == suspects


def test_a_mirror_says_how_far_it_has_come(world):
    assert (world.mirror.number, world.mirror.is_complete) == (None, False)
    world.create(caller="1")
    world.told()
    assert (world.mirror.number, world.mirror.is_complete) == (world.changes.last, True)
