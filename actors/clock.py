"""Time, injected: everything that needs to know what time it is, is handed a ``Clock``."""

from __future__ import annotations

import time
from typing import Protocol

import msgspec

__all__ = ["Clock", "Instant", "SystemClock", "TurnClock"]


class Instant(msgspec.Struct, frozen=True, gc=False):
    """One moment on both clocks: the wall's for people, the monotonic one for deadlines.

    They are read together and kept together, so that a deadline shown as a wall time does not jitter, and a step of
    the wall clock ends no call.
    """

    wall: float
    """Seconds since the epoch."""
    monotonic: float
    """Seconds on a clock that never steps; only differences mean anything."""

    def earlier(self, wall: float) -> Instant:
        """The moment at which the wall showed ``wall``, judged from this one."""
        return Instant(wall, self.monotonic - (self.wall - wall))


class Clock(Protocol):
    """Where the present comes from."""

    def read(self) -> Instant:
        """The present."""
        ...


class SystemClock:
    """The machine's clocks."""

    def read(self) -> Instant:
        """The present."""
        return Instant(time.time(), time.monotonic())


class TurnClock:
    """A clock that can be held, so that everything done for one turn of an event loop happens at one moment.

    Saves two reads of the machine's clocks and an ``Instant`` for every request after the first. Whatever else runs
    until the release, the reaper for one, is at that moment too.
    """

    def __init__(self, clock: Clock) -> None:
        """Show what ``clock`` shows, unless held."""
        self._clock = clock
        self._held: Instant | None = None

    def read(self) -> Instant:
        """The present, or the moment that is held."""
        return self._held or self._clock.read()

    def hold(self) -> Instant:
        """Stop at this moment until ``release``, which is to come within milliseconds."""
        self._held = self._clock.read()
        return self._held

    def release(self) -> None:
        """Go on."""
        self._held = None
