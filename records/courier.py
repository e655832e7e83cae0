"""Takes records from the store to one sink: each at least once, in their order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from sessiond.actors.clock import Clock, Instant
from sessiond.records.backoff import Backoff
from sessiond.records.reading import Kept
from sessiond.records.sink import Failed, Refused, Sink

__all__ = ["LOOK", "Courier", "DeadLetters", "Records"]

logger = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds after which the store is looked at again, should nobody have told of new records."""
TELL = 10.0
"""Seconds between two lines of the log about dead letters, which may be many."""


class Records(Protocol):
    """Where records come from; see ``reading.Reader``."""

    def after(self, number: int, most: int) -> list[Kept]:
        """The first ``most`` of those with a higher ``number``."""
        ...

    def count(self, number: int) -> tuple[int, int]:
        """How many have a higher ``number``, and the highest one."""
        ...

    def close(self) -> None:
        """Let go of everything."""


class DeadLetters(Protocol):
    """Where records go that a sink does not get."""

    give_up_after: float
    """Seconds of failures after which records that have waited for so long go there; 0 is never."""

    def bury(self, records: Sequence[bytes], reason: str, at: float) -> None:
        """Keep ``records``, given up ``at`` (epoch) for ``reason``.

        Raises:
            Failed: that is not possible now.
        """


class Courier:
    """One sink's, with a place of its own among the records. Acts in steps; the thread is for others to find."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        records: Records,
        position: int,
        advance: Callable[[int], None],
        clock: Clock,
        draw: Callable[[], float],
        dead_letters: DeadLetters | None = None,
    ) -> None:
        """Deliver to ``sink`` what comes after ``position``, the number of the last record that it has had.

        Args:
            name: the sink's, for the log and metrics.
            sink: where to.
            records: where from.
            position: see above.
            advance: keeps a new position; until it does, the records before that may be delivered once more.
            clock: where the time comes from.
            draw: draws from 0 to 1.
            dead_letters: where records go that the sink refuses. Without one it must not.
        """
        self.name = name
        self.sink = sink
        self.position = position
        self.delivered = 0
        """Records, since the start."""
        self.failures = 0
        """Attempts of which nothing came."""
        self.dead = 0
        """Records that were given up."""
        self.behind = 0
        """Records that wait, as of the last look."""
        self.oldest: float | None = None
        """Since when the first of them has waited, in epoch seconds."""
        self.last_error: str | None = None
        """Why the last attempt failed; None if it did not."""
        self._records = records
        self._advance = advance
        self._clock = clock
        self._dead_letters = dead_letters
        self._backoff = Backoff(draw)
        self._waiting: list[Kept] = []
        """What is to be delivered next."""
        self._is_more = False
        """Whether there may be more after that."""
        self._most = sink.batch
        """As many are tried at once: fewer and fewer while records are refused, to find the one that is why."""
        self._counted = position
        """The highest number that ``behind`` knows of."""
        self._count_due = self._tell_due = clock.read().monotonic
        self._untold = 0
        """Dead letters that the log does not know of."""

    def step(self) -> float:
        """Make one attempt, if something waits and it is time; seconds until the next, 0 if there is more to do."""
        now = self._clock.read()
        try:
            self._count(now)
            if (early := self._backoff.due - now.monotonic) > 0:
                return min(early, LOOK)
            if self._find():
                self._attempt(now)
        except Failed as failure:
            self._fail(failure)
        return 0.0 if self._waiting or self._is_more else LOOK

    def close(self) -> None:
        """Let go of everything, on the thread that has taken the steps."""
        self.sink.close()
        self._records.close()

    def _count(self, now: Instant) -> None:
        """Know how many records wait; each is counted only once, since they may be millions."""
        if now.monotonic >= self._count_due:
            self._count_due = now.monotonic + LOOK
            more, self._counted = self._records.count(self._counted)
            self.behind += more

    def _find(self) -> bool:
        """Whether something waits."""
        if not self._waiting:
            self._waiting = self._records.after(self.position, self.sink.batch)
            self._is_more = len(self._waiting) == self.sink.batch
            self.oldest = self._waiting[0].since if self._waiting else None
        return bool(self._waiting)

    def _attempt(self, now: Instant) -> None:
        if stale := self._stale(now):
            self._bury(stale, f"given up: {self.last_error}", now)
            return
        chosen = self._waiting[: self._most]
        try:
            self.sink.deliver([each.json for each in chosen])
        except Refused as refusal:
            self._refuse(chosen, str(refusal), now)
        else:
            self.delivered += len(chosen)
            self._pass(chosen)
            self._most = min(2 * self._most, self.sink.batch)
            self._recover()

    def _stale(self, now: Instant) -> list[Kept]:
        """The first of those that wait, if they have waited long enough for a sink that takes nothing."""
        dead_letters = self._dead_letters
        if dead_letters is None or not dead_letters.give_up_after:
            return []
        if self._backoff.lasts(now.monotonic) < dead_letters.give_up_after:
            return []
        until = now.wall - dead_letters.give_up_after
        count = next((count for count, each in enumerate(self._waiting) if each.since > until), len(self._waiting))
        return self._waiting[:count]

    def _refuse(self, chosen: list[Kept], reason: str, now: Instant) -> None:
        self.failures += 1
        self._recover()  # whoever refuses has answered
        if len(chosen) > 1:
            self._most = len(chosen) // 2
            return
        self._bury(chosen, reason, now)
        self._most = min(2 * self._most, self.sink.batch)

    def _bury(self, chosen: list[Kept], reason: str, now: Instant) -> None:
        assert self._dead_letters is not None, f"The sink {self.name} refuses, and has no dead letters"
        self._dead_letters.bury([each.json for each in chosen], reason, now.wall)
        self.dead += len(chosen)
        self._pass(chosen)
        self._untold += len(chosen)
        if now.monotonic >= self._tell_due:
            logger.warning("The sink %s has %d more dead letters, the last: %s", self.name, self._untold, reason)
            self._untold, self._tell_due = 0, now.monotonic + TELL

    def _pass(self, chosen: list[Kept]) -> None:
        """Whatever comes next, it is after these."""
        del self._waiting[: len(chosen)]
        self.oldest = self._waiting[0].since if self._waiting else None
        self.behind -= len(chosen)
        self.position = chosen[-1].number
        self._advance(self.position)

    def _fail(self, failure: Failed) -> None:
        self.failures += 1
        if self.last_error is None:
            logger.warning("The sink %s takes nothing, and is tried again and again: %s", self.name, failure)
        self.last_error = str(failure)
        self._is_more = True  # by the time of the next attempt
        self._backoff.fail(self._clock.read().monotonic, failure.pause)  # not since it began

    def _recover(self) -> None:
        if self.last_error is not None:
            logger.info("The sink %s takes records again", self.name)
            self.last_error = None
        self._backoff.succeed()
