"""Bitmaps against sets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sessiond.actors.bitmap import BIT, Bitmap, offsets

numbers = st.one_of(st.integers(0, 70), st.integers(1000, 1100), st.integers(0, 2**40))
changes = st.lists(st.tuples(st.booleans(), numbers))


@settings(derandomize=True, deadline=None)
@given(changes)
def test_a_bitmap_is_a_set(changes):
    bitmap, model = Bitmap(), set()
    for adds, n in changes:
        (bitmap.add if adds else bitmap.discard)(n)
        (model.add if adds else model.discard)(n)
        assert (n in bitmap) == (n in model)
    assert list(bitmap) == sorted(model)
    assert len(bitmap) == len(model)
    assert all(bitmap.chunks.values()), "an empty chunk is not kept"


@settings(derandomize=True, deadline=None)
@given(st.sets(numbers), st.sets(numbers))
def test_common_members_are_those_of_the_intersection(one, other):
    assert Bitmap(one).common(Bitmap(other)) == len(one & other)


@settings(derandomize=True, deadline=None)
@given(st.sets(numbers, min_size=1), st.sets(numbers), st.data())
def test_a_moved_member_is_in_the_other_set_only(one, other, data):
    n = data.draw(st.sampled_from(sorted(one)))
    source, target = Bitmap(one), Bitmap(other - one)
    source.move(n, target)
    assert list(source) == sorted(one - {n})
    assert list(target) == sorted(other - one | {n})
    assert (len(source), len(target)) == (len(one) - 1, len(other - one) + 1)


@settings(derandomize=True, deadline=None)
@given(st.sets(st.integers(0, 1023)))
def test_offsets_come_in_order_both_ways(members):
    word = sum(BIT[offset] for offset in members)
    assert list(offsets(word)) == sorted(members)
    assert list(offsets(word, descending=True)) == sorted(members, reverse=True)
