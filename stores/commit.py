"""One commit: a group of entries goes into the database, all of it or nothing.

Few statements, each for many rows: whenever one has run, its thread must get the interpreter back from the thread that
answers callers, which costs both of them more than the rows do.
"""

from __future__ import annotations

import functools
import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from sessiond.stores.database import chunks, transaction
from sessiond.stores.log import AUTHOR, END, PUT, TOUCH, Entry, encode
from sessiond.stores.rows import COLUMNS, row

__all__ = ["commit", "insert"]

_APPEND = "INSERT INTO log (position, body) VALUES (?, ?)"


def commit(connection: sqlite3.Connection, entries: Sequence[Entry], last: int) -> int:
    """Keep ``entries``, the last of which has the position ``last``; how many bytes the log has grown by.

    Raises:
        sqlite3.Error: none of them is kept.
    """
    body = encode(entries)
    if max(entry[0] for entry in entries) <= TOUCH:
        connection.execute(_APPEND, (last, body))
        return len(body)
    first = last - len(entries) + 1
    records = [row(first + place, entry[2]) for place, entry in enumerate(entries) if entry[0] == END]
    named = {entry[1]: entry[1:] for entry in entries if entry[0] == PUT}
    authors = [entry[1:] for entry in entries if entry[0] == AUTHOR]
    with transaction(connection):
        connection.execute(_APPEND, (last, body))
        insert(connection, f"records ({COLUMNS})", records)  # of two records of one session the later one stays
        insert(connection, "named (name, value)", named.values())
        insert(connection, "authors (number, gateway, epoch)", authors)
    return len(body)


def insert(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert ``rows`` into ``table``, which names the columns, in the place of those that have their keys."""
    for chunk in chunks(list(rows)):
        statement = _statement(table, len(chunk[0]), len(chunk))
        connection.execute(statement, tuple(itertools.chain.from_iterable(chunk)))


@functools.cache
def _statement(table: str, columns: int, rows: int) -> str:
    values = f"({', '.join('?' * columns)})"
    return f"REPLACE INTO {table} VALUES {', '.join([values] * rows)}"  # noqa: S608  (no data)
