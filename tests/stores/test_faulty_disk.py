"""The disk that the other tests rely on fails as a real one does: with nothing but SQLite on it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
SHELL = SUPPORT / "sql_shell.py"
TWO_SYNCS = SUPPORT / "two_syncs.py"
PATIENCE = 30

pytestmark = pytest.mark.needs("gcc")

FULL = "database or disk is full"
IO_ERROR = "disk I/O error"
MALFORMED = "database disk image is malformed"
"""What SQLite also takes an error of a disk for that cannot be read."""
READ_ONLY = "attempt to write a readonly database"


class Shell:
    """SQLite in a process of its own, on the disk."""

    def __init__(self, popen):
        self.popen = popen

    def send(self, statement):
        self.popen.stdin.write(f"{statement}\n")
        self.popen.stdin.flush()

    def answer(self):
        return json.loads(self.popen.stdout.readline())

    def run(self, *statements):
        """The answer to the last one."""
        for statement in statements:
            self.send(statement)
            answer = self.answer()
        return answer

    def killed(self):
        self.popen.kill()
        return self.popen.wait(PATIENCE)


@pytest.fixture
def shell(disk):
    """Start a process on the disk with a table ``t``, which syncs as ``synchronous`` says."""
    with ExitStack() as stack:

        def start(synchronous="full"):
            popen = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, SHELL, disk.store],
                    env=os.environ | disk.environ,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(popen.kill)
            started = Shell(popen)
            started.run(
                "pragma journal_mode=wal", f"pragma synchronous={synchronous}", "create table if not exists t(x)"
            )
            return started

        yield start


INSERT = "insert into t values (randomblob(20000))"
COUNT = "select count(*) from t"


def test_a_full_disk_refuses_what_grows_and_nothing_else(disk, shell):
    sql = shell()
    sql.run(INSERT, INSERT, "pragma wal_checkpoint(restart)")
    disk.fills_up()
    assert sql.run("update t set x = 1 where rowid = 1") == []  # from the beginning of the log, which has room
    assert sql.run("insert into t values (randomblob(100000))") == FULL
    assert sql.run(COUNT) == [[2]]
    disk.recovers()
    assert sql.run(INSERT, COUNT) == [[3]]


@pytest.mark.parametrize(("number", "text"), [(errno.ENOSPC, FULL), (errno.EIO, IO_ERROR), (errno.EROFS, IO_ERROR)])
def test_writes_are_refused_until_the_disk_recovers(disk, shell, number, text):
    sql = shell()
    disk.refuses_writes(number)
    assert sql.run(INSERT) == text
    assert disk.control.refused
    disk.recovers()
    assert sql.run(INSERT, COUNT) == [[1]]


def test_whoever_comes_to_a_read_only_disk_may_only_read(disk, shell):
    shell().run(INSERT)
    disk.becomes_read_only()
    assert shell().run(INSERT) == READ_ONLY
    assert shell().run(COUNT) == [[1]]


def test_reads_are_refused_until_the_disk_recovers(disk, shell):
    shell().run(INSERT)
    sql = shell()
    disk.refuses_reads()
    assert sql.run("select sum(length(x)) from t") == MALFORMED
    disk.recovers()
    assert sql.run(COUNT) == [[1]]


def test_a_sync_can_be_held(disk, shell):
    sql = shell()
    disk.holds_syncs()
    sql.send(INSERT)
    disk.waits(lambda control: control.held)
    disk.recovers()
    assert sql.answer() == []


@pytest.mark.parametrize("number", range(1, 9))
def test_a_process_that_dies_in_the_middle_of_a_commit_leaves_what_was_committed(disk, shell, number):
    sql = shell()
    sql.run(INSERT)
    disk.crashes_at(number)
    sql.send("insert into t select randomblob(4000) from (values (1), (2), (3), (4), (5), (6), (7), (8))")
    assert sql.popen.wait(PATIENCE) == -signal.SIGKILL
    disk.restarts()
    assert shell().run("pragma integrity_check") == [["ok"]]
    assert shell().run(COUNT) == [[1]]


@pytest.mark.parametrize(("synchronous", "left"), [("full", 3), ("normal", 0), ("off", 0)])
def test_a_power_cut_leaves_what_was_synced_and_nothing_else(disk, shell, synchronous, left):
    """A process that is killed loses nothing that it has written; so only this one tells who syncs and who does not."""
    sql = shell()
    sql.run("pragma wal_checkpoint(truncate)", f"pragma synchronous={synchronous}", *[INSERT] * 3)
    sql.killed()
    disk.loses_power()
    assert shell().run("pragma integrity_check") == [["ok"]]
    assert shell().run(COUNT) == [[left]]


def test_what_was_written_before_a_sync_failed_is_lost_in_a_power_cut(disk, shell):
    """Also if a later sync succeeds: the pages counted as clean."""
    sql = shell()
    disk.refuses_syncs()
    assert sql.run(INSERT) == IO_ERROR
    disk.recovers()
    log = disk.durable / "store.db-wal"
    before = log.read_bytes()
    assert sql.run("pragma wal_checkpoint") != IO_ERROR
    assert log.read_bytes() == before
    assert sql.run(INSERT, COUNT) == [[1]]
    sql.killed()
    disk.loses_power()
    assert shell().run(COUNT) == [[1]]


def test_a_sync_keeps_what_another_sync_of_the_file_is_about_to_keep(disk):
    """Two threads sync the log, for a checkpoint and for a commit: a commit is not kept while a hole is before it."""
    disk.delays_syncs(500)
    command = [sys.executable, TWO_SYNCS, disk.store, disk.durable / disk.store.name]
    with subprocess.Popen(
        command, env=os.environ | disk.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as popen:
        disk.waits(lambda control: control.held)
        disk.delays_syncs(0)
        assert popen.communicate("\n", timeout=PATIENCE)[0] == "first, second"
