"""What a watch tells: with whatever filters, interrupted wherever, whoever applies it all has what there is."""

from __future__ import annotations

import itertools

import pytest
from entries import add, change, change_state, end, forget
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from sessiond.actors.changelog import ChangeLog
from sessiond.actors.directory import Directory
from sessiond.actors.errors import InvalidRequest
from sessiond.actors.events import GatewayChanged, WatchReady
from sessiond.actors.mirror import Mirror
from sessiond.actors.params import WatchQuery
from sessiond.actors.selection import Selection, record_checks
from sessiond.actors.watching import Watch, check


class World:
    """Sessions that change, each change recorded; and one who watches them, and goes away at times."""

    def __init__(self, query, capacity):
        self.directory = Directory(["trunk"])
        self.changes = ChangeLog(capacity)
        self.changes.open()
        self.entries = []
        self.forgotten = set()
        self.query = query
        self.gaps = 0
        self.begin()

    # What happens

    def record(self, entry, old):
        self.changes.session_changed(old, entry.record, 0.0, None, suspect=False)

    def create(self, **fields):
        entry = add(self.directory, **fields)
        self.entries.append(entry)
        self.record(entry, None)

    def change(self, which, **fields):
        entry = self.live(which)
        if entry is not None:
            old = entry.record
            change(self.directory, entry, **fields)
            self.record(entry, old)

    def move(self, which, state):
        entry = self.live(which)
        if entry is not None and entry.record.state != state:
            old = entry.record
            change_state(self.directory, entry, state)
            self.record(entry, old)

    def end(self, which):
        entry = self.live(which)
        if entry is not None:
            ended = end(self.directory, entry)
            self.entries[self.entries.index(entry)] = ended
            self.record(ended, entry.record)

    def forget(self, which):
        ended = [entry for entry in self.entries if entry.record.state == "ended"]
        if ended:
            entry = ended[which % len(ended)]
            forget(self.directory, entry)
            self.entries.remove(entry)
            self.forgotten.add(entry.record.id)

    def live(self, which):
        live = [entry for entry in self.entries if entry.record.state != "ended"]
        return live[which % len(live)] if live else None

    # Who watches

    def begin(self):
        """Watch anew."""
        self.mirror = Mirror()
        self.watch = self._watch()
        self.watch.begin(self.changes.last, snapshot=True)

    def come_back(self):
        """The watcher was away: it goes on if it can, else it begins anew."""
        position = self.watch.position
        if self.mirror.is_complete and self.changes.has_all_since(position):
            self.watch = self._watch()
            self.watch.begin(position, snapshot=False)
        else:
            self.gaps += 1
            self.begin()

    def _watch(self):
        selection = Selection(self.query, self.directory)
        return Watch(1, self.query, selection, self.changes, lambda entry: entry.record, lambda change: change.session)

    def take(self, budget, most):
        """Have the watcher take at most so many events of one step."""
        if self.watch.is_lost:
            self.come_back()
        for event in itertools.islice(self.watch.events(budget), most):
            assert event.number == self.watch.position
            self.mirror.apply(event)

    def expected(self):
        checks = record_checks(self.query)
        return {
            entry.record.id: entry.record.state
            for entry in self.entries
            if all(accepts(entry.record) for accepts in checks)
        }

    def told(self):
        while self.watch.is_behind:
            self.take(20, 20)
        return {id: session.state for id, session in self.mirror.sessions.items() if id not in self.forgotten}


gateways = st.sampled_from(["gw-1", "gw-2"])
trunks = st.sampled_from([{}, {"trunk": "t-1"}, {"trunk": "t-2", "x": 1}])
which = st.integers(0, 30)
doings = st.one_of(
    st.tuples(st.just("create"), st.fixed_dictionaries({"gateway": gateways, "metadata": trunks})),
    st.tuples(st.just("change"), st.fixed_dictionaries({"which": which, "caller": st.sampled_from(["1", "2", None])})),
    st.tuples(st.just("change"), st.fixed_dictionaries({"which": which, "metadata": trunks})),
    st.tuples(st.just("move"), st.fixed_dictionaries({"which": which, "state": st.sampled_from(["active", "held"])})),
    st.tuples(st.just("end"), st.fixed_dictionaries({"which": which})),
    st.tuples(st.just("forget"), st.fixed_dictionaries({"which": which})),
    st.tuples(st.just("take"), st.fixed_dictionaries({"budget": st.integers(1, 30), "most": st.integers(0, 9)})),
    st.tuples(st.just("come_back"), st.just({})),
)
queries = st.builds(
    WatchQuery,
    gateway=st.sampled_from([UNSET, "gw-1", None]),
    caller=st.sampled_from([UNSET, "1", None]),
    state=st.sampled_from([UNSET, "held", ["active", "held"]]),
    metadata=st.sampled_from([UNSET, {"trunk": "t-1"}, {"trunk": None}, {"x": 1}]),
    ended=st.sampled_from([False, False, "any", True]),
)


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
