"""The file of a store: whose it is, which version, and who has it."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import Stored, as_image, opened

from sessiond.actors.store import StoreError
from sessiond.stores import schema
from sessiond.stores.database import MAX_ROWS, fitting

HOLDER = """
import sys
from sessiond.stores.lock import FileLock
lock = FileLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sql(path):
    """Run a statement as another program would; its rows."""

    def sql(statement):
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(statement).fetchall()

    return sql


def test_a_store_in_use_by_another_process_is_refused_until_that_is_gone(path):
    command = [sys.executable, "-c", HOLDER, f"{path}.lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="in use by another process; stop that first"):
            Stored(path)
        holder.kill()
        holder.wait()
        Stored(path).close()


def test_a_library_that_is_too_old_is_named(path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    with pytest.raises(StoreError, match=r"too old for the store; install 3\.33 or newer"):
        Stored(path)


def test_a_store_says_whose_it_is_and_its_version(path, sql):
    Stored(path).close()
    assert sql("PRAGMA application_id") == [(schema.APPLICATION,)]
    assert sql("PRAGMA user_version") == [(schema.VERSION,)]


def test_a_store_of_a_newer_version_is_refused_and_left_alone(path, sql):
    Stored(path).close()
    sql(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreError, match=rf"newer version of sessiond \(schema {schema.VERSION + 1}"):
        Stored(path)
    assert sql("PRAGMA user_version") == [(schema.VERSION + 1,)]


def test_a_database_of_another_program_is_refused_and_left_alone(path, sql):
    sql("CREATE TABLE letters (text)")
    with pytest.raises(StoreError, match="is a database of another program"):
        Stored(path)
    assert sql("SELECT name FROM sqlite_schema") == [("letters",)]


def test_an_earlier_version_is_brought_up_to_date(path, sql, monkeypatch):
    with opened(path) as stored:
        stored.settle(stored.store.keep(1, as_image(1)))
    step = "CREATE TABLE more (x); INSERT INTO more SELECT seq FROM sessions"
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, step))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with opened(path) as stored:
        assert [live.seq for live in stored.live] == [1]
    assert sql("SELECT x FROM more") == [(1,)]
    assert sql("PRAGMA user_version") == [(schema.VERSION,)]


def test_a_step_that_fails_leaves_the_version_before_it(path, sql, monkeypatch):
    Stored(path).close()
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, "CREATE TABLE more (x); INSERT INTO nowhere VALUES (1)"))
    before, schema_version = sql("SELECT name FROM sqlite_schema"), schema.VERSION
    monkeypatch.setattr(schema, "VERSION", schema_version + 1)
    with pytest.raises(StoreError, match="no such table"):
        Stored(path)
    assert sql("SELECT name FROM sqlite_schema") == before
    assert sql("PRAGMA user_version") == [(schema_version,)]


@given(count=st.integers(1, 3 * MAX_ROWS))
def test_a_statement_takes_more_than_half_of_the_rows_or_all_it_can_and_comes_in_few_sizes(count):
    size = fitting(count)
    assert size in {2**power for power in range(9)}
    assert min(count / 2, MAX_ROWS - 1) < size <= count
