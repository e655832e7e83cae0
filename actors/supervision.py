"""What happens after a crash: how often a restart is worth trying, and how much of it is worth logging."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Hashable

__all__ = ["CrashLog", "LogRate", "RestartWindow"]

logger = logging.getLogger(__name__)

DROP_AT = 1000
"""So many actors are remembered before those that crashed long ago are looked for."""


class RestartWindow:
    """Counts crashes per actor within a sliding window. Pure: told the time, it decides."""

    def __init__(self, limit: int, seconds: float) -> None:
        """Allow ``limit`` restarts of one actor within any ``seconds``."""
        self._limit = limit
        self._seconds = seconds
        self._crashes: dict[Hashable, deque[float]] = {}
        self._drop_at = DROP_AT

    def crashed(self, actor: Hashable, now: float) -> int | None:
        """Note a crash; which restart within the window this makes (1, 2, ...), or None if that is one too many."""
        if len(self._crashes) >= self._drop_at:
            self._drop_old(now)
        times = self._crashes.setdefault(actor, deque())
        while times and times[0] <= now - self._seconds:
            times.popleft()
        times.append(now)
        if len(times) <= self._limit:
            return len(times)
        del self._crashes[actor]  # it is given up: a storm of crashes must not be remembered one by one
        return None

    def _drop_old(self, now: float) -> None:
        """Forget actors that have not crashed lately, whether they live or not."""
        self._crashes = {actor: times for actor, times in self._crashes.items() if times[-1] > now - self._seconds}
        self._drop_at = max(DROP_AT, 2 * len(self._crashes))


class LogRate:
    """Says what is worth a line in the log when the same thing happens again and again."""

    LINES = 10
    SECONDS = 10.0
    """At most so many lines within so many seconds."""

    def __init__(self) -> None:
        self._logged: deque[float] = deque(maxlen=self.LINES)
        self._unlogged = 0

    def admits(self, now: float) -> str | None:
        """What to add to the line about something that happens at ``now`` (monotonic): how much went unsaid.

        None if this too is to go unsaid.
        """
        if len(self._logged) == self.LINES and now - self._logged[0] < self.SECONDS:
            self._unlogged += 1
            return None
        self._logged.append(now)
        unlogged, self._unlogged = self._unlogged, 0
        return f" ({unlogged} more were not logged)" if unlogged else ""


class CrashLog:
    """Logs crashes at a limited rate: a storm of them must not turn into a storm of tracebacks."""

    def __init__(self) -> None:
        self._rate = LogRate()

    def log(self, who: str, error: BaseException, now: float) -> None:
        """Log that ``who`` crashed with ``error`` at ``now`` (monotonic)."""
        more = self._rate.admits(now)
        if more is not None:
            logger.error("Crash in %s%s", who, more, exc_info=error)
