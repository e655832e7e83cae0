"""The same queries while sessions leave memory and come back; what a query needs of them is read, and comes late."""

from __future__ import annotations

from typing import Any

from entries import Entry
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from query_model import Queries, Work

from sessiond.actors import twofold
from sessiond.actors.deep_counting import DeepCounting
from sessiond.actors.deep_listing import DeepListing
from sessiond.actors.index import strict
from sessiond.actors.params import CountQuery, ListQuery
from sessiond.actors.passive import PassiveDirectory


class PassiveQueries(Queries):
    """Sessions are passivated and revived between all else that happens."""

    many = twofold.MANY

    def __init__(self) -> None:
        twofold.MANY = self.many
        super().__init__()

    def new_directory(self) -> PassiveDirectory[Entry]:
        self.directory: PassiveDirectory[Entry]
        return PassiveDirectory(metadata_keys=["indexed"], counted=["gateway"])

    def listing(self, query: ListQuery) -> DeepListing[Entry]:
        return DeepListing(query, self.directory, lambda entry: entry.record, "instance")

    def counting(self, query: CountQuery) -> DeepCounting[Entry]:
        return DeepCounting(query, self.directory)

    def step(self, work: Work, budget: int) -> Any:
        """What has been read is given a while after that, and much may have happened."""
        if not work.task.wanted:
            return work.task.step(budget)
        if work.records is None:
            live = {entry.seq: entry.record for entry in self.live()}
            work.records = {seq: live[seq] for seq in work.task.wanted if seq in live}
            return None
        work.task.give(work.records)
        work.records = None
        return work.task.step(budget)

    def wake(self, entry: Entry) -> None:
        if entry.seq in self.directory.passive:
            self.directory.revive(entry)

    def teardown(self) -> None:
        super().teardown()
        assert not self.directory.passive.chunks
        assert not self.directory._created
        assert not len(self.directory._ids)
        assert not any(len(index.passive) for index, _ in self.directory._changing)
        twofold.MANY = PassiveQueries.many

    @precondition(lambda self: self.residents())
    @rule(data=st.data())
    def passivate(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.residents()))
        self.directory.passivate(entry, entry.seq + 5)

    @precondition(lambda self: self.residents())
    @rule()
    def passivate_all(self) -> None:
        for entry in self.residents():
            self.directory.passivate(entry, entry.seq + 5)

    @precondition(lambda self: self.directory.passive.chunks)
    @rule(data=st.data())
    def revive(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(list(self.directory.passive)))
        self.entries[seq] = Entry(seq, self.entries[seq].record)
        self.directory.revive(self.entries[seq])
        assert self.directory.at(seq) is self.directory.by_id[f"id-{seq}"] is self.entries[seq]

    def look_up_an_address(self, gateway: str | None, external_id: str) -> None:
        for seq in self.directory.passive_at(gateway, external_id):
            self.directory.revive(self.entries[seq])
        assert not self.directory.passive_at(gateway, external_id)
        super().look_up_an_address(gateway, external_id)

    @rule(gateway=st.sampled_from([None, "a"]), external_id=st.sampled_from(["x", "y"]))
    def look_up_who_is_in_memory(self, gateway: str | None, external_id: str) -> None:
        live, _ = self.directory.addressed(gateway, external_id)
        away = self.directory.passive_at(gateway, external_id)
        assert (
            sorted([*(entry.seq for entry in live), *away], reverse=True)[:16]
            == [
                seq
                for seq, entry in sorted(self.entries.items(), reverse=True)
                if (entry.record.gateway, entry.record.external_id) == (gateway, external_id)
                and entry.record.state != "ended"
            ][:16]
        )

    @invariant()
    def limits_count_whoever_lives(self) -> None:
        records = [entry.record for entry in self.live()]
        for field, values in (("caller", ["", "+1"]), ("callee", ["", "+1"]), ("gateway", ["a", "b"])):
            for value in values:
                held = sum(getattr(record, field) == value for record in records)
                assert self.directory.live[field].size(value) == held
        for value in (True, 1, 0, "1"):
            held = sum(strict(record.metadata.get("indexed")) == strict(value) for record in records)
            assert self.directory.metadata["indexed"].size(strict(value)) == held

    @invariant()
    def passive_sessions_are_found_by_id(self) -> None:
        for seq in self.entries:
            is_passive = seq in self.directory.passive
            assert self.directory.named(f"id-{seq}") == ([seq] if is_passive else [])
            assert (self.directory.by_id.get(f"id-{seq}") is None) == is_passive
        assert self.directory.resident_count == len(self.residents())
        assert all(self.directory.due(seq) == seq + 5 for seq in self.directory.passive)

    def residents(self) -> list[Entry]:
        return [entry for entry in self.live() if entry.seq not in self.directory.passive]


class WidePassiveQueries(PassiveQueries):
    """The same as only large services do it; see ``test_queries.py``."""

    narrow, many_values, shrink_at = 0, 0, frozenset(range(1, 1024))
    many = 2


machine_settings = settings(derandomize=True, deadline=None, max_examples=100, stateful_step_count=40)
TestPassiveQueries = PassiveQueries.TestCase
TestPassiveQueries.settings = machine_settings
TestWidePassiveQueries = WidePassiveQueries.TestCase
TestWidePassiveQueries.settings = machine_settings
