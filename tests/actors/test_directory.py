"""The directory by example; ``test_queries.py`` has it against a model."""

from __future__ import annotations

import pytest
from entries import Entry, add, change, end, forget

from sessiond.actors.bitmap import CHUNK_SHIFT
from sessiond.actors.directory import MAX_ADDRESSED, MAX_NAMES, Directory
from sessiond.actors.states import LIVE_STATES


@pytest.fixture
def directory() -> Directory[Entry]:
    return Directory(metadata_keys=["tenant"])


def test_a_session_is_found_by_id_and_by_sequence(directory):
    first, second = add(directory), add(directory)
    assert directory.at(1) is directory.by_id["id-1"] is first
    assert directory.at(2) is directory.by_id["id-2"] is second
    assert directory.by_id.get("id-3") is directory.at(3) is None


def test_a_restarted_session_takes_the_place_of_the_crashed_one(directory):
    fresh = Entry(1, add(directory).record)
    directory.replace(fresh)
    assert directory.by_id["id-1"] is directory.at(1) is fresh
    assert directory.live_count == 1


def test_an_ended_session_is_known_until_it_is_forgotten(directory):
    entry = add(directory, gateway="gw", metadata={"tenant": True})
    ended = end(directory, entry)
    assert directory.by_id["id-1"] is ended
    assert (directory.live_count, directory.retained_count) == (0, 1)
    forget(directory, ended)
    assert directory.by_id.get("id-1") is directory.at(1) is None
    assert (directory.live_count, directory.retained_count) == (0, 0)
    assert not any(map(len, (*directory.fields["gateway"].values(), *directory.metadata["tenant"].values())))


def test_an_address_is_a_gateway_and_its_id_of_the_call(directory):
    ours, theirs = add(directory, gateway="a", external_id="1"), add(directory, gateway="b", external_id="1")
    nobodys, other = add(directory, external_id="1"), add(directory, external_id="2")
    assert directory.addressed("a", "1") == ([ours], None)
    assert directory.addressed("b", "1") == ([theirs], None)
    assert directory.addressed(None, "1") == ([nobodys], None)
    assert directory.addressed(None, "2") == ([other], None)
    assert directory.addressed("a", "2") == directory.addressed("c", "1") == directory.addressed("a", "3") == ([], None)


def test_an_address_used_again_gives_the_live_session_and_the_newest_ended_one(directory):
    for gap in (0, 1, 5000):
        directory._last_seq += gap
        newest = end(directory, add(directory, gateway="a", external_id="1"))
    assert directory.addressed("a", "1") == ([], newest)
    live = add(directory, gateway="a", external_id="1")
    assert directory.addressed("a", "1") == ([live], newest)


def test_the_only_holder_of_an_address_may_have_ended(directory):
    ended = end(directory, add(directory, gateway="a", external_id="1"))
    assert directory.addressed("a", "1") == ([], ended)


def test_an_address_that_thousands_share_gives_the_newest_few(directory):
    shared = [add(directory, gateway="a", external_id="unknown") for _ in range(3000)]
    live, ended = directory.addressed("a", "unknown")
    assert live == shared[: -MAX_ADDRESSED - 1 : -1]
    assert ended is None
    mine = add(directory, gateway="b", external_id="unknown")
    assert directory.addressed("b", "unknown") == ([mine], None)


def test_changed_fields_are_found_under_their_new_values(directory):
    entry = add(directory, gateway="a", external_id="1", metadata={"tenant": 1})
    change(directory, entry, external_id="2", caller="+1", metadata={"tenant": True})
    assert directory.addressed("a", "1") == ([], None)
    assert directory.addressed("a", "2") == ([entry], None)
    assert list(directory.fields["caller"]) == ["+1"]
    assert [list(bitmap) for bitmap in directory.metadata["tenant"].values()] == [[1]]


def test_live_counts_take_unknown_types_together(directory):
    for kind, state in [("sip", "active"), ("sip", "active"), ("sip", "held"), ("h323", "active"), ("other", "active")]:
        add(directory, type=kind, state=state)
    end(directory, add(directory))
    counts = {
        (kind, state): count
        for state in LIVE_STATES
        for counted, others in [directory.count_by_type(state, ("sip", "webrtc"))]
        for kind, count in (*counted.items(), ("other", others))
    }
    assert {pair: count for pair, count in counts.items() if count} == {
        ("sip", "active"): 2,
        ("sip", "held"): 1,
        ("other", "active"): 2,
    }
    assert len(counts) == 12


def test_names_that_somebody_makes_up_are_not_shared_for_ever(directory):
    for n in range(2 << CHUNK_SHIFT):
        add(directory)
        directory.names.update((f"gateway-{n}-{m}", "") for m in range(4))
    assert len(directory.names) <= MAX_NAMES + (4 << CHUNK_SHIFT)


def test_what_is_left_of_a_chunk_is_found_by_every_field_while_it_shrinks(directory):
    entries = [add(directory, type="sip" if n % 2 else "webrtc", gateway=f"gw-{n % 3}") for n in range(200)]
    while entries:
        forget(directory, entries.pop(len(entries) * 5 // 7))
        known, others = directory.count_by_type("active", ("sip",))
        assert known["sip"] == sum(entry.record.type == "sip" for entry in entries)
        assert others == len(entries) - known["sip"]
    assert not directory.fields["type"]
    assert not directory.fields["gateway"]
