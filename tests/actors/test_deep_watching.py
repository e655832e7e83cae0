"""What a watch tells while sessions leave memory and come back: the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from watch_world import World, doings, queries, which

from sessiond.actors.deep_watching import DeepWatch
from sessiond.actors.params import WatchQuery
from sessiond.actors.passive import PassiveDirectory


class DeepWorld(World):
    """Sessions that are passive at times; what the watch wants of them is read at one time, and given at another."""

    def __init__(self, *args):
        self.records = None
        super().__init__(*args)

    def new_directory(self):
        return PassiveDirectory(["trunk"])

    def _watch(self):
        self.records = None
        return DeepWatch(
            1, self.query, self.directory, self.changes, lambda entry: entry.record, lambda change: change.session
        )

    def wake(self, entry):
        if entry.seq in self.directory.passive:
            self.directory.revive(entry)

    def passivate(self, which):
        entry = self.live(which)
        if entry is not None and entry.seq not in self.directory.passive:
            self.directory.passivate(entry)

    def revive(self, which):
        entry = self.live(which)
        if entry is not None:
            self.wake(entry)

    def read(self):
        if self.watch.wanted and self.records is None:
            live = {entry.seq: entry.record for entry in self.entries if entry.record.state != "ended"}
            self.records = {seq: live[seq] for seq in self.watch.wanted if seq in live}

    def give(self):
        if self.records is not None:
            self.watch.give(self.records)
            self.records = None

    def told(self):
        while not self.watch.is_complete or self.watch.is_behind:
            self.read()
            self.give()
            self.take(20, 20)
        return super().told()


deep_doings = st.one_of(
    doings,
    st.tuples(st.sampled_from(["passivate", "passivate", "revive"]), st.fixed_dictionaries({"which": which})),
    st.tuples(st.sampled_from(["read", "give"]), st.just({})),
)


@settings(derandomize=True, deadline=None, max_examples=600)
@given(query=queries, capacity=st.sampled_from([3, 1000]), doings=st.lists(deep_doings, max_size=80))
def test_whoever_applies_what_is_told_has_what_there_is(query, capacity, doings):
    if query.ended is True and query.state is not UNSET:
        query = WatchQuery(ended=True)
    world = DeepWorld(query, capacity)
    for name, arguments in doings:
        getattr(world, name)(**arguments)
    assert world.told() == world.expected()


def test_what_was_read_too_early_is_not_told_after_what_has_happened():
    world = DeepWorld(WatchQuery(), 1000)
    world.create(caller="1")
    world.begin()
    world.passivate(0)
    world.take(20, 20)
    assert world.watch.wanted == [1]
    assert not world.watch.is_behind
    world.read()
    world.move(0, "held")
    world.passivate(0)
    assert world.watch.is_behind, "changes are told while the reading takes its time"
    world.take(20, 20)
    world.give()
    world.take(20, 20)
    assert world.watch.is_complete
    assert {session.state for session in world.mirror.sessions.values()} == {"held"}
