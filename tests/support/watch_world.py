"""Sessions that change, and one who watches them: what watches are tested with."""

from __future__ import annotations

import itertools

from entries import add, change, change_state, end, forget
from hypothesis import strategies as st
from msgspec import UNSET

from sessiond.actors.changelog import ChangeLog
from sessiond.actors.directory import Directory
from sessiond.actors.mirror import Mirror
from sessiond.actors.params import WatchQuery
from sessiond.actors.selection import Selection, record_checks
from sessiond.actors.watching import Watch

__all__ = ["World", "doings", "gateways", "queries", "trunks", "which"]


class World:
    """Sessions that change, each change recorded; and one who watches them, and goes away at times."""

    def __init__(self, query, capacity):
        self.directory = self.new_directory()
        self.changes = ChangeLog(capacity)
        self.changes.open()
        self.entries = []
        self.forgotten = set()
        self.query = query
        self.gaps = 0
        self.begin()

    def new_directory(self):
        return Directory(["trunk"])

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
            self.wake(entry)
            old = entry.record
            change(self.directory, entry, **fields)
            self.record(entry, old)

    def move(self, which, state):
        entry = self.live(which)
        if entry is not None and entry.record.state != state:
            self.wake(entry)
            old = entry.record
            change_state(self.directory, entry, state)
            self.record(entry, old)

    def end(self, which):
        entry = self.live(which)
        if entry is not None:
            self.wake(entry)
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

    def wake(self, entry):
        """Have a session changed that may not be ready for it."""

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
