"""The index of a field against a dict of sets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiond.actors.bitmap import BIT, CHUNK_SHIFT, OFFSET_MASK
from sessiond.actors.index import FieldIndex, SteadyIndex, strict

values = st.sampled_from([None, "", "sip", 1, 1.0, 2.5, strict(True), strict(False), 0])


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(values, st.integers(0, 30)), max_size=120))
def test_an_index_knows_the_holders_of_each_value(changes):
    index, held = FieldIndex(), {}
    for value, n in changes:
        if n in held:
            index.remove(held.pop(n), n)
        else:
            held[n] = value
            index.add(value, n)
        model = {each: sorted(n for n in held if held[n] == each) for each in held.values()}
        assert {each: list(bitmap) for each, bitmap in index.items()} == model
        assert {each: index.size(each) for each in model} == {each: len(numbers) for each, numbers in model.items()}
    assert index.size("nobody") == 0


@settings(derandomize=True, deadline=None)
@given(
    st.dictionaries(st.one_of(st.integers(0, 20), st.integers(1020, 1030)), st.sampled_from([None, "a", "b"])),
    st.sets(st.one_of(st.integers(0, 20), st.integers(1020, 1030))),
)
def test_a_steady_index_has_everybody_until_it_is_told_who_is_left_of_a_chunk(held, left):
    index = SteadyIndex()
    for n in sorted(held):
        add_newest(index, held[n], n)
        assert n in index[held[n]]
    assert {value: set(words) for value, words in index.items()} == by_value(held)
    for number in (0, 1):
        index.keep(number, sum(BIT[n & OFFSET_MASK] for n in left if n >> CHUNK_SHIFT == number))
    kept = {n: value for n, value in held.items() if n in left}
    assert {value: set(words) for value, words in index.items()} == by_value(kept)
    add_newest(index, "a", 1031)
    assert {value: set(words) for value, words in index.items()} == by_value(kept | {1031: "a"})
    index.keep(0, 0)
    index.keep(1, 0)
    assert not index


def add_newest(index, value, n):
    """Add as the directory does: numbers ascend, and a chunk is opened with its first."""
    number, bit = n >> CHUNK_SHIFT, BIT[n & OFFSET_MASK]
    if number != index.number:
        index.open(number)
    index.newest[value] = index.newest.get(value, 0) | bit


def by_value(held):
    return {value: {n for n in held if held[n] == value} for value in held.values()}


def test_a_value_without_holders_is_forgotten():
    index = FieldIndex()
    for n in range(20):
        index.add("gateway", n)
    for n in range(20):
        index.remove("gateway", n)
    assert len(index) == 0
    assert index.get("gateway") is None
    with pytest.raises(KeyError):
        index["gateway"]


def test_the_only_holder_is_told_and_several_are_not():
    index = FieldIndex()
    assert index.only("call") is None
    index.add("call", 0)
    assert index.only("call") == 0
    index.add("call", 1)
    assert index.only("call") is None
    index.remove("call", 0)
    assert index.only("call") == 1


def test_booleans_are_not_numbers_and_numbers_are_equal_across_types():
    assert strict(True) != strict(1)
    assert strict(False) != strict(0)
    assert strict(1) == strict(1.0)
    assert hash(strict(1)) == hash(strict(1.0))


def test_reading_one_value_or_all_of_a_steady_index_shows_the_newest_holders():
    index = SteadyIndex()
    for n in range(3):
        add_newest(index, "a", n)
        add_newest(index, f"b{n}", n + 3)
        assert list(index["a"]) == list(range(n + 1))
        assert {value: len(list(words)) for value, words in index.items()} == {
            "a": n + 1,
            **{f"b{m}": 1 for m in range(n + 1)},
        }
    assert index.get("c") is None
