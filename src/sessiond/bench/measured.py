"""What is asked of the generator, and what it found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from sessiond.bench.histogram import Histogram
from sessiond.bench.workload import CALL, RESIDENT, Step

__all__ = ["Load", "Progress", "Result", "Spacing"]

Spacing = Literal["poisson", "even"]


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to do to a service. Rates are per second, times are seconds."""

    connections: int = 50
    pipeline: int = 1
    """Requests under way on each connection."""
    rate: float | None = None
    """Calls begun, whatever the service does (open loop); None begins one when another has ended (closed loop)."""
    spacing: Spacing = "poisson"
    """How those are spread: as independent callers are, or all the same time apart."""
    touches: float = 0.0
    """Touches of resident sessions; needs ``rate``."""
    duration: float = 10.0
    """How long is measured."""
    warm_up: float = 1.0
    """How long the same is done before that, and not measured."""
    resident: int = 0
    """Sessions that are created before and removed after."""
    steps: tuple[Step, ...] = CALL
    resident_steps: tuple[Step, ...] = RESIDENT


@dataclass(eq=False)
class Result:
    """What was measured."""

    seconds: float = 0.0
    calls: int = 0
    """Those whose last step succeeded."""
    steps: dict[Step, Histogram] = field(default_factory=lambda: {step: Histogram() for step in Step})
    """The times of requests that succeeded."""
    errors: dict[Step, Counter[str]] = field(default_factory=lambda: {step: Counter() for step in Step})
    """The requests that failed by their error codes, those before and after the measurement too."""
    behind: int = 0
    """Jobs of an open loop that were due in the measured time and for which no slot was free to the end of it."""
    lost: str | None = None
    """Why it ended before its time: the service was lost."""

    @property
    def all(self) -> Histogram:
        """The times of all steps."""
        total = Histogram()
        for histogram in self.steps.values():
            total.merge(histogram)
        return total

    @property
    def requests(self) -> int:
        """Those that succeeded."""
        return sum(histogram.count for histogram in self.steps.values())

    @property
    def rate(self) -> float:
        """Requests per second that succeeded."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def error_codes(self) -> Counter[str]:
        """The errors of all steps."""
        return sum(self.errors.values(), Counter())


@dataclass(frozen=True)
class Progress:
    """How far it is."""

    phase: str
    """``connecting``, ``creating``, ``warming up``, ``measuring``, ``ending`` or ``removing``."""
    done: float
    """Of ``total``: connections, sessions or seconds, by the phase."""
    total: float
    requests: int
    """Answered since the beginning, in all phases."""
