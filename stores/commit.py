"""One commit: a group of entries goes into the database, all of it or nothing.

A single statement, but for what is rare. Whenever one has run, its thread must get the interpreter back from the thread
that answers callers, which costs both of them more than the rows do: so whatever can be made of the log later is.
"""

from __future__ import annotations

import functools
import itertools
import operator
import sqlite3
from collections.abc import Sequence
from typing import Any

from sessiond.stores.database import transaction
from sessiond.stores.log import AUTHOR, END, PUT, Entry, encode

__all__ = ["commit", "insert"]

_APPEND = "INSERT INTO log (position, body) VALUES (?, ?)"

_kind = operator.itemgetter(0)


def commit(connection: sqlite3.Connection, entries: Sequence[Entry], last: int) -> int:
    """Keep ``entries``, the last of which has the position ``last``; how many bytes the log has grown by.

    Raises:
        sqlite3.Error: none of them is kept.
    """
    body = encode(entries)
    if max(map(_kind, entries)) <= END:
        _run(connection, _APPEND, (last, body))
        return len(body)
    named = {entry[1]: entry[1:] for entry in entries if entry[0] == PUT}
    authors = [entry[1:] for entry in entries if entry[0] == AUTHOR]
    with transaction(connection):
        _run(connection, _APPEND, (last, body))
        insert(connection, "named (name, value)", [*named.values()])
        insert(connection, "authors (number, gateway, epoch)", authors)
    return len(body)


def insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert ``rows`` into ``table``, which names the columns, in the place of those that have their keys.

    By one statement, if there are any. SQLite takes 32,766 values in it (https://sqlite.org/limits.html): rows are
    short, as those of a commit are, or ``MAX_ROWS`` at most.
    """
    if rows:
        statement = _statement(table, len(rows[0]), len(rows))
        _run(connection, statement, tuple(itertools.chain.from_iterable(rows)))


def _run(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> None:
    """Not by ``execute``, which asks for the last row's number: CPython 3.11 lets go of its lock once more for that."""
    connection.executemany(statement, [values])


@functools.cache
def _statement(table: str, columns: int, rows: int) -> str:
    values = f"({', '.join('?' * columns)})"
    return f"REPLACE INTO {table} VALUES {', '.join([values] * rows)}"  # noqa: S608  (no data)
