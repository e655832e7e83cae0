"""Attempts come later and later, within bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.records.backoff import FIRST_PAUSE, MAX_PAUSE, Backoff


def test_pauses_double_up_to_the_last():
    backoff = Backoff(lambda: 1.0)
    pauses = []
    for _ in range(8):
        backoff.fail(100.0)
        pauses.append(backoff.due - 100)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(1, 5000), st.floats(0, 1))
def test_at_least_half_of_a_pause_is_sure(failures, drawn):
    backoff = Backoff(lambda: drawn)
    for _ in range(failures):
        backoff.fail(0.0)
    full = min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 20))
    assert full / 2 <= backoff.due <= full


@pytest.mark.parametrize(("asked", "pause"), [(0.2, 1), (30, 30), (200, 200)])
def test_a_longer_pause_can_be_asked_for_and_no_shorter_one(asked, pause):
    backoff = Backoff(lambda: 1.0)
    backoff.fail(5.0, asked)
    assert backoff.due == 5 + pause


def test_what_succeeds_begins_anew():
    backoff = Backoff(lambda: 1.0)
    assert backoff.lasts(1e9) == -math.inf
    backoff.fail(10.0)
    backoff.fail(20.0)
    assert backoff.lasts(50.0) == 40
    backoff.succeed()
    assert (backoff.due, backoff.lasts(50.0)) == (-math.inf, -math.inf)
    backoff.fail(60.0)
    assert (backoff.due, backoff.lasts(70.0)) == (61, 10)
