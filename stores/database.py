"""Connections to the database, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sessiond.actors.store import StoreError

__all__ = [
    "MAX_ROWS",
    "connect",
    "connect_reader",
    "fitting",
    "make",
    "rollback",
    "transaction",
    "translated",
    "unhurried",
]

PATIENCE = 1.0
"""Seconds to wait for a foreign program (``sqlite3`` on a shell) that holds the database."""
CACHE_KIB = 32_768
"""Pages in memory: the index of record ids is as large as it is random."""
WAL_KEPT = 64 << 20
"""Bytes that the file of the WAL keeps for later when it begins anew."""

MAX_ROWS = 256
"""Rows in one statement at most: a power of two, and few enough for SQLite's number of variables, however wide."""

_MEANINGS = {
    "SQLITE_FULL": "the disk is full; make room",
    "SQLITE_READONLY": "it is read-only; make the file, its folder and the file system writable",
    "SQLITE_IOERR": "an I/O error; look after the disk",
    "SQLITE_CORRUPT": "it is corrupt; restore a backup, or move it away to begin with an empty store",
    "SQLITE_NOTADB": "it is no database of sessiond; restore a backup, or move it away to begin with an empty store",
    "SQLITE_BUSY": "another program holds its lock; end that",
    "SQLITE_LOCKED": "another program holds its lock; end that",
    "SQLITE_CANTOPEN": "it cannot be opened; the folder must be there, and all files of the store be writable",
    "SQLITE_PERM": "access is denied; make the file and its folder writable",
    "SQLITE_AUTH": "access is denied; make the file and its folder writable",
}


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """What goes wrong within becomes a ``StoreError`` that says what it means and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {_meaning(error)}") from error


def _meaning(error: sqlite3.Error) -> str:
    name: str = getattr(error, "sqlite_errorname", "")
    kind = "_".join(name.split("_")[:2])
    return f"{_MEANINGS[kind]} ({name}: {error})" if kind in _MEANINGS else f"{error} ({name or type(error).__name__})"


def make(path: str) -> None:
    """Make the file if it is not there, for its owner's eyes only; SQLite's others beside it get the same mode.

    Nobody may be connected: closing a file that SQLite has open drops its locks.

    Raises:
        StoreError: that is not possible.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; the folder must be there and be writable") from error


def connect(path: str) -> sqlite3.Connection:
    """A connection that writes, and fsyncs each commit; whoever makes it says when the WAL goes into the database.

    Raises:
        sqlite3.Error: the file is no database, or cannot be used.
    """
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise sqlite3.OperationalError(f"no WAL here but {mode}: the store needs a local disk")
    for setting in (
        "synchronous = FULL",
        "wal_autocheckpoint = 0",
        f"journal_size_limit = {WAL_KEPT}",
        f"cache_size = -{CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {setting}")


def connect_reader(path: str) -> sqlite3.Connection:
    """A connection that only reads; what it reads in one transaction is as of one moment.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    where = Path(os.path.abspath(path)).as_uri() + "?mode=ro"  # noqa: PTH100  (resolve would follow a link to elsewhere)
    return sqlite3.connect(where, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing of what is written within."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        rollback(connection)
        raise


@contextlib.contextmanager
def unhurried(connection: sqlite3.Connection) -> Iterator[None]:
    """What is written within is not fsynced: the next commit does that for it, before anybody relies on it."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        connection.execute("PRAGMA synchronous = FULL")


def rollback(connection: sqlite3.Connection) -> None:
    """End the transaction that failed, if SQLite has not done so itself."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def fitting(count: int) -> int:
    """How many of ``count`` rows, which is not 0, are to go into a single statement.

    A power of two, so that few statements serve all numbers of rows and stay prepared.
    """
    return 1 << (min(count, MAX_ROWS).bit_length() - 1)
