"""Which sessions are to leave memory: those that have been quiet, and of too many those that were used least lately."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from heapq import heappop, heappush

__all__ = ["Residents"]

TICK = 1.0
"""Seconds of activity that are told apart."""


class Residents:
    """The sessions in memory, filed under the activity that is known of them, at 8 bytes each.

    Activity is not reported. Who comes up is asked for it, and filed anew if there was any since: so it costs nothing,
    and whoever leaves has been quiet, and for longer than all who stay, to within ``TICK``. A session that leaves
    memory by itself is found out when it comes up, too.
    """

    def __init__(self, quiet: float, most: int) -> None:
        """Let go of sessions that have been quiet for so many seconds, and of the quietest above so many."""
        self._quiet = quiet
        self._most = most
        self._buckets: dict[int, array[int]] = {}
        self._ticks: list[int] = []
        """The ticks that have a bucket, as a heap."""

    def __len__(self) -> int:
        """Sessions that are filed, some of which may have left."""
        return sum(map(len, self._buckets.values()))

    def add(self, seq: int, touched: float) -> None:
        """File a session that is in memory and not filed; its last activity was at ``touched`` (monotonic).

        That is every one that has come, and every one that was to leave and may not yet, as if it were active now.
        """
        tick = math.floor(touched / TICK)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = array("Q")
            heappush(self._ticks, tick)
        bucket.append(seq)

    def leaving(self, now: float, resident: int, touched: Callable[[int], float | None], budget: int) -> list[int]:
        """Who is to leave ``now``, after looking at ``budget`` sessions at most; they are no longer filed.

        Args:
            now: seconds on the monotonic clock.
            resident: how many sessions are in memory.
            touched: the last activity of a session, None if it is in memory no more.
            budget: at most so many leave; if it is as many, or none was left to look at, there may be more.
        """
        leaving: list[int] = []
        surplus = resident - self._most
        for _ in range(budget):
            if not self._ticks:
                break
            tick = self._ticks[0]
            if surplus <= 0 and (tick + 1) * TICK > now - self._quiet:
                break
            seq = self._take(tick)
            at = touched(seq)
            if at is None:
                continue
            if math.floor(at / TICK) > tick:
                self.add(seq, at)
            else:
                leaving.append(seq)
                surplus -= 1
        return leaving

    def _take(self, tick: int) -> int:
        bucket = self._buckets[tick]
        seq = bucket.pop()
        if not bucket:
            heappop(self._ticks)
            del self._buckets[tick]
        return seq
