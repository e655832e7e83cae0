"""A store that is killed at any instant has all that was settled, and nothing by halves."""

from __future__ import annotations

import signal
from random import Random

import pytest
from store_history import History
from store_process import PATIENCE, compare, loaded

KILLS = 8


def test_kills_at_random_instants_lose_nothing(tmp_path):
    history, random = History(), Random(1)
    for number in range(KILLS):
        with loaded(tmp_path / "store.db", history, seed=number) as store:
            store.wait_for("settled", random.randint(1, 30))
            store.kill()
        compare(tmp_path / "store.db", history)
    assert history.counts["settled"] > KILLS
    assert history.kept.ended


@pytest.mark.needs("gcc")
@pytest.mark.parametrize("number", [*range(1, 9), 30, 100])
def test_a_death_in_the_middle_of_a_write_loses_nothing(disk, number):
    history = History()
    for power in (True, False):
        with loaded(disk.store, history, seed=number, environ=disk.environ) as store:
            store.wait_for("settled")
            disk.crashes_at(number)
            store.rest()
            assert store.popen.wait(PATIENCE) == -signal.SIGKILL
        if power:
            disk.restarts()
        else:
            disk.loses_power()
        compare(disk.store, history)


@pytest.mark.needs("gcc")
def test_power_cuts_at_random_instants_lose_nothing(disk):
    history, random = History(), Random(2)
    for number in range(KILLS):
        with loaded(disk.store, history, seed=number, environ=disk.environ) as store:
            store.wait_for("settled", random.randint(1, 30))
            store.kill()
        disk.loses_power()
        compare(disk.store, history)
        disk.restarts()


def test_a_store_that_is_closed_has_everything(tmp_path):
    history = History()
    with loaded(tmp_path / "store.db", history) as store:
        store.wait_for("settled", 20)
        store.close()
    waiting = len(history.waiting)
    assert compare(tmp_path / "store.db", history) == waiting
