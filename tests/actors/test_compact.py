"""The compact index against a list of pairs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiond.actors.compact import CompactIndex, digest
from sessiond.actors.index import strict

keys = st.sampled_from([0, 1, 2, 2**52 - 1, 2**52, 2**63, 2**64 - 1])
changes = st.lists(st.tuples(keys, st.integers(0, 5), st.sampled_from(["turn", "turn", "turn", "take"])), max_size=80)


@settings(derandomize=True, deadline=None)
@given(changes)
def test_an_index_knows_who_has_a_digest_in_the_order_of_coming(changes):
    index: CompactIndex = CompactIndex()
    held: list[tuple[int, int]] = []
    for key, n, what in changes:
        if what == "take":
            assert index.take(key) == [n for other, n in held if other == key]
            held = [pair for pair in held if pair[0] != key]
        elif (key, n) in held:
            held.remove((key, n))
            index.remove(key, n)
        else:
            assert index.add(key, n) == any(other == key for other, _ in held)
            held.append((key, n))
        for each in (key, key ^ 1):
            numbers = [number for other, number in held if other == each]
            assert index.find(each) == numbers
            assert index.size(each) == len(numbers)
        assert len(index) == len(held)


@pytest.mark.parametrize("key", [1, 2, 3])
def test_what_is_not_there_is_not_removed(key):
    index = CompactIndex()
    index.add(2, 7)
    with pytest.raises(KeyError):
        index.remove(key, 8)
    assert index.find(2) == [7]


def test_values_that_differ_have_digests_that_do():
    values = ["1", "", "-1", "(1,)", "True", 1, 0, -1, -2, 2**61, 2**61 - 1, 0.5, 1e300, strict(True), strict(False)]
    assert len({digest(value) for value in values}) == len(values)
    assert all(0 <= digest(value) < 2**64 for value in values)


def test_values_that_are_equal_have_one_digest():
    assert digest(1) == digest(1.0)
    assert digest(0) == digest(0.0) == digest(-0.0)
    assert digest("a" * 2) == digest("aa")
