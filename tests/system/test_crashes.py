"""A service that is killed under load, again and again, loses nothing: ``scripts/crash`` does the same for longer."""

from __future__ import annotations

import pytest
from crash_model import Lost
from crash_test import CrashTest
from faulty_disk import compile_faulty_disk


def survive(test, kills):
    for _ in range(kills):
        test.round()
    test.finish()
    assert test.summary.kills == kills
    assert test.summary.answered
    assert test.summary.in_doubt
    assert test.summary.records


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_kills_under_load_lose_nothing(tmp_path, seed):
    survive(CrashTest(tmp_path, seed), 15)


@pytest.mark.timeout(300)
@pytest.mark.needs("gcc")
def test_power_cuts_under_load_lose_nothing(tmp_path):
    """A kill takes nothing that was written, synced or not; a power cut does."""
    survive(CrashTest(tmp_path, 3, compile_faulty_disk(tmp_path)), 10)


@pytest.mark.timeout(300)
def test_with_relaxed_durability_kills_leave_a_beginning_of_what_was_asked(tmp_path):
    survive(CrashTest(tmp_path, 4, is_relaxed=True), 5)


@pytest.mark.timeout(300)
def test_answers_that_come_too_early_are_found(tmp_path):
    """As those of relaxed durability do, when it has promised more."""
    test = CrashTest(tmp_path, 5, is_relaxed=True)
    test._is_relaxed = False
    with pytest.raises(Lost):
        survive(test, 20)
