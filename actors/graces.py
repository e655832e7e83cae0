"""Whose sessions are to be ended: lost incarnations in the order in which their graces end."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from sessiond.actors.bitmap import CHUNK_SHIFT, offsets

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.incarnation import Incarnation

__all__ = ["AGAIN", "Graces"]

AGAIN = 0.1
"""Seconds until a session is looked at again that could not be ended, since something waited for it or it crashed."""


class Graces:
    """The reaper's second agenda, beside the wheel: an incarnation is one item, however many sessions it holds."""

    def __init__(self) -> None:
        self._agenda: list[tuple[float, int, Incarnation]] = []
        """A heap of incarnations by when to look, on the monotonic clock. One that was found meanwhile is passed over
        then."""
        self._numbers = itertools.count()
        self._walks: deque[tuple[Incarnation, Iterator[int]]] = deque()

    def add(self, incarnation: Incarnation, due: float) -> None:
        """Look at ``incarnation`` at ``due``."""
        heappush(self._agenda, (due, next(self._numbers), incarnation))

    def due(self, now: Instant) -> None:
        """Move all that is due by ``now`` to the backlog."""
        while self._agenda and self._agenda[0][0] <= now.monotonic:
            incarnation = heappop(self._agenda)[2]
            if incarnation.sessions and (incarnation.is_over(now) or incarnation.judged is not None):
                self._walks.append((incarnation, _walk(incarnation)))

    @property
    def backlog(self) -> int:
        """How many sessions of those that were due may still have to be ended."""
        walked = {incarnation for incarnation, _ in self._walks if incarnation.loss is not None}
        return sum(len(incarnation.sessions) for incarnation in walked)

    def take(self, limit: int, now: Instant) -> list[int]:
        """At most ``limit`` sessions off the backlog, by sequence number: of those lost first, their oldest first."""
        taken: list[int] = []
        while self._walks and len(taken) < limit:
            incarnation, walk = self._walks[0]
            found = [] if incarnation.loss is None else list(itertools.islice(walk, limit - len(taken)))
            taken += found
            if not found:
                self._walks.popleft()
                if incarnation.sessions and incarnation.is_over(now):
                    self.add(incarnation, now.monotonic + AGAIN)
        return taken


def _walk(incarnation: Incarnation) -> Iterator[int]:
    """What it holds, oldest first; what it is left by meanwhile may be met or not."""
    chunks = incarnation.sessions.chunks
    for number in sorted(chunks):
        for offset in offsets(chunks.get(number, 0)):
            yield number << CHUNK_SHIFT | offset
