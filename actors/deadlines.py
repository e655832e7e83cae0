"""When a session has lived too long: the three timeouts and which of them ends first."""

from __future__ import annotations

import msgspec

from sessiond.actors.clock import Instant
from sessiond.actors.states import UNANSWERED

__all__ = ["Deadline", "Timeouts", "held_deadline", "next_deadline"]


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Seconds; 0 is never. Sessions that override none share the one of the configuration."""

    setup_timeout: float = 180.0
    """From the creation, until the answer; nothing extends it."""
    idle_timeout: float = 7200.0
    """From the last activity, after the answer."""
    max_duration: float = 43_200.0
    """From the answer; nothing extends it."""

    def patient(self) -> Timeouts:
        """These, but that a session may be idle for ever."""
        return Timeouts(self.setup_timeout, 0, self.max_duration)


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """When a session is to be ended: so many seconds after a moment, and the reason it will then have."""

    start: Instant
    seconds: float
    reason: str

    @property
    def monotonic(self) -> float:
        """The deadline on the clock that counts."""
        return self.start.monotonic + self.seconds


def held_deadline(
    state: str, timeouts: Timeouts, origin: Instant, touched: Instant, found: Instant, loss: Deadline | None
) -> Deadline | None:
    """``next_deadline`` of a session that an incarnation of its gateway holds, ``found`` again or under a ``loss``.

    While the gateway is lost nothing can be heard of the session, so that it is not idle; nor was it until then.
    """
    if loss is None:
        return next_deadline(state, timeouts, origin, found if found.monotonic > touched.monotonic else touched)
    deadline = next_deadline(state, timeouts.patient(), origin, touched)
    return loss if deadline is None or loss.monotonic < deadline.monotonic else deadline


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
