"""What lists and counts must say, by brute force over a plain list, while sessions come, change, end and go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from entries import Entry, add, change, change_state, end, forget
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import UNSET
from msgspec.structs import replace

from sessiond.actors import counting, selection, table
from sessiond.actors.counting import Counting
from sessiond.actors.directory import Directory
from sessiond.actors.listing import Listing
from sessiond.actors.params import CountQuery, Filters, ListQuery
from sessiond.actors.record import Session
from sessiond.actors.states import LIVE_STATES, STATES

# Few values, so that they meet; what a metadata value equals is the wire's business: True is not 1, 1 is 1.0.
types = st.sampled_from(["sip", "webrtc"])
gateways = st.sampled_from([None, "a", "b"])
external_ids = st.sampled_from([None, "x", "y"])
numbers = st.sampled_from([None, "", "+1"])
directions = st.sampled_from([None, "inbound"])
scalars = st.sampled_from([True, False, 1, 1.0, 0, "1"])
times = st.integers(0, 5).map(float)
metadata = st.dictionaries(st.sampled_from(["indexed", "plain"]), scalars)

new_sessions = st.fixed_dictionaries({
    "type": types, "state": st.sampled_from(LIVE_STATES), "gateway": gateways, "external_id": external_ids,
    "caller": numbers, "callee": numbers, "direction": directions, "metadata": metadata, "created_at": times,
})  # fmt: skip
changes = st.fixed_dictionaries(
    {}, optional={"external_id": external_ids, "caller": numbers, "callee": numbers, "metadata": metadata}
)


def states_of(ended: bool | str) -> st.SearchStrategy[Any]:
    states = st.sampled_from(STATES if ended else LIVE_STATES)
    return st.one_of(st.just(UNSET), states, st.lists(states, min_size=1, max_size=3))


filters = st.sampled_from([False, True, "any"]).flatmap(
    lambda ended: st.fixed_dictionaries(
        {"ended": st.just(ended)},
        optional={
            "state": states_of(ended), "type": types, "gateway": gateways, "external_id": external_ids,
            "caller": numbers, "callee": numbers, "direction": directions,
            "metadata": st.dictionaries(st.sampled_from(["indexed", "plain"]), scalars | st.none()),
            "created_after": times, "created_before": times,
        },
    )
)  # fmt: skip
budgets = st.integers(1, 4)
groupings = st.sampled_from([None, "type", "state", "gateway", "external_id", "caller", "direction", "end_reason"])


def same(value: object, wanted: object) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def matches(query: Filters, record: Session) -> bool:
    """What the contract says of filters, in its order."""
    ended = record.state == "ended"
    named = [query.state] if isinstance(query.state, str) else query.state
    fields = ("type", "gateway", "external_id", "caller", "callee", "direction")
    return (
        {"any": True, True: ended, False: not ended}[query.ended]
        and (query.state is UNSET or record.state in named)
        and all(getattr(query, name) in {UNSET, getattr(record, name)} for name in fields)
        and all(same(record.metadata.get(key), value) for key, value in (query.metadata or {}).items())
        and (query.created_after is None or record.created_at >= query.created_after)
        and (query.created_before is None or record.created_at < query.created_before)
    )


@dataclass
class Work:
    """A query on its way, and who has matched it since its first step: always, and at some time."""

    query: ListQuery | CountQuery
    task: Listing[Entry] | Counting[Entry]
    always: set[int]
    ever: set[int]
    found: list[int] = field(default_factory=list)
    records: dict[int, Session] | None = None
    """What has been read for it and not been given to it yet, where that is to be read."""


class Queries(RuleBasedStateMachine):
    """Sessions and queries in any order; queries go on in small steps between all else that happens."""

    narrow, many_values, shrink_at = selection.NARROW, counting.MANY_VALUES, table.SHRINK_AT

    def __init__(self) -> None:
        super().__init__()
        selection.NARROW, counting.MANY_VALUES, table.SHRINK_AT = self.narrow, self.many_values, self.shrink_at
        self.directory = self.new_directory()
        self.entries: dict[int, Entry] = {}
        self.works: list[Work] = []

    def new_directory(self) -> Directory[Entry]:
        return Directory(metadata_keys=["indexed"])

    def listing(self, query: ListQuery) -> Listing[Entry]:
        return Listing(query, self.directory, lambda entry: entry.record, "instance")

    def counting(self, query: CountQuery) -> Counting[Entry]:
        return Counting(query, self.directory)

    def step(self, work: Work, budget: int) -> Any:
        return work.task.step(budget)

    def wake(self, entry: Entry) -> None:
        """Have a session changed that may not be ready for it."""

    def teardown(self) -> None:
        selection.NARROW, counting.MANY_VALUES = Queries.narrow, Queries.many_values
        table.SHRINK_AT = Queries.shrink_at
        for entry in self.entries.values():
            self.wake(entry)
            forget(self.directory, entry)
        indexes = (*self.directory.fields.values(), *self.directory.metadata.values())
        assert all(len(bitmap) == 0 for index in indexes for bitmap in index.values())
        assert not self.directory.by_id
        assert not self.directory.table.numbers

    # What happens to sessions

    @initialize(sessions=st.lists(new_sessions, max_size=20))
    def start(self, sessions: list[dict[str, Any]]) -> None:
        for each in sessions:
            self.create(each, "next")

    @rule(new=new_sessions, place=st.sampled_from(["next", "next", "end of chunk", "start of chunk", "far away"]))
    def create(self, new: dict[str, Any], place: str) -> None:
        last = self.directory._last_seq  # as if other sessions had come and been forgotten
        places = {"next": last, "end of chunk": (last + 1 | 1023) - 1, "start of chunk": last | 1023}
        self.directory._last_seq = places.get(place, last + 7000)
        entry = add(self.directory, **new)
        self.entries[entry.seq] = entry
        self.note()

    @precondition(lambda self: self.live())
    @rule(data=st.data(), state=st.sampled_from(STATES))
    def change_state(self, data: st.DataObject, state: str) -> None:
        entry = data.draw(st.sampled_from(self.live()))
        self.wake(entry)
        if state == "ended":
            self.entries[entry.seq] = end(self.directory, entry)
        else:
            change_state(self.directory, entry, state)
        self.note()

    @precondition(lambda self: self.live())
    @rule(data=st.data(), fields=changes)
    def change(self, data: st.DataObject, fields: dict[str, Any]) -> None:
        entry = data.draw(st.sampled_from(self.live()))
        self.wake(entry)
        change(self.directory, entry, **fields)
        self.note()

    @precondition(lambda self: self.directory.retained_count)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from([each for each in self.entries.values() if each.record.state == "ended"]))
        del self.entries[entry.seq]
        forget(self.directory, entry)
        self.note()

    # What is asked

    @rule(given=filters, order=st.sampled_from(["asc", "desc"]), limit=st.integers(1, 4))
    def list_sessions(self, given: dict[str, Any], order: str, limit: int) -> None:
        query = ListQuery(order=order, limit=limit, **given)
        self.begin(query, self.listing(query))

    @rule(given=filters, by=groupings)
    def count_sessions(self, given: dict[str, Any], by: Any) -> None:
        query = CountQuery(by=by, **given)
        self.begin(query, self.counting(query))

    @precondition(lambda self: self.works)
    @rule(data=st.data(), budget=budgets)
    def go_on(self, data: st.DataObject, budget: int) -> None:
        work = data.draw(st.sampled_from(self.works))
        result = self.step(work, budget)
        if result is None:
            return
        if isinstance(work.query, CountQuery):
            self.works.remove(work)
            assert len(work.always) <= result.count <= len(work.ever)
            assert result.groups is None or sum(result.groups.values()) == result.count
        else:
            self.turn_page(work, result)

    @rule(given=filters, by=groupings, budget=budgets)
    def count_undisturbed(self, given: dict[str, Any], by: Any, budget: int) -> None:
        query = CountQuery(by=by, **given)
        work = Work(query, self.counting(query), set(), set())
        while (count := self.step(work, budget)) is None:
            pass
        matching = [entry.record for entry in self.entries.values() if matches(query, entry.record)]
        assert count.count == len(matching)
        groups: dict[str, int] = {}
        for record in matching if by else ():
            groups[getattr(record, by) or ""] = groups.get(getattr(record, by) or "", 0) + 1
        assert (count.groups or {}) == groups

    @invariant()
    def totals_are_those_of_the_entries(self) -> None:
        records = [entry.record for entry in self.entries.values()]
        live = [record for record in records if record.state != "ended"]
        assert (self.directory.live_count, self.directory.retained_count) == (len(live), len(records) - len(live))
        for state in LIVE_STATES:
            known, others = self.directory.count_by_type(state, ("sip",))
            assert known["sip"] == sum(r.type == "sip" and r.state == state for r in live)
            assert others == sum(r.type != "sip" and r.state == state for r in live)

    @rule(gateway=gateways, external_id=st.sampled_from(["x", "y"]))
    def look_up_an_address(self, gateway: str | None, external_id: str) -> None:
        found = [
            entry for _, entry in sorted(self.entries.items(), reverse=True)
            if (entry.record.gateway, entry.record.external_id) == (gateway, external_id)
        ]  # fmt: skip
        live, ended = self.directory.addressed(gateway, external_id)
        assert live == [entry for entry in found if entry.record.state != "ended"][:16]
        if not live:
            assert ended is next(iter(found), None)

    # How answers are judged

    def live(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.record.state != "ended"]

    def matching(self, query: Filters) -> set[int]:
        return {seq for seq, entry in self.entries.items() if matches(query, entry.record)}

    def begin(self, query: ListQuery | CountQuery, task: Listing[Entry] | Counting[Entry]) -> None:
        self.works.append(Work(query, task, self.matching(query), self.matching(query)))

    def note(self) -> None:
        for work in self.works:
            matching = self.matching(work.query)
            work.always &= matching
            work.ever |= matching

    def turn_page(self, work: Work, page: Any) -> None:
        query = work.query
        work.found += [int(session.id.removeprefix("id-")) for session in page.sessions]
        assert work.found == sorted(set(work.found), reverse=query.order == "desc"), "in order, none twice"
        assert set(work.found) <= work.ever
        if page.cursor is None:
            self.works.remove(work)
            assert work.always <= set(work.found), "whoever matched throughout was found"
            assert len(page.sessions) <= query.limit
        else:
            assert len(page.sessions) == query.limit
            last = work.found[-1]
            following = {seq for seq in self.matching(query) if (seq < last if query.order == "desc" else seq > last)}
            assert following, "a cursor is given only when there is more"
            work.query = replace(query, cursor=page.cursor)
            work.task = self.listing(work.query)
