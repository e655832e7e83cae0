"""Sessions that are not in memory, by example; ``test_passive_queries.py`` has them against a model."""

from __future__ import annotations

import pytest
from entries import Entry, add, end, forget

from sessiond.actors import twofold
from sessiond.actors.counting import MANY_VALUES
from sessiond.actors.deep_counting import DeepCounting
from sessiond.actors.directory import MAX_ADDRESSED
from sessiond.actors.params import CountQuery
from sessiond.actors.passive import NEVER, PASSIVE, PassiveDirectory


@pytest.fixture
def directory() -> PassiveDirectory[Entry]:
    return PassiveDirectory(metadata_keys=["account"])


def counted(directory: PassiveDirectory[Entry], **query: object) -> tuple[int, dict[str, int] | None, list[int]]:
    """The count and its groups if nothing can be read, and what was wanted."""
    counting, wanted = DeepCounting(CountQuery(**query), directory), []
    while (count := counting.step()) is None:
        wanted += counting.wanted
        counting.give({})
    return count.count, count.groups, wanted


def test_a_passive_session_keeps_its_place_and_nothing_else(directory):
    entry = add(directory, gateway="a", external_id="1", caller="+1")
    directory.passivate(entry)
    assert directory.at(1) is PASSIVE
    assert repr(PASSIVE) == "PASSIVE"
    assert not directory.by_id
    assert directory.named("id-1") == directory.passive_at("a", "1") == [1]
    assert directory.addressed("a", "1") == ([], None)
    assert (directory.live_count, directory.resident_count) == (1, 0)
    assert directory.passive_at("b", "1") == directory.passive_at("a", "2") == directory.named("id-2") == []


@pytest.mark.parametrize("many", [1, 1024])
def test_one_that_was_never_in_memory_is_as_if_it_had_left(directory, monkeypatch, many):
    monkeypatch.setattr(twofold, "MANY", many)
    other = PassiveDirectory(metadata_keys=["account"], counted=["gateway"])
    directory = PassiveDirectory(metadata_keys=["account"], counted=["gateway"])
    entries = []
    for number in range(5):
        fields = {"gateway": "a", "external_id": str(number), "caller": "+1", "metadata": {"account": number % 2}}
        entries.append(add(directory, **fields))
        directory.passivate(entries[-1], 7 + number)
        other.add_passive(entries[-1].seq, entries[-1].record, 7 + number)
    for each in (directory, other):
        assert (each.live_count, each.resident_count, len(each)) == (5, 0, 5)
        assert each.named("id-3") == each.passive_at("a", "2") == [3]
        assert each.due(3) == 9
        assert list(each.metadata["account"][0]) == [1, 3, 5]
        assert list(each.fields["caller"]["+1"]) == [1, 2, 3, 4, 5]
        assert [counted(each, by=field)[1] for field in ("state", "gateway")] == [{"active": 5}, {"a": 5}]
        for entry in entries:
            each.revive(entry)
        assert each.by_id["id-5"] is entries[-1]
        assert not len(each._ids)


def test_one_that_is_back_can_change_and_end(directory):
    entry = add(directory, gateway="a", external_id="1", metadata={"account": 7})
    directory.passivate(entry)
    directory.revive(entry)
    assert directory.at(1) is directory.by_id["id-1"] is entry
    assert directory.addressed("a", "1") == ([entry], None)
    forget(directory, end(directory, entry))
    assert len(directory) == 0


def test_an_address_that_thousands_share_brings_back_the_newest_few(directory):
    shared = [add(directory, gateway="a", external_id="unknown") for _ in range(3000)]
    for entry in shared:
        directory.passivate(entry)
    wanted = directory.passive_at("a", "unknown")
    assert wanted == [entry.seq for entry in shared[: -MAX_ADDRESSED - 1 : -1]]
    for seq in wanted:
        directory.revive(shared[seq - 1])
    assert not directory.passive_at("a", "unknown")
    assert len(directory.addressed("a", "unknown")[0]) == MAX_ADDRESSED


def test_a_value_that_many_have_is_counted_and_found_whoever_leaves_and_comes_back(directory, monkeypatch):
    monkeypatch.setattr(twofold, "MANY", 5)
    entries = [add(directory, caller="anonymous") for _ in range(20)]
    for entry in entries:
        directory.passivate(entry)
        assert directory.live["caller"].size("anonymous") == 20
    for entry in entries[::2]:
        directory.revive(entry)
        assert list(directory.fields["caller"]["anonymous"]) == [entry.seq for entry in entries]
    for entry in entries[::2]:
        end(directory, entry)
    assert directory.live["caller"].size("anonymous") == 10
    assert list(directory.fields["caller"]["anonymous"]) == [entry.seq for entry in entries[1::2]]


@pytest.mark.parametrize(
    ("earliest", "bound", "within"),
    [
        (None, None, True),
        (2.0, None, True),
        (2.1, None, None),
        (4.0, None, None),
        (4.1, None, False),
        (None, 4.1, True),
        (None, 4.0, None),
        (None, 2.1, None),
        (None, 2.0, False),
        (2.0, 4.1, True),
        (3.0, 3.5, None),
    ],
)
def test_when_passive_sessions_were_created_is_known_by_the_chunk(directory, earliest, bound, within):
    for created_at in (3.0, 2.0, 4.0):
        directory.passivate(add(directory, created_at=created_at))
    assert directory.created_within(0, earliest, bound) is within


def test_only_what_a_time_splits_is_read_to_be_counted(directory):
    for n in range(4000):
        directory.passivate(add(directory, gateway="ab"[n % 2], created_at=float(n)))
    count, groups, wanted = counted(directory, created_after=2500.0, by="gateway")
    assert {seq >> 10 for seq in wanted} == {2}
    assert count == 4000 - 3071
    assert groups == {"a": 464, "b": 465}


def test_gateways_without_number_are_counted_without_reading(directory):
    for n in range(2 * MANY_VALUES):
        directory.passivate(add(directory, gateway=str(n)))
    count, groups, wanted = counted(directory, by="gateway")
    assert (count, len(groups), wanted) == (2 * MANY_VALUES, 2 * MANY_VALUES, [])


def test_live_sessions_have_not_ended_for_any_reason(directory):
    directory.passivate(add(directory))
    assert counted(directory, by="end_reason") == (1, {"": 1}, [])


def test_callers_are_told_apart_by_reading(directory):
    directory.passivate(add(directory, caller="+1"))
    assert counted(directory, by="caller")[2] == [1]
    assert counted(directory, caller="+1") == (1, None, [])
    assert counted(directory, caller=None)[2] == [1]


def test_the_tick_is_kept_at_which_one_is_to_be_looked_at(directory):
    first, second, third = (add(directory) for _ in range(3))
    directory.passivate(first, 77)
    directory.passivate(second)
    directory.passivate(third, 1 << 40)
    assert [directory.due(seq) for seq in (1, 2, 3)] == [77, NEVER, NEVER]
    directory.revive(first)
    with pytest.raises(KeyError):
        directory.due(1)
