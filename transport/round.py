"""One round of the event loop: what was read from every socket that was ready is answered as of one moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from sessiond.transport.observed import MethodTally, observe, observe_all

if TYPE_CHECKING:
    from sessiond.actors.clock import TurnClock
    from sessiond.actors.store import Soon

__all__ = ["Round"]


class Flushing(Protocol):
    """What has answers to write at the end of a round."""

    def flush(self) -> None:
        """Hand the answers to the socket."""
        ...


class Late(Protocol):
    """What may have answers to write that were pending for longer than a round."""

    def completed(self) -> None:
        """Some have come: write them, and go on if they were waited for."""
        ...


class Round:
    """From the first read of a turn of the event loop until all that this turn read is answered and written.

    Or from the first answer that had been pending until the turns of actors are over that give such answers.

    The clock is read once at its beginning and once at its end, and the answers are handed to the sockets in a row:
    a client that sleeps is woken by each write, and several that are written to in a row are woken while the first is
    still awake, which costs the kernel less (Redis does the same).
    """

    def __init__(self, clock: TurnClock, call_soon: Soon, after_turns: Soon) -> None:
        """Hold ``clock`` during each round.

        Args:
            clock: is read once in each.
            call_soon: a loop's method, which brings the end of a round that a read has begun.
            after_turns: the dispatcher's, which brings that of one that has begun in a turn of an actor.
        """
        self._clock = clock
        self._call_soon = call_soon
        self._after_turns = after_turns
        self.is_open = False
        """Whether a round has begun; whoever answers a request begins one if none has."""
        self.arrived = 0.0
        """When it began, on the monotonic clock."""
        self.unflushed: list[Flushing] = []
        """Who is to be flushed at the end."""
        self.late: dict[Late, None] = {}
        """Whose answers were pending, and have come in it."""
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

    def begin_late(self) -> None:
        """Begin one for answers to earlier requests: it ends as soon as the turns do that give them."""
        self.is_open = True
        self.arrived = self._clock.hold().monotonic
        self._after_turns(self._end)

    def _end(self) -> None:
        self._clock.release()
        self.is_open = False
        unflushed, self.unflushed = self.unflushed, []
        for each in unflushed:
            each.flush()
        if self.late:
            late, self.late = self.late, {}
            for writer in late:
                writer.completed()
        now = time.monotonic()
        observe(self.answered, now - self.arrived)
        self.answered.clear()
        if self.waited:
            observe_all(self.waited, now)
            self.waited.clear()
        for tally, code in self.failed:
            tally.errors[code] += 1
        self.failed.clear()
