"""The log in bytes, and what of it counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from stored import ending

from sessiond.stores.fold import Unfolded
from sessiond.stores.log import AUTHOR, END, LIVE, PUT, TOUCH, decode, encode, latest
from sessiond.stores.rows import endings

NUMBERS = st.integers(1, 5)
ENTRIES = st.lists(
    st.one_of(
        st.tuples(st.just(LIVE), NUMBERS, st.binary(max_size=3)),
        st.tuples(st.just(TOUCH), NUMBERS, st.floats(0, 10)),
        NUMBERS.map(lambda seq: (END, seq, ending(seq))),
        st.tuples(st.just(PUT), st.sampled_from("ab"), st.integers(0, 9)),
        st.tuples(st.just(AUTHOR), NUMBERS, st.sampled_from("gw"), st.none()),
    )
)


def without_those_that_come_back(entries):
    """A session that has ended is not heard of again."""
    ended = set()
    for entry in entries:
        if entry[0] > END or entry[1] not in ended:
            yield entry
        if entry[0] == END:
            ended.add(entry[1])


def folded(entries):
    unfolded = Unfolded(3)
    unfolded.apply(entries)
    return unfolded.images, unfolded.touches, unfolded.gone


@given(entries=ENTRIES)
def test_what_is_decoded_folds_to_the_same(entries):
    assert folded(decode(encode(entries))) == folded(entries)


@given(entries=ENTRIES, last=st.integers(100, 200), above=st.integers(90, 200))
def test_ends_come_back_from_the_log_with_their_positions(entries, last, above):
    numbered = enumerate(entries, last - len(entries) + 1)
    expected = [(number, entry[2]) for number, entry in numbered if entry[0] == END and number > above]
    assert endings(decode(encode(entries)), last, above) == expected


@given(entries=ENTRIES.map(without_those_that_come_back).map(list))
def test_what_counts_makes_the_same_of_everything_and_says_nothing_twice(entries):
    left = latest(entries)
    assert folded(left) == folded(entries)
    assert [entry for entry in left if entry[0] == END] == [entry for entry in entries if entry[0] == END]
    for kind in (PUT, AUTHOR):
        said = {entry[1]: entry for entry in entries if entry[0] == kind}
        assert {entry[1]: entry for entry in left if entry[0] == kind} == said
    assert len({entry[:2] for entry in left}) == len(left)


@given(entries=ENTRIES.map(without_those_that_come_back).map(list))
def test_replaying_twice_is_replaying_once(entries):
    assert folded([*entries, *entries]) == folded(entries)
