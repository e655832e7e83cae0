"""Times of requests as counts by size, so that a million of them take no more memory than ten. Pure."""

from __future__ import annotations

import math
from typing import Self

__all__ = ["PRECISION", "Histogram"]

_UNITS = 1e7
"""Per second: what is shorter than one is not told apart."""
_BITS = 6
_SIZE = 1 << _BITS
"""Buckets per power of two; below that many units each unit has its own."""
_MAX_EXPONENT = 36
"""The last bucket begins near 2**36 units, which are two hours."""
_LAST = ((_MAX_EXPONENT - _BITS) << _BITS) + 2 * _SIZE - 1

PRECISION = 1 / _SIZE
"""The most by which a percentile is too high, as a share of it."""


class Histogram:
    """How many requests took how long. Log-linear: the wider the longer, so that the error is a fixed share."""

    __slots__ = ("_buckets", "_shortest_exponent", "count", "max")

    def __init__(self) -> None:
        self._buckets = [0] * (_LAST + 1)
        self.count = 0
        self.max = 0.0
        """Seconds, exactly."""

    def record(self, seconds: float) -> None:
        """Count one request. Called for every request, so it does as little as possible."""
        bucket = int(seconds * _UNITS)
        exponent = bucket.bit_length() - _BITS - 1
        if exponent > 0:
            bucket = min((exponent << _BITS) + (bucket >> exponent), _LAST)
        self._buckets[bucket] += 1
        self.count += 1
        if seconds > self.max:  # noqa: PLR1730  (faster than to call max)
            self.max = seconds

    def percentile(self, percent: float) -> float:
        """The seconds within which this share of all requests was answered; never too low, and 0 if there are none."""
        rank = max(1, math.ceil(self.count * percent / 100))
        seen = 0
        for bucket, number in enumerate(self._buckets):
            seen += number
            if number and seen >= rank:
                return min(_upper_bound(bucket), self.max)
        return 0.0

    def merge(self, other: Self) -> None:
        """Count what ``other`` has counted, too."""
        self._buckets = [mine + others for mine, others in zip(self._buckets, other._buckets, strict=True)]
        self.count += other.count
        self.max = max(self.max, other.max)


def _upper_bound(bucket: int) -> float:
    exponent = max(0, (bucket >> _BITS) - 1)
    return ((bucket - (exponent << _BITS) + 1) << exponent) / _UNITS
