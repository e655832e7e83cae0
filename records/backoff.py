"""When to try again what has failed."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["FIRST_PAUSE", "MAX_PAUSE", "Backoff"]

FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0
"""Seconds until the next attempt: doubled from the first to the last with each one that fails."""


class Backoff:
    """The attempts at one thing. All times are monotonic."""

    def __init__(self, draw: Callable[[], float]) -> None:
        """``draw`` draws from 0 to 1: up to half of each pause is left to chance."""
        self._draw = draw
        self._pauses = 0
        self._since = math.inf
        self.due = -math.inf
        """When to try next."""

    def fail(self, now: float, pause: float = 0.0) -> None:
        """An attempt has failed, and the next is to be no sooner than in ``pause`` seconds."""
        self._since = min(self._since, now)
        doubled = min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(self._pauses, 16))
        self._pauses += 1
        self.due = now + max(pause, doubled * (0.5 + 0.5 * self._draw()))

    def succeed(self) -> None:
        """An attempt has not failed."""
        self._pauses = 0
        self._since, self.due = math.inf, -math.inf

    def lasts(self, now: float) -> float:
        """For how many seconds there have been nothing but failures; below 0 if there is none."""
        return now - self._since
