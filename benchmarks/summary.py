"""What samples say together: medians, ranges, and ratios within rounds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.results import Sample

__all__ = ["Value", "cpu_us", "latency", "median", "of", "paired_difference", "paired_ratio", "rate", "spread"]

Value = Callable[[Sample], float]
"""One of the numbers of a sample."""


def rate(sample: Sample) -> float:
    """Requests per second."""
    return sample.rate


def cpu_us(sample: Sample) -> float:
    """Microseconds of the server's processor per request."""
    return sample.cpu_us


def latency(percentile: str) -> Value:
    """Milliseconds within which so many percent were answered."""
    return lambda sample: sample.latencies[percentile]


def of(samples: Iterable[Sample], scenario: str, peer: str) -> list[Sample]:
    """The samples of one peer in one scenario, by round."""
    found = [each for each in samples if each.scenario == scenario and each.peer == peer]
    return sorted(found, key=lambda sample: sample.round)


def median(samples: Sequence[Sample], value: Value) -> float:
    """Of the rounds."""
    return statistics.median(map(value, samples))


def spread(samples: Sequence[Sample], value: Value) -> tuple[float, float]:
    """The least and the most of the rounds."""
    values = [value(each) for each in samples]
    return min(values), max(values)


def paired_difference(samples: Sequence[Sample], base: Sequence[Sample], value: Value) -> float | None:
    """The median of what ``value`` is more than that of ``base`` in the same round; None if there is no such round."""
    by_round = {each.round: value(each) for each in base}
    found = [value(each) - by_round[each.round] for each in samples if each.round in by_round]
    return statistics.median(found) if found else None


def paired_ratio(samples: Sequence[Sample], base: Sequence[Sample], value: Value = rate) -> float | None:
    """The median of how ``value`` compares with that of ``base`` in the same round; None if there is no such round.

    A machine is faster at one time than at another, and a round is short: ratios within it differ less than rates do.
    """
    by_round = {each.round: value(each) for each in base}
    ratios = [value(each) / by_round[each.round] for each in samples if by_round.get(each.round)]
    return statistics.median(ratios) if ratios else None
