"""What the writer does between commits, a little at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sessiond.stores.figures import Figures
from sessiond.stores.fold import Unfolded
from sessiond.stores.log import Entry

__all__ = ["Chores"]


class Chores:
    """Keeps the log short."""

    def __init__(self, unfolded: Unfolded, rows: Sequence[tuple[int, int, int]]) -> None:
        self.figures = Figures()
        self.unfolded = unfolded
        self._rows = list(rows)
        for _, entries, size in rows:
            self.figures.log_entries += entries
            self.figures.log_bytes += size

    def committed(self, entries: Sequence[Entry], last: int, size: int) -> None:
        """Note what a commit has kept."""
        self.unfolded.apply(entries)
        self._rows.append((last, len(entries), size))

    def step(self, connection: sqlite3.Connection) -> bool:
        """Do a little; whether there is more to do."""
        return False

    def finish(self, connection: sqlite3.Connection) -> None:
        """Do what is quick before the database is closed."""
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
