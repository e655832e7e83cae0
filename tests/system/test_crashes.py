"""A service that is killed under load, again and again, loses nothing: ``scripts/crash`` does the same for longer."""

from __future__ import annotations

import pytest
from crash_test import CrashTest

KILLS = 20


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_kills_under_load_lose_nothing(tmp_path, seed):
    test = CrashTest(tmp_path, seed)
    for _ in range(KILLS):
        test.round()
    test.finish()
    assert test.summary.kills == KILLS
    assert test.summary.answered
    assert test.summary.in_doubt
    assert test.summary.records
