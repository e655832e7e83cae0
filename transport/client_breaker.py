"""When to stop asking a service that takes requests and does not answer them. Decided here, done by the clients.

A worker that waits for a timeout handles nothing meanwhile. So after a few timeouts in a row the circuit *opens*:
requests fail at once, but for one now and then that looks whether the service is back. A timeout says nothing about
the service if anything else was heard of it since the request was sent: then the request was slow for its own reason.
"""

from __future__ import annotations

from collections.abc import Callable

from sessiond.actors.errors import Unavailable

__all__ = ["BREAK_AFTER", "FIRST_PAUSE", "MAX_PAUSE", "Breaker"]

BREAK_AFTER = 2
"""Timeouts in a row that open the circuit. One may be a stall, or a single long request."""
FIRST_PAUSE, MAX_PAUSE = 0.5, 10.0
"""Seconds until an open circuit lets a probe through: doubled from the first to the last with each one that fails."""


class Breaker:
    """The circuit to one service."""

    __slots__ = ("_draw", "_patience", "_pauses", "_probe_at", "_timeouts", "is_calm", "token")

    def __init__(self, patience: float, draw: Callable[[], float]) -> None:
        """Let a request wait for ``patience`` seconds; ``draw`` draws from 0 to 1, for the jitter."""
        self._patience = patience
        self._draw = draw
        self.token = 0
        """Names what is known of the service. A request takes it with it, and gives it back if it times out."""
        self.is_calm = True
        """Whether there was no timeout since something was heard of the service."""
        self._timeouts = 0
        self._pauses = 0
        self._probe_at = 0.0
        """When a probe is due, while the circuit is open."""

    @property
    def is_open(self) -> bool:
        """Whether requests are to fail at once."""
        return self._timeouts >= BREAK_AFTER

    def admits_probe(self, now: float) -> bool:
        """Whether one may be sent now, though the circuit is open; the next is not due before this one has failed."""
        if now < self._probe_at:
            return False
        self._probe_at = now + self._patience + MAX_PAUSE  # should nobody tell what became of it
        return True

    def hear(self) -> None:
        """Something has come from the service."""
        self.token += 1
        if not self.is_calm:
            self._timeouts = self._pauses = 0
            self.is_calm = True

    def timed_out(self, token: int, now: float) -> None:
        """A request that was sent with ``token`` got no answer in time."""
        if token != self.token:  # something was heard meanwhile; or the circuit is open, and this was no probe
            return
        self.is_calm = False
        self._timeouts += 1
        if self.is_open:
            self.token += 1
            self._probe_at = now + self._pause()
            self._pauses += 1

    def lost(self) -> None:
        """The connection is lost, or there is none to be had: what answers on the next one may be well."""
        self._probe_at = 0.0

    def _pause(self) -> float:
        return min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(self._pauses, 16)) * (0.5 + 0.5 * self._draw())

    @staticmethod
    def refusal() -> Unavailable:
        """What to raise while the circuit is open."""
        return Unavailable("The service takes requests and does not answer them", circuit="open")
