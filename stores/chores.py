"""What the writer does between commits, a little at a time."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence

from sessiond.stores.checkpoints import Checkpoints
from sessiond.stores.database import MAX_ROWS, unhurried
from sessiond.stores.figures import Figures
from sessiond.stores.filing import Filing
from sessiond.stores.folding import Folding
from sessiond.stores.log import Entry
from sessiond.stores.purge import Purge
from sessiond.stores.renewal import Pages
from sessiond.stores.tuning import Tuning

__all__ = ["Chores"]

PAGE = 4096
"""Bytes of a page of the database."""
PAGES_OF_A_ROW = 2
"""Pages that a row writes, on average: sessions are neighbours, records are in four trees."""


class Chores:
    """Files records, folds the log, deletes old records, and has the WAL written into the database."""

    def __init__(
        self,
        filing: Filing,
        folding: Folding,
        checkpoints: Checkpoints,
        pages: Pages,
        figures: Figures,
        tuning: Tuning,
    ) -> None:
        """See the parts for what they do; this says when."""
        self.filing = filing
        self.folding = folding
        self.purge = Purge()
        self._checkpoints = checkpoints
        self._pages = pages
        self._figures = figures
        self._tuning = tuning
        self._folded_at = tuning.monotonic() if folding.is_needless else -math.inf
        """When the last fold began, on the monotonic clock; what another process has left is folded at once."""
        self._taken = 0
        """Entries of the last commit."""
        self._changes = 0
        """Rows that the connection had written when it was looked at last."""

    def committed(self, entries: Sequence[Entry], last: int, size: int) -> None:
        """Note what a commit has kept: a row of the log at ``last``, of ``size`` bytes."""
        self.filing.committed(entries, last)
        self.folding.committed(entries, last, size)
        self._taken = len(entries)
        self._checkpoints.wrote(size // PAGE)

    def tidy(self, connection: sqlite3.Connection) -> bool:
        """File some, and fold some or delete some; whether there is more to do.

        Raises:
            sqlite3.Error: it is as before.
        """
        if not self.folding.is_folding and self._is_fold_due():
            self._folded_at = self._tuning.monotonic()
            self.folding.begin()
        if self._is_any_due():
            with unhurried(connection):
                self._step(connection)
        return self._is_any_due()

    def _step(self, connection: sqlite3.Connection) -> None:
        if self._is_filing_due():
            self.filing.step(connection, self._tuning.file_rows)
            for _ in range(0, self._taken, MAX_ROWS):
                if self.filing.is_behind:
                    self.filing.step(connection, MAX_ROWS)
        if self.folding.is_folding:
            if self.filing.has_filed(self.folding.reach):
                most = max(self._tuning.fold_rows, 2 * self._taken - 1)  # one statement takes more than half of it
                self.folding.step(connection, min(most, MAX_ROWS))
        elif self.purge.is_due and self.filing.has_filed(self.purge.up_to):
            self.purge.step(connection)

    @property
    def rest(self) -> float:
        """Seconds until there will be something to do, if nothing is committed or asked for."""
        return self.filing.rest

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Have the WAL moved into the database, if it is long.

        Raises:
            sqlite3.Error: that has failed, lately; nobody knows what of the WAL is on the disk.
        """
        changes, self._changes = self._changes, connection.total_changes
        self._checkpoints.wrote(max(0, self._changes - changes) * PAGES_OF_A_ROW)
        self._checkpoints.step(connection)

    def renew(self) -> None:
        """Write once more what nobody knows to be on the disk after a failure.

        Raises:
            StoreError: that is not possible now.
        """
        self._checkpoints.forget()
        self._pages.renew()

    def finish(self, connection: sqlite3.Connection) -> None:
        """Leave as little to the next start as can be done quickly.

        Raises:
            sqlite3.Error: it has not been done.
        """
        self._checkpoints.stop()
        if self._checkpoints.has_failed or not self._figures.is_up:
            self._pages.renew()
        with unhurried(connection):
            while not self.filing.is_needless:
                self.filing.step(connection, MAX_ROWS)
            until = self._tuning.monotonic() + self._tuning.last_fold
            while not self.folding.is_needless and self._tuning.monotonic() < until:
                if not self.folding.is_folding:
                    self.folding.begin()
                self.folding.step(connection, MAX_ROWS)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _is_any_due(self) -> bool:
        return self.folding.is_folding or self.purge.is_due or self._is_filing_due()

    def _is_filing_due(self) -> bool:
        """A fold must not go on without it, and what is to be deleted is looked for in the table."""
        return (
            self.filing.is_due
            or (self.folding.is_folding and not self.filing.has_filed(self.folding.reach))
            or (self.purge.is_due and not self.filing.has_filed(self.purge.up_to))
        )

    def _is_fold_due(self) -> bool:
        return not self.folding.is_needless and (
            self._figures.log_entries >= self._tuning.fold_entries
            or self._figures.log_bytes >= self._tuning.fold_bytes
            or self._tuning.monotonic() - self._folded_at >= self._tuning.fold_age
        )
