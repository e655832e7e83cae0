"""The tables, and how those of an earlier version become those of this one."""

from __future__ import annotations

import sqlite3

from sessiond.actors.store import StoreError
from sessiond.stores.database import transaction

__all__ = ["APPLICATION", "READABLE", "VERSION", "migrate"]

APPLICATION = 0x53657373
"""What the header of the file says whose database it is ("Sess")."""

_FIRST = """
CREATE TABLE log (position INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE sessions (seq INTEGER PRIMARY KEY, touched REAL NOT NULL, image BLOB NOT NULL);
CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    gateway TEXT,
    epoch TEXT,
    external_id TEXT,
    caller TEXT,
    callee TEXT,
    direction TEXT,
    parent TEXT,
    "group" TEXT,
    metadata TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    ringing_at REAL,
    answered_at REAL,
    ended_at REAL NOT NULL,
    last_activity_at REAL NOT NULL,
    end_reason TEXT NOT NULL,
    ended_by TEXT NOT NULL,
    sip_code INTEGER,
    q850_cause INTEGER,
    version INTEGER NOT NULL,
    timeline BLOB NOT NULL,
    request_id TEXT,
    digest BLOB
);
CREATE UNIQUE INDEX records_id ON records (id);
CREATE INDEX records_ended ON records (ended_at);
CREATE INDEX records_external ON records (external_id) WHERE external_id IS NOT NULL;
CREATE TABLE authors (number INTEGER PRIMARY KEY, gateway TEXT NOT NULL, epoch TEXT);
CREATE TABLE named (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
"""``log``: a row for each commit, whose last entry has that position (see ``log``); what it says may be nowhere else.
``sessions``: the live ones, as of the log that has been folded into it; ``touched`` is 0 without a touch.
``records``: those that have ended, as of the log that has been filed in it (see ``filing``); ``number`` is the position
of the end, ``metadata`` is JSON."""

_SECOND = ""
"""The tables are the same, but the log has records that are nowhere else, of which version 1 would know nothing."""

STEPS = (_FIRST, _SECOND)
"""What makes version n + 1 of a database of version n."""

VERSION = len(STEPS)

READABLE = range(1, VERSION + 1)
"""Versions that can be read as they are."""


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the tables up to date, each step whole or not at all.

    Raises:
        StoreError: it is a database of something else, or of a newer version.
        sqlite3.Error: it cannot be written.
    """
    version, application, tables = (
        connection.execute(query).fetchone()[0]
        for query in ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_schema")
    )
    if application != APPLICATION and (version or application or tables):
        raise StoreError(f"{path} is a database of another program; name another path")
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer version of sessiond (schema {version}, this one knows {VERSION}); "
            "install that, or restore a backup of before"
        )
    for number in range(version, VERSION):
        with transaction(connection):
            for statement in STEPS[number].split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {number + 1}")
