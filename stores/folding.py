"""Moves what the log says into the table of sessions, so that the log stays short and the start quick.

A fold takes the stretch of the log that there is when it begins. It writes the latest image of each session that still
lives and deletes those that have ended, in small steps, and last of all the rows of the log. Until then the log says it
all again, and what comes after the stretch says it better: whatever is cut off at any step, nothing is missing, and
nothing is older than it was. Only what has been committed is folded, and only once the records of the calls that ended
in the stretch are in their table (see ``filing``): then nothing but the sessions needs its rows.
"""

from __future__ import annotations

import heapq
import itertools
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from sessiond.actors.store import Live
from sessiond.stores.commit import insert
from sessiond.stores.database import fitting, transaction
from sessiond.stores.figures import Figures
from sessiond.stores.fold import Unfolded
from sessiond.stores.log import END, LIVE, Entry
from sessiond.stores.recovery import POSITION, Row, SqliteRecovered, activity

__all__ = ["Folding"]

SORTED = 4096
"""Numbers that are sorted at once: half a millisecond."""
LOG_BYTES_AT_ONCE = 1 << 18
"""So much of the log is deleted in one step."""


class Folding:
    """The two stretches of the log: the one that is being folded, if one is, and what has come after it."""

    def __init__(self, recovered: SqliteRecovered, figures: Figures) -> None:
        """The whole log is yet to be folded."""
        self._latest = recovered.unfolded
        self._old = Unfolded(recovered.unfolded.highest)
        self._order: Iterator[int] = iter(())
        """The sessions of the old stretch that live, ascending: neighbours in the table go in one step."""
        self._chosen: list[int] = []
        """The next of them, ascending; some may have been written, or be no more."""
        self._rows = deque(recovered.rows)
        """Of the log: position, entries, bytes."""
        self._covered = 0
        """So many of them are the old stretch."""
        self.reach = 0
        """The position at which the old stretch ends."""
        self._figures = figures
        for _, entries, size in recovered.rows:
            figures.log_entries += entries
            figures.log_bytes += size

    @property
    def is_folding(self) -> bool:
        """Whether a fold has begun and is not done."""
        return self._covered > 0

    @property
    def is_needless(self) -> bool:
        """Whether there is nothing to fold."""
        return not self._rows

    def committed(self, entries: Sequence[Entry], last: int, size: int) -> None:
        """Go on by what has been committed: a row of the log at ``last``, of ``size`` bytes."""
        self._latest.apply(entries)
        self._rows.append((last, len(entries), size))
        if self._covered:
            for entry in entries:
                if entry[0] == LIVE or entry[0] == END:
                    self._old.drop(entry[1])

    # On the dispatcher's thread

    def live(self, seq: int) -> Live | None:
        """The latest of a session, if its image is not in the table yet."""
        image = self._latest.images.get(seq) or self._old.images.get(seq)
        return None if image is None else Live(seq, activity(image, self.touched(seq)), image)

    def touched(self, seq: int) -> float:
        """When a session was last touched, 0 if that is in the table."""
        return self._latest.touches.get(seq) or self._old.touches.get(seq, 0.0)

    def is_gone(self, seq: int) -> bool:
        """Whether a session has ended, though it may still be in the table."""
        return seq in self._latest.gone or seq in self._old.gone

    # On the writer's thread

    def begin(self) -> None:
        """Take the log as it is now."""
        old = self._latest
        self._order, self._chosen = _ascending(list(old.images)), []
        self._old = old  # first, so that another thread finds a session in one of the two
        self._latest = Unfolded(max(old.highest, max(old.images, default=0)))
        self._covered = len(self._rows)
        self.reach = self._rows[-1][0]

    def step(self, connection: sqlite3.Connection, most: int) -> None:
        """Fold ``most`` sessions at most by one statement, or delete some of the log.

        Raises:
            sqlite3.Error: it is as before.
        """
        old = self._old
        if old.images:
            self._write(connection, most)
        elif old.touches:
            self._touch(connection, list(itertools.islice(old.touches.items(), most)))
        elif old.gone:
            self._delete(connection, list(itertools.islice(old.gone, most)))
        else:
            self._cut(connection)

    def _write(self, connection: sqlite3.Connection, most: int) -> None:
        images, touches = self._old.images, self._old.touches
        rows = [(seq, touches.get(seq, 0.0), images[seq]) for seq in self._next(most)]
        insert(connection, "sessions (seq, touched, image)", rows)
        for seq, _, _ in rows:
            del images[seq]
            touches.pop(seq, None)
        self._figures.folded += len(rows)

    def _next(self, most: int) -> list[int]:
        """The next sessions to be written, at most so many: first those of last time that have not been."""
        images = self._old.images
        chosen = [seq for seq in self._chosen if seq in images]
        chosen += itertools.islice((seq for seq in self._order if seq in images), max(0, most - len(chosen)))
        self._chosen = chosen
        return chosen[: fitting(min(most, len(chosen)))]

    def _touch(self, connection: sqlite3.Connection, touches: Sequence[tuple[int, float]]) -> None:
        touches = touches[: fitting(len(touches))]
        values = ", ".join(["(?, ?)"] * len(touches))
        connection.execute(
            f"WITH latest (seq, at) AS (VALUES {values}) "  # noqa: S608  (no data)
            "UPDATE sessions SET touched = latest.at FROM latest WHERE sessions.seq = latest.seq",
            tuple(itertools.chain.from_iterable(touches)),
        )
        for seq, _ in touches:
            self._old.touches.pop(seq, None)

    def _delete(self, connection: sqlite3.Connection, gone: Sequence[int]) -> None:
        gone = gone[: fitting(len(gone))]
        places = ", ".join("?" * len(gone))
        connection.execute(f"DELETE FROM sessions WHERE seq IN ({places})", gone)  # noqa: S608  (no data)
        self._old.gone.difference_update(gone)
        self._figures.folded += len(gone)

    def _cut(self, connection: sqlite3.Connection) -> None:
        rows = list(_first(itertools.islice(self._rows, self._covered), LOG_BYTES_AT_ONCE))
        last = rows[-1][0]
        with transaction(connection):
            insert(connection, "named (name, value)", [(POSITION, last)])
            connection.execute("DELETE FROM log WHERE position <= ?", (last,))
        for _, entries, size in rows:
            self._rows.popleft()
            self._figures.log_entries -= entries
            self._figures.log_bytes -= size
        self._covered -= len(rows)


def _ascending(numbers: Sequence[int]) -> Iterator[int]:
    """``numbers`` sorted, without holding the interpreter for as long as it takes to sort them all at once."""
    return heapq.merge(*(sorted(numbers[place : place + SORTED]) for place in range(0, len(numbers), SORTED)))


def _first(rows: Iterable[Row], size: int) -> Iterator[Row]:
    """As many of the first ``rows`` as have ``size`` bytes, at least one."""
    for row in rows:
        yield row
        size -= row[2]
        if size <= 0:
            return
