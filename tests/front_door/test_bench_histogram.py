"""A histogram says what a sorted list of all times would say, within its precision."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.bench.histogram import PRECISION, Histogram

TIMES = st.lists(st.floats(0, 3600), min_size=1, max_size=200)
PERCENTS = st.sampled_from([1, 50, 90, 99, 99.9, 100])
SHORTEST = 1e-7


def recorded(times):
    histogram = Histogram()
    for seconds in times:
        histogram.record(seconds)
    return histogram


@given(TIMES, PERCENTS)
def test_a_percentile_is_that_of_a_sorted_list_and_never_too_low(times, percent):
    exact = sorted(times)[max(1, math.ceil(len(times) * percent / 100)) - 1]
    found = recorded(times).percentile(percent)
    assert exact <= found + 1e-12
    assert found <= exact * (1 + PRECISION) + SHORTEST + 1e-12


@given(TIMES)
def test_the_longest_time_is_exact(times):
    histogram = recorded(times)
    assert histogram.max == histogram.percentile(100) == max(times)
    assert histogram.count == len(times)


@given(TIMES, TIMES, PERCENTS)
def test_merged_is_as_if_recorded_by_one(some, others, percent):
    merged = recorded(some)
    merged.merge(recorded(others))
    both = recorded(some + others)
    assert (merged.count, merged.max) == (both.count, both.max)
    assert merged.percentile(percent) == both.percentile(percent)


def test_an_empty_one_knows_nothing():
    assert (Histogram().count, Histogram().max, Histogram().percentile(99)) == (0, 0.0, 0.0)


@pytest.mark.parametrize("seconds", [1e4, 1e9])
def test_what_is_longer_than_it_was_made_for_is_counted_all_the_same(seconds):
    histogram = recorded([seconds])
    assert histogram.count == 1
    assert histogram.max == seconds
    assert histogram.percentile(50) <= seconds
