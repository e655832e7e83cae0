"""How long the event loop stands still, and how much of that is the garbage collector's doing.

While one callback runs, everybody else waits, so the longest ones are what gateways feel at their worst. Nothing inside
the loop says how long its callbacks take; but a timer that is set every few milliseconds and comes late has waited for
one, as a request that arrived in its place would have.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sessiond.actors.tally import Histogram

__all__ = ["INTERVAL", "WINDOW", "Longest", "LoopWatch"]

INTERVAL = 0.005
"""Seconds between looks. What stands still for S shows as S, or up to so much less. A look takes some 3 us; where
nothing else is to do, waking up for it takes more, and all of them together a hundredth of a core."""
STALL_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds. Timers of loops are good for a millisecond, so less says nothing."""
PAUSE_BOUNDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Seconds."""
WINDOW = 60.0
"""Seconds: who looks at least so often sees the longest stall of all, whoever else looks how often."""


class Longest:
    """The longest time of late: of the present window, which may have just begun, and of the one before."""

    def __init__(self) -> None:
        self._present = self._before = 0.0
        self._until = 0.0

    @property
    def seconds(self) -> float:
        """The longest of the last one or two windows."""
        return max(self._present, self._before)

    def note(self, seconds: float, now: float) -> None:
        """Note a time that ended ``now`` (monotonic)."""
        if now >= self._until:
            self._before, self._present = self._present, 0.0
            self._until = now + WINDOW
        self._present = max(self._present, seconds)


class LoopWatch:
    """Watches a loop from one of its timers, and keeps what is found."""

    def __init__(
        self, call_later: Callable[[float, Callable[[], None]], object], now: Callable[[], float] = time.monotonic
    ) -> None:
        """Wake up by ``call_later``, a loop's method, and read the clock ``now``, in seconds."""
        self._call_later = call_later
        self._now = now
        self._due = 0.0
        self._longest = Longest()
        self.stalls = Histogram(STALL_BOUNDS)
        """How late each look was, in seconds. Most are not."""
        self.pauses = Histogram(PAUSE_BOUNDS)
        """How long each look of the garbage collector took, in seconds; it tells."""

    @property
    def longest_stall(self) -> float:
        """The latest look of the last one or two ``WINDOW``, in seconds."""
        return self._longest.seconds

    def start(self) -> None:
        """Watch from now on, for as long as the loop runs."""
        self._look_later(self._now())

    def _look(self) -> None:
        now = self._now()
        late = max(0.0, now - self._due)  # timers that are rounded may come a little early
        self.stalls.observe(late)
        self._longest.note(late, now)
        self._look_later(now)

    def _look_later(self, now: float) -> None:
        self._due = now + INTERVAL
        self._call_later(INTERVAL, self._look)
