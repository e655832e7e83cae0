"""The reaper's agenda: what to look at when, at 8 bytes an item."""

from __future__ import annotations

import math
from array import array
from collections import deque
from heapq import heappop, heappush

__all__ = ["Wheel"]


class Wheel:
    """A lazy timing wheel: sequence numbers of sessions, filed under the tick by which they should be looked at.

    Nothing is ever taken out before its tick comes: a session that has ended meanwhile is passed over then, and one
    whose deadline has moved is filed anew, so a touch costs the wheel nothing. Empty ticks take neither place nor
    time.
    """

    def __init__(self, tick: float) -> None:
        """Tell deadlines apart by ``tick`` seconds."""
        self.backlog = 0
        """How many numbers are due and not taken yet."""
        self._tick = tick
        self._buckets: dict[int, array[int]] = {}
        self._ticks: list[int] = []
        """The ticks that have a bucket, as a heap."""
        self._due: deque[array[int]] = deque()

    def add(self, seq: int, deadline: float) -> int:
        """File ``seq`` to be due at ``deadline``, seconds on the clock of ``due``; return the tick it is under."""
        tick = math.ceil(deadline / self._tick)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = array("Q")
            heappush(self._ticks, tick)
        bucket.append(seq)
        return tick

    def tick_at(self, now: float) -> int:
        """The last tick that has come by ``now``."""
        return math.floor(now / self._tick)

    def due(self, now: float) -> None:
        """Move all that is due by ``now`` to the backlog."""
        tick = self.tick_at(now)
        while self._ticks and self._ticks[0] <= tick:
            bucket = self._buckets.pop(heappop(self._ticks))
            self._due.append(bucket)
            self.backlog += len(bucket)

    def take(self, limit: int) -> list[int]:
        """At most ``limit`` numbers off the backlog, those of the earliest ticks first."""
        taken: list[int] = []
        while self._due and len(taken) < limit:
            bucket = self._due[0]
            part = bucket[len(taken) - limit :]  # from the end, which is cheap to cut off
            del bucket[len(taken) - limit :]
            taken += part
            if not bucket:
                self._due.popleft()
        self.backlog -= len(taken)
        return taken
