"""Deletes the records that have been kept long enough, a few at a time."""

from __future__ import annotations

import sqlite3

from sessiond.stores.database import transaction
from sessiond.stores.recovery import NOTE_FILED

__all__ = ["Purge"]

AT_ONCE = 128
"""Records that one step looks at."""

_OLDEST = """
DELETE FROM records WHERE number IN (
    SELECT number FROM (SELECT number FROM records WHERE ended_at < ? ORDER BY ended_at LIMIT ?) WHERE number <= ?
)
"""
"""Ordered by the end, which is all but ordered by number: what may not go yet, since its number is too high, ends the
search rather than being looked at again and again."""


class Purge:
    """What is to be deleted. Asked for on the dispatcher's thread, done on the writer's."""

    def __init__(self) -> None:
        """Of nothing."""
        self._wanted: tuple[float, int] | None = None
        self.up_to = 0
        """The highest number of what was asked for last."""

    @property
    def is_due(self) -> bool:
        """Whether there is something to look for."""
        return self._wanted is not None

    def ask(self, ended_before: float, up_to: int) -> None:
        """Have the records deleted that ended before then (epoch) and whose number is ``up_to`` or less."""
        self.up_to = up_to
        self._wanted = (ended_before, up_to)

    def step(self, connection: sqlite3.Connection) -> None:
        """Delete some.

        Raises:
            sqlite3.Error: none was deleted.
        """
        wanted = self._wanted
        assert wanted is not None
        ended_before, up_to = wanted
        with transaction(connection):
            connection.execute(NOTE_FILED)
            deleted = connection.execute(_OLDEST, (ended_before, AT_ONCE, up_to)).rowcount
        if deleted < AT_ONCE and self._wanted is wanted:
            self._wanted = None
