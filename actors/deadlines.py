"""When a session has lived too long: the three timeouts and which of them ends first."""

from __future__ import annotations

import msgspec

from sessiond.actors.clock import Instant
from sessiond.actors.states import UNANSWERED

__all__ = ["Deadline", "Timeouts", "next_deadline"]


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Seconds; 0 is never. Sessions that override none share the one of the configuration."""

    setup_timeout: float = 180.0
    """From the creation, until the answer; nothing extends it."""
    idle_timeout: float = 7200.0
    """From the last activity, after the answer."""
    max_duration: float = 43_200.0
    """From the answer; nothing extends it."""


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """When a session is to be ended: so many seconds after a moment, and the reason it will then have."""

    start: Instant
    seconds: float
    reason: str

    @property
    def monotonic(self) -> float:
        """The deadline on the clock that counts."""
        return self.start.monotonic + self.seconds


def next_deadline(state: str, timeouts: Timeouts, origin: Instant, touched: Instant) -> Deadline | None:
    """The earliest deadline now running, None if none is.

    ``origin`` is the moment of creation before the answer and of the answer afterwards, ``touched`` that of the last
    activity.
    """
    if state in UNANSWERED:
        seconds = timeouts.setup_timeout
        return Deadline(origin, seconds, "setup_timeout") if seconds else None
    idle, longest = timeouts.idle_timeout, timeouts.max_duration
    if idle and (not longest or touched.monotonic + idle <= origin.monotonic + longest):
        return Deadline(touched, idle, "idle_timeout")
    return Deadline(origin, longest, "max_duration") if longest else None
