"""What the front end has done, counted for the metrics: requests by method and code, and how long they took."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

__all__ = ["CLOSE_REASONS", "LATENCY_BOUNDS", "MethodTally", "Observed", "observe", "observe_all"]

CLOSE_REASONS = ("not_a_frame", "frame_timeout", "write_timeout", "max_connections", "drain_timeout", "taken_over")
"""Why this side closes connections."""
LATENCY_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds, from 0.1 ms: most requests take less than the default bounds of Prometheus begin with."""


class MethodTally:
    """The requests of one method."""

    __slots__ = ("answered", "buckets", "errors", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(LATENCY_BOUNDS) + 1)
        """Requests by upper bound of their time, failed ones too; not summed up."""
        self.seconds = 0.0
        self.answered = 0
        """Requests of the present round, whose time is not known yet: none of the other counts has them."""
        self.errors: Counter[str] = Counter()
        """Failed requests by error code. Those that succeeded are the rest."""


def observe(tallies: Iterable[MethodTally], seconds: float) -> None:
    """Count the requests of the round that ends, all answered after ``seconds``."""
    bucket = bisect_left(LATENCY_BOUNDS, seconds)
    for tally in tallies:
        tally.buckets[bucket] += tally.answered
        tally.seconds += tally.answered * seconds
        tally.answered = 0


def observe_all(waited: Iterable[tuple[MethodTally, float]], now: float) -> None:
    """Count requests that have been answered ``now``, each by its tally and when it arrived."""
    for (tally, arrived), count in Counter(waited).items():
        seconds = now - arrived
        tally.buckets[bisect_left(LATENCY_BOUNDS, seconds)] += count
        tally.seconds += count * seconds


class Observed:
    """The tallies of all methods, and of connections."""

    UNKNOWN = "unknown"

    def __init__(self, methods: Iterable[str]) -> None:
        """Count ``methods`` under their names, all others as ``unknown``."""
        self.methods = {name: MethodTally() for name in (*methods, self.UNKNOWN)}
        self.connections = 0
        self.closed_for = Counter(dict.fromkeys(CLOSE_REASONS, 0))
        """Connections that this side closed, by the reason."""
