"""A store on a disk that fails: it says so, loses nothing that it has settled, and is well again when the disk is."""

from __future__ import annotations

import errno
import shutil

import pytest
from store_history import History
from store_load import MOST_WAITING
from store_process import compare, loaded

pytestmark = pytest.mark.needs("gcc")

FAULTS = {
    "full": lambda disk: disk.fills_up(),
    "read-only": lambda disk: disk.becomes_read_only(),
    "write errors": lambda disk: disk.refuses_writes(errno.EIO),
    "sync errors": lambda disk: disk.refuses_syncs(),
}


@pytest.fixture(params=FAULTS)
def fault(request, disk):
    """What goes wrong when it is called."""
    return lambda: FAULTS[request.param](disk)


def glance(folder, disk, history):
    """Compare what somebody would find on the disk who came now."""
    folder.mkdir()
    for path in (disk.store, disk.store.with_name(f"{disk.store.name}-wal")):
        if path.exists():
            shutil.copy(path, folder)
    compare(folder / disk.store.name, history)


@pytest.fixture
def store(disk):
    """A process that hands changes to a store on the disk."""
    with loaded(disk.store, History(), environ=disk.environ) as started:
        started.wait_for("settled", 5)
        yield started


def test_a_fault_is_told_and_so_is_that_it_is_over(disk, fault, store):
    for _ in range(2):
        fault()
        store.wait_for("failed")
        disk.recovers()
        store.wait_for("restored")
        store.wait_for("settled", 5)
    store.close()
    compare(disk.store, store.history)


def test_a_fault_that_stays_is_told_once(disk, fault, store):
    """And nothing more is settled until it is over, however often the store tries."""
    fault()
    store.wait_for("failed")
    settled, refused = store.history.settled, disk.control.refused
    disk.waits(lambda control: control.refused > refused + 2)
    disk.recovers()
    store.wait_for("restored")
    assert store.history.settled == settled
    assert store.history.counts["failed"] == 1


def test_a_kill_while_the_disk_fails_loses_nothing(disk, fault, store):
    fault()
    store.wait_for("failed")
    store.kill()
    disk.restarts()
    compare(disk.store, store.history)


def test_a_power_cut_while_the_disk_fails_loses_nothing(disk, fault, store):
    fault()
    store.wait_for("failed")
    store.kill()
    disk.loses_power()
    compare(disk.store, store.history)


def test_a_power_cut_after_a_fault_loses_nothing(disk, fault, store):
    """What was written before a sync failed may not be on the disk, and nothing that follows may rely on it."""
    fault()
    store.wait_for("failed")
    disk.recovers()
    store.wait_for("restored")
    store.wait_for("settled", 3)
    store.kill()
    disk.loses_power()
    compare(disk.store, store.history)


def test_a_power_cut_after_a_kill_while_the_disk_failed_loses_nothing(disk, fault, store, tmp_path):
    """Whoever comes after the kill finds pages that look well and may not be on the disk."""
    fault()
    store.wait_for("failed")
    store.kill()
    disk.recovers()
    glance(tmp_path / "meanwhile", disk, store.history)
    with loaded(disk.store, store.history, seed=2, environ=disk.environ) as second:
        second.wait_for("settled", 3)
        second.kill()
    disk.loses_power()
    compare(disk.store, store.history)


def test_a_store_that_is_closed_while_the_disk_fails_has_what_was_settled(disk, fault, store):
    fault()
    store.wait_for("failed")
    store.close()
    disk.restarts()
    compare(disk.store, store.history)


def test_slow_syncs_delay_what_is_settled_and_nothing_else(disk, store):
    """All that the store is handed meanwhile it takes, and settles later."""
    disk.holds_syncs()
    disk.waits(lambda control: control.held)
    while len(store.history.waiting) < MOST_WAITING:
        store.wait_for("handed")
    disk.recovers()
    store.wait_for("settled", 3)
    store.close()
    compare(disk.store, store.history)
    assert "failed" not in store.history.counts


def test_a_page_that_cannot_be_read_is_told(disk, store):
    disk.refuses_reads()
    store.wait_for("failed")
    disk.recovers()
    store.wait_for("restored")
    store.wait_for("settled", 5)
    store.close()
    compare(disk.store, store.history)
