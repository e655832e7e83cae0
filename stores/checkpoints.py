"""Moves the WAL into the database, beside the commits.

SQLite would do that within a commit, which would take as long as thousands of pages take. Here a thread of its own does
the most of it; the writer does the few pages that have come meanwhile, whereupon its next commit begins the WAL anew.

The other thread never begins when nothing is left to move. SQLite before 3.51.3 can take pages for moved that are not
if a commit begins the WAL anew while a checkpoint begins; no commit does so while pages are left.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable

from sessiond.actors.store import StoreError

__all__ = ["Checkpoints"]

ENOUGH = 2000
"""Pages of the WAL from which on it is worth the fsyncs."""
FEW = 128
"""Pages that the writer itself may move between two commits."""

_CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpoints:
    """Asked by the writer's thread, between commits."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Nothing runs before ``start``."""
        self._connect = connect
        self._ring: Callable[[], None] | None = None
        self._written = 0
        self._orders: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_running = False
        self._left: int | None = None
        """Pages that were left at the end of the last run, None if it has been seen to."""
        self._error: sqlite3.Error | None = None

    def start(self, ring: Callable[[], None]) -> None:
        """From now on there may be checkpoints; ``ring`` wakes the writer's thread, which has to go on with one."""
        self._ring = ring

    def wrote(self, pages: int) -> None:
        """About so many pages have gone into the WAL."""
        self._written += pages

    def step(self, connection: sqlite3.Connection) -> None:
        """Do the next thing that is due, if one is. ``connection`` is the writer's own.

        Raises:
            sqlite3.Error: a checkpoint has failed, here or on the other thread.
        """
        error, self._error = self._error, None
        if error is not None:
            raise error
        if self._is_running:
            return
        if self._left is not None and self._left <= FEW:
            self._left = None
            self._written = 0
            connection.execute(_CHECKPOINT).fetchone()
        elif self._left is not None or self._written >= ENOUGH:
            self._begin()

    @property
    def has_failed(self) -> bool:
        """Whether one has, of which ``step`` has not told."""
        return self._error is not None

    def forget(self) -> None:
        """What failed is seen to otherwise.

        Raises:
            StoreError: one is running.
        """
        if self._is_running:
            raise StoreError("the WAL is being moved into the database")
        self._error = None

    def stop(self) -> None:
        """Let the thread end, and wait for it."""
        if self._thread is not None:
            self._orders.put(False)
            self._thread.join()
            self._thread = None

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sessiond-checkpoints", daemon=True)
            self._thread.start()
        self._written = 0
        self._left = None
        self._is_running = True
        self._orders.put(True)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while self._orders.get():
            try:
                connection = connection or self._connect()
                _, pages, moved = connection.execute(_CHECKPOINT).fetchone()
                self._left = pages - moved
            except sqlite3.Error as error:
                self._error = error
            self._is_running = False
            assert self._ring is not None
            self._ring()
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
