"""Among which numbers the calls are that ended in some time, from the index of ends, in bounded steps.

Numbers are in the order in which ends were kept, which is about that of the ends, but not quite: a gateway may tell of
an end hours later. So it takes a look at every end in that time to know the first and the last number.
"""

from __future__ import annotations

import sqlite3

__all__ = ["SPAN_STEPS", "STEP_ENDS", "Span"]

STEP_ENDS = 20_000
"""Ends that one step looks at, at some 0.15 us each."""
SPAN_STEPS = 50
"""After so many it is given up: the time is so long that there is not much to be left out."""

_STEP = """
SELECT count(*), min(number), max(number), max(ended_at) FROM (
    SELECT number, ended_at FROM records INDEXED BY records_ended
    WHERE ended_at >= ? AND ended_at < ? ORDER BY ended_at LIMIT ?
)
"""


class Span:
    """The first and the last number of the calls that ended in a time; or, if that is not found out, of all."""

    def __init__(self, after: float, before: float, everything: tuple[int, int]) -> None:
        """Look from ``after``, inclusive, to ``before``, exclusive, in epoch seconds."""
        self._after, self._before = after, before
        self._everything = everything
        self._low, self._high = everything[1], everything[0]
        self._steps = SPAN_STEPS

    def step(self, connection: sqlite3.Connection) -> tuple[int, int] | None:
        """Look at some ends; the span once these were the last, else None. If there are none, it is upside down."""
        ((count, low, high, latest),) = connection.execute(_STEP, (self._after, self._before, STEP_ENDS)).fetchall()
        if count:
            self._low, self._high = min(self._low, low), max(self._high, high)
        if count < STEP_ENDS:
            return self._low, self._high
        self._steps -= 1
        if latest == self._after or not self._steps:
            return self._everything
        self._after = latest
        return None
