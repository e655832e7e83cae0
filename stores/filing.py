"""Moves the records of ended calls from the log into their table.

A commit keeps an end as an entry of the log, which is little to write. Its row in the table of records, with all that
there is of indexes, follows between commits, together with some others, by one statement for the reason that
``commit`` has. They come in the order of their numbers: so the highest number in the table, or what ``purge`` has noted
before it deleted some, tells whoever comes after a crash what is left. The log must not be cut before.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence

from sessiond.actors.store import Ending
from sessiond.stores.commit import insert
from sessiond.stores.log import END, Entry
from sessiond.stores.rows import COLUMNS, row
from sessiond.stores.tuning import Tuning

__all__ = ["Filing"]

Go = Callable[[], None]

BACKLOG = 1024
"""Records that may wait before as many are filed as each commit brings; at 4,000 calls a second, those of a quarter of
one."""


class Filing:
    """What has been committed and is not in the table of records, and who waits for it to be there."""

    def __init__(self, unfiled: deque[tuple[int, Ending]], tuning: Tuning) -> None:
        """Begin with what another process has left, by ascending numbers."""
        self._unfiled = unfiled
        self._tuning = tuning
        self._since = tuning.monotonic()
        """When the oldest of them came, on the monotonic clock."""
        self._waiting: deque[tuple[int, Go]] = deque()
        """Who waits, and for the records up to which number."""
        self.tell: Go | None = None
        """Called on the writer's thread when there are new records in the table."""

    # On any thread

    @property
    def is_needless(self) -> bool:
        """Whether all that has been committed is in the table."""
        return not self._unfiled

    def wait(self, go: Go) -> None:
        """Have ``go`` called once everything is in the table that has been committed by now."""
        try:
            last = self._unfiled[-1][0]
        except IndexError:  # it has just been filed
            last = 0
        self._waiting.append((last, go))

    def release(self) -> None:
        """Have nobody wait any more, though there may be something to wait for."""
        with contextlib.suppress(IndexError):
            while True:
                self._waiting.popleft()[1]()

    # On the writer's thread

    def committed(self, entries: Sequence[Entry], last: int) -> None:
        """Go on by what has been committed, the last of it at position ``last``."""
        first = last - len(entries) + 1
        ended = [(number, entry[2]) for number, entry in enumerate(entries, first) if entry[0] == END]
        if ended:
            if not self._unfiled:
                self._since = self._tuning.monotonic()
            self._unfiled.extend(ended)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    @property
    def is_due(self) -> bool:
        """Whether it is time for a step."""
        return bool(self._waiting) or len(self._unfiled) >= self._tuning.file_rows or self.rest <= 0

    @property
    def is_behind(self) -> bool:
        """Whether there are so many that as many must be filed as each commit brings, though the next one waits."""
        return len(self._unfiled) > BACKLOG

    @property
    def rest(self) -> float:
        """Seconds until it is time for a step, unless something else makes it time."""
        if not self._unfiled:
            return math.inf
        return max(0.0, self._since + self._tuning.file_age - self._tuning.monotonic())

    def has_filed(self, number: int) -> bool:
        """Whether the records up to that number are in the table, of what has been committed."""
        return not self._unfiled or self._unfiled[0][0] > number

    def step(self, connection: sqlite3.Connection, most: int) -> None:
        """File ``most`` records at most by one statement, the oldest first.

        Raises:
            sqlite3.Error: it is as before.
        """
        if self._unfiled:
            chosen = list(itertools.islice(self._unfiled, most))
            # of two records of one session the later one stays
            insert(connection, f"records ({COLUMNS})", [row(*each) for each in chosen])
            for _ in chosen:
                self._unfiled.popleft()
            self._since = self._tuning.monotonic()  # those that are left have come lately
            if self.tell is not None:
                self.tell()
        self._pass_on()

    def _pass_on(self) -> None:
        """Nobody else takes from those who wait while there are steps (see ``Writer.once_filed``)."""
        while self._waiting and self.has_filed(self._waiting[0][0]):
            self._waiting.popleft()[1]()
