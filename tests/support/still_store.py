"""A store whose writer does what the test says, step by step, and what is in its file meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3

from stored import Stored, ending

from sessiond.stores.database import connect
from sessiond.stores.tuning import TUNING

__all__ = ["LATER", "RECORDS", "TracedDisk", "committed", "killed", "sql", "still_store"]

LATER = dataclasses.replace(TUNING, fold_entries=10**9, fold_bytes=10**12, fold_age=10**9, last_fold=0.0, file_age=1e9)
"""So that nothing is filed or folded unless it must be."""

RECORDS = "SELECT number, id FROM records ORDER BY number"


class TracedDisk:
    """Where connections come from, full if a test says so. Notes what they are asked to do."""

    def __init__(self):
        self.said = []
        self.is_full = False
        self._connections = []

    def connect(self, path):
        connection = connect(path)
        connection.set_trace_callback(self.said.append)
        self._connections.append(connection)
        self._limit(connection)
        return connection

    def fills_up(self):
        self.is_full = True
        self._limit_all()

    def has_room(self):
        self.is_full = False
        self._limit_all()

    def _limit_all(self):
        for connection in self._connections:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
                self._limit(connection)

    def _limit(self, connection):
        connection.execute(f"PRAGMA max_page_count = {1 if self.is_full else 2**30}")


class Clock:
    """Stands still unless a test moves it on."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@contextlib.contextmanager
def still_store(path, disk):
    """One of which only the reader is at work, and whose clock stands still; it is closed in the end."""
    clock = Clock()
    stored = Stored(path, tuning=dataclasses.replace(LATER, file_age=0.25, monotonic=clock, connect=disk.connect))
    stored.clock = clock
    stored.store._reader.start(stored._posts.put)
    try:
        yield stored
    finally:
        stored.close()


def sql(path, *statements):
    """The rows of the last of these statements, by another program."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            rows = connection.execute(*statement if isinstance(statement, tuple) else (statement,)).fetchall()
    return rows


def committed(stored, *seqs):
    """The ends of these sessions, in one commit; their positions."""
    positions = [stored.store.end(ending(seq)) for seq in seqs]
    stored.store._writer._commit(stored.store.waiting)
    return positions


def killed(path, folder):
    """The path of what a process would leave that is killed now."""
    folder.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.with_name(name), folder / name)
    return folder / path.name
