"""When Python's garbage collector runs in a service that keeps a million sessions.

Left to itself it stops the service: a full collection looks at every object there is, some 0.3 s at 300,000 sessions,
and finds next to nothing, since everything here is freed by its reference count alone. The young generation is no
better: a collection of it is due when allocations outnumber deallocations by a threshold, and when as many sessions
end as are created it hardly ever is; by then the generation is a large part of all sessions.

So automatic collection is off. Instead, a few dozen times a second and between two callbacks of the event loop, what
was allocated since the last time is collected, and what survives is frozen: moved, at no cost per object, to where no
collection looks. Every object is looked at once in its life, and a pause is as long as what one interval can allocate.

Cycles that come and go within a callback, those of exceptions above all, are found. The price: one that is alive when
it is frozen and becomes garbage later is never found. So what lives longer than a callback (a session, a connection)
must take its own cycles apart when it ends.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["INTERVAL", "YoungCollector"]

INTERVAL = 0.02
"""Seconds between collections: at 30,000 calls a second a pause of some 2 ms, and next to nothing when idle."""


class Collector(Protocol):
    """What is used of the module ``gc``."""

    def disable(self) -> None:
        """See ``gc.disable``."""

    def collect(self, generation: int = 2, /) -> int:
        """See ``gc.collect``."""

    def freeze(self) -> None:
        """See ``gc.freeze``."""


class YoungCollector:
    """Collects what is young, and freezes the rest, from a timer of the event loop."""

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], object],
        paused: Callable[[float], object] = lambda _seconds: None,
        *,
        collector: Collector = gc,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Collect when the loop comes round to it.

        Args:
            call_later: a loop's method.
            paused: told after each look how many seconds everything stood still for it.
            collector: what to run.
            now: the clock, in seconds.
        """
        self._call_later = call_later
        self._paused = paused
        self._collector = collector
        self._now = now

    def start(self) -> None:
        """Take the collector over, for the rest of the process. Full for once, while there is little to look at."""
        self._collector.disable()
        self._collector.collect()
        self._tick()

    def _tick(self) -> None:
        began = self._now()
        self._collector.collect(0)
        self._collector.freeze()
        self._paused(self._now() - began)
        self._call_later(INTERVAL, self._tick)
