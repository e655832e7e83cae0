"""The table of entries by sequence number against a dict."""

from __future__ import annotations

import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiond.actors.table import SequenceTable

numbers = st.one_of(st.integers(0, 70), st.integers(1000, 1100), st.integers(0, 2**40))
changes = st.lists(st.tuples(st.booleans(), numbers))


@settings(derandomize=True, deadline=None)
@given(changes)
def test_a_table_is_a_dict(changes):
    table, model = SequenceTable(), {}
    for place, (puts, n) in enumerate(changes):
        if puts:
            table.put(n, place)
            model[n] = place
        elif n in model:
            table.remove(n)
            del model[n]
        assert table.get(n) == model.get(n)
    assert len(table) == len(model)
    assert table.numbers == sorted({n >> 10 for n in model})
    assert all(table.chunk(n >> 10)[n & 1023] == entry for n, entry in model.items())


@pytest.mark.parametrize("seed", range(10))
def test_what_is_left_of_a_full_chunk_is_still_found_while_it_shrinks(seed):
    random = Random(seed)
    table, left = SequenceTable(), set(range(1024))
    for n in left:
        table.put(n, n)
    for n in random.sample(range(1024), 1024):
        table.remove(n)
        left.discard(n)
        probe = random.randrange(1024)
        assert table.get(probe) == (probe if probe in left else None)
    assert len(table) == 0
    assert table.numbers == []


@pytest.mark.parametrize("survivor", [0, 1023])
def test_a_chunk_that_shrinks_tells_who_is_left(survivor):
    table = SequenceTable()
    for n in range(1024):
        table.put(n, n)
    told = {}
    for n in sorted(range(1024), key=lambda n: n == survivor)[:-1]:
        word = table.remove(n)
        if word is not None:
            told[word.bit_count()] = word
    assert sorted(told) == [4, 16, 64]
    assert all(word >> survivor & 1 for word in told.values())
    assert table.get(survivor) == survivor
    assert table.remove(survivor) == 0


def test_a_shrunken_chunk_takes_entries_again():
    table = SequenceTable()
    for n in range(65):
        table.put(n, n)
    table.remove(0)
    for n in range(100, 1024):
        table.put(n, n)
    assert [table.get(n) for n in (0, 1, 64, 99, 100, 1023)] == [None, 1, 64, None, 100, 1023]


def test_the_last_entry_of_an_old_chunk_costs_little():
    table = SequenceTable()
    for n in range(1024):
        table.put(n, n)
    full = sys.getsizeof(table.chunk(0))
    for n in range(1023):
        table.remove(n)
    assert sys.getsizeof(table.chunk(0)) < full / 20


def test_an_entry_put_in_the_place_of_another_counts_once():
    table = SequenceTable()
    table.put(5, "actor")
    table.put(5, "restarted")
    table.remove(5)
    assert len(table) == 0
    assert table.get(5) is None


def test_what_is_not_there_cannot_be_removed():
    table = SequenceTable()
    with pytest.raises(KeyError):
        table.remove(5)
    table.put(4, "other")
    with pytest.raises(KeyError):
        table.remove(5)
