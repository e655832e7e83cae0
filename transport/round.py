"""One round of the event loop: what was read from every socket that was ready is answered as of one moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sessiond.transport.observed import MethodTally, observe, observe_all

if TYPE_CHECKING:
    from sessiond.actors.clock import TurnClock

__all__ = ["Round"]


class Flushing(Protocol):
    """What has answers to write at the end of a round."""

    def flush(self) -> None:
        """Hand the answers to the socket."""
        ...


class Round:
    """From the first read of a turn of the event loop until all that this turn read is answered and written.

    The clock is read once at its beginning and once at its end, and the answers are handed to the sockets in a row:
    a client that sleeps is woken by each write, and several that are written to in a row are woken while the first is
    still awake, which costs the kernel less (Redis does the same).
    """

    def __init__(self, clock: TurnClock, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """Hold ``clock`` during each round; ``call_soon``, a loop's method, brings its end."""
        self._clock = clock
        self._call_soon = call_soon
        self.is_open = False
        """Whether a round has begun; whoever answers a request begins one if none has."""
        self.arrived = 0.0
        """When it began, on the monotonic clock."""
        self.unflushed: list[Flushing] = []
        """Who is to be flushed at the end."""
        self.answered: list[MethodTally] = []
        """The tallies of the requests answered in it, each once."""
        self.waited: list[tuple[MethodTally, float]] = []
        """Those of requests of earlier rounds that are answered in it, and when they arrived (monotonic)."""
        self.failed: list[tuple[MethodTally, str]] = []
        """Those of all these whose answer is an error, and its code."""

    def begin(self) -> None:
        """Begin one."""
        self.is_open = True
        self.arrived = self._clock.hold().monotonic
        self._call_soon(self._end)

    def _end(self) -> None:
        self._clock.release()
        self.is_open = False
        unflushed, self.unflushed = self.unflushed, []
        for each in unflushed:
            each.flush()
        now = time.monotonic()
        observe(self.answered, now - self.arrived)
        self.answered.clear()
        if self.waited:
            observe_all(self.waited, now)
            self.waited.clear()
        for tally, code in self.failed:
            tally.errors[code] += 1
        self.failed.clear()
