"""The walk through a selection, undisturbed; ``test_queries.py`` disturbs it."""

from __future__ import annotations

from itertools import cycle, islice

import pytest
from entries import Entry, add
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiond.actors import selection
from sessiond.actors.directory import Directory
from sessiond.actors.params import Filters
from sessiond.actors.selection import Selection, Walk


def directory_of(sip: set[int], webrtc: set[int]) -> Directory[Entry]:
    directory: Directory[Entry] = Directory()
    for seq in sorted(sip | webrtc):
        directory._last_seq = seq - 1
        add(directory, type="sip" if seq in sip else "webrtc")
    return directory


chunks = st.sampled_from([0, 1, 2, 9, 70])
sequence_numbers = st.sets(
    st.builds(lambda chunk, offset: chunk * 1024 + offset, chunks, st.sampled_from([0, 1, 500, 1023]))
)


@pytest.mark.parametrize("narrow", [0, selection.NARROW], ids=["over all chunks", "over its own chunks"])
@pytest.mark.parametrize("descending", [False, True])
@settings(derandomize=True, deadline=None)
@given(
    sip=sequence_numbers,
    webrtc=sequence_numbers,
    budgets=st.lists(st.integers(1, 5), min_size=1),
    start=st.none() | st.integers(0, 72_000),
)
def test_a_walk_in_steps_of_any_size_visits_all_that_match_once(narrow, descending, sip, webrtc, budgets, start):
    walk = Walk(Selection(Filters(type="sip"), directory_of(sip, webrtc)), descending=descending, start=start)
    visited = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "NARROW", narrow)
        for budget in islice(cycle(budgets), 100):
            found = [entry.seq for entry in walk.entries(budget)]
            assert len(found) <= budget
            visited += found
            if walk.done:
                break
    if start is not None:
        sip = {seq for seq in sip if (seq <= start if descending else seq >= start)}
    assert visited == sorted(sip, reverse=descending)
    assert walk.done


def test_a_walk_that_is_left_goes_on_behind_the_last_session_seen():
    walk = Walk(Selection(Filters(), directory_of({1, 2, 3}, set())))
    assert next(walk.entries(10)).seq == 1
    assert [entry.seq for entry in walk.entries(10)] == [2, 3]


@pytest.mark.parametrize(
    "filters", [Filters(type="sip", ended="any"), Filters(metadata={"a": 1}), Filters(created_after=1.0)]
)
def test_a_selection_says_whether_the_indexes_are_enough(filters):
    assert Selection(filters, directory_of(set(), set())).indexed == (filters.type == "sip")
