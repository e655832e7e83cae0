"""The store in a file, by SQLite: see ``actors.store.Store``."""

from __future__ import annotations

import functools
from typing import TypeVar

from sessiond.actors.store import Ending, Keeper, Post
from sessiond.stores import database
from sessiond.stores.chores import Chores
from sessiond.stores.database import translated
from sessiond.stores.lock import FileLock
from sessiond.stores.log import AUTHOR, END, LIVE, PUT, TOUCH
from sessiond.stores.recovery import SqliteRecovered
from sessiond.stores.schema import migrate
from sessiond.stores.settings import StoreSettings
from sessiond.stores.writer import Writer

__all__ = ["SqliteStore"]

R = TypeVar("R")


class SqliteStore:
    """Keeps sessions and the records of those that ended.

    All changes go into a log, one row for each commit, and from there into the table of sessions, when there is time.
    """

    def __init__(self, settings: StoreSettings) -> None:
        """Touch nothing yet."""
        self._settings = settings
        self._path = settings.path
        self._lock: FileLock | None = None

    # The life of the store

    def open(self) -> SqliteRecovered:
        """See ``Store``."""
        lock = FileLock(f"{self._path}.lock")
        try:
            with translated(self._path):
                self._connection = database.connect(self._path)
                try:
                    migrate(self._connection, self._path)
                    recovered = SqliteRecovered(self._connection, self._path)
                except BaseException:
                    self._connection.close()
                    raise
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        self._chores = Chores(recovered.unfolded, recovered.rows)
        connect = functools.partial(database.connect, self._path)
        self._writer = Writer(self._settings, connect, self._chores, recovered.last)
        return recovered

    def start(self, keeper: Keeper, post: Post) -> None:
        """See ``Store``."""
        self._writer.start(keeper, post)

    def close(self) -> None:
        """See ``Store``."""
        if self._lock is None:
            return
        self._writer.stop()
        self._connection.close()
        self._lock.release()
        self._lock = None

    # What is to be kept

    def keep(self, seq: int, image: bytes) -> int:
        """See ``Store``."""
        return self._writer.add((LIVE, seq, image))

    def end(self, ending: Ending) -> int:
        """See ``Store``."""
        return self._writer.add((END, ending.seq, ending))

    def touch(self, seq: int, at: float) -> None:
        """See ``Store``."""
        self._writer.add_quietly((TOUCH, seq, at))

    def put(self, name: str, value: int) -> int:
        """See ``Store``."""
        return self._writer.add((PUT, name, value))

    def author(self, number: int, gateway: str, epoch: str | None) -> int:
        """See ``Store``."""
        return self._writer.add((AUTHOR, number, gateway, epoch))
