"""Records go when they are old enough, and no sooner than every sink has had them."""

from __future__ import annotations

import pytest
from manual_clock import ManualClock

from sessiond.records.retention import INTERVAL, Retention


class World:
    """A dispatcher whose timers a test lets off, and a store that notes what it is asked to delete."""

    def __init__(self, keep):
        self.clock = ManualClock(wall=1000.0)
        self.timers = []
        self.purged = []
        self.position = 7
        self.retention = Retention(
            keep, self, lambda: self.position, lambda *timer: self.timers.append(timer), self.post, self.clock
        )

    def post(self, callback):
        callback()

    def purge(self, ended_before, up_to):
        self.purged.append((ended_before, up_to))

    def fire(self):
        timers, self.timers = self.timers, []
        for seconds, callback in timers:
            self.clock.advance(seconds)
            callback()


def test_what_is_old_enough_is_deleted_once_all_sinks_have_it():
    world = World(keep=100)
    world.retention.start()
    assert world.purged == []
    world.fire()
    world.position = 9
    world.fire()
    assert world.purged == [(1000 + INTERVAL - 100, 7), (1000 + 2 * INTERVAL - 100, 9)]


def test_without_an_age_nothing_is_deleted():
    world = World(keep=0)
    world.retention.start()
    assert world.timers == []


@pytest.mark.parametrize("while_posted", [False, True])
def test_once_stopped_it_deletes_nothing(while_posted):
    world = World(keep=100)
    if while_posted:
        world.retention._post = lambda callback: (world.retention.stop(), callback())
    world.retention.start()
    if not while_posted:
        world.retention.stop()
    world.fire()
    world.fire()
    assert world.purged == []
