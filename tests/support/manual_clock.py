"""A clock that shows what the test has set."""

from __future__ import annotations

from sessiond.actors.clock import Instant

__all__ = ["ManualClock"]


class ManualClock:
    """Stands still until it is moved. Its numbers have few binary digits, so that sums of them are exact."""

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 5000.0) -> None:
        self._now = Instant(wall, monotonic)

    def read(self) -> Instant:
        return self._now

    @property
    def wall(self) -> float:
        return self._now.wall

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now = Instant(self._now.wall + seconds, self._now.monotonic + seconds)

    def step_wall(self, seconds: float) -> None:
        """Set the wall's clock forward, or back, without any time passing."""
        self._now = Instant(self._now.wall + seconds, self._now.monotonic)
