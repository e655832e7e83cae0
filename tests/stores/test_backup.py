"""A copy of a store that is in use: as it was at one moment, and there only if it is whole."""

from __future__ import annotations

import copy
import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from faulty_disk import FaultyDisk
from store_history import History
from store_process import compare, loaded

from sessiond.actors.store import StoreError
from sessiond.stores.backup import backup


class Remembering(History):
    """One that still knows what was said."""

    def __init__(self):
        super().__init__()
        self.said = []

    def note(self, said):
        super().note(said)
        self.said.append(said)


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def path(tmp_path):
    """A store with something in it, of which nobody has hold."""
    with loaded(tmp_path / "store.db", History()) as store:
        store.wait_for("settled", 10)
        store.kill()
    return tmp_path / "store.db"


def test_a_copy_is_the_store_at_one_moment_while_it_goes_on(tmp_path):
    """Nothing that was settled when it began is missing, and nothing that is there came without what came before."""
    history = Remembering()
    with loaded(tmp_path / "store.db", history) as store, ThreadPoolExecutor() as pool:
        store.wait_for("settled", 10)
        least, begins, settled = copy.deepcopy(history), len(history.said), history.settled
        copying = pool.submit(backup, tmp_path / "store.db", tmp_path / "copy.db")
        while not copying.done():
            store.wait_for("settled")
        findings = copying.result()
        assert history.settled > settled
        store.kill()
    for said in history.said[begins:]:
        if said[0] == "handed":
            least.note(said)
    compare(tmp_path / "copy.db", least)
    assert (findings.live, findings.records) == (len(least.kept.live), len(least.kept.ended))
    compare(tmp_path / "store.db", history)


def test_a_copy_can_be_made_of_a_store_that_nobody_uses(path, tmp_path):
    assert backup(path, tmp_path / "copy.db").records
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_nothing_is_left_beside_the_copy(path, tmp_path):
    (tmp_path / "there").mkdir()
    backup(path, tmp_path / "there" / "copy.db")
    assert names(tmp_path / "there") == {"copy.db"}


def test_what_is_there_is_replaced_only_if_that_is_asked_for(path, tmp_path):
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(StoreError, match="is there already"):
        backup(path, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"
    backup(path, tmp_path / "copy.db", replaces=True)
    assert backup(tmp_path / "copy.db", tmp_path / "another.db").records


def test_a_store_in_use_is_never_replaced(path, tmp_path):
    with loaded(tmp_path / "other.db", History()), pytest.raises(StoreError, match="in use"):
        backup(path, tmp_path / "other.db", replaces=True)


def test_there_is_no_copy_of_what_is_not_there(tmp_path):
    with pytest.raises(StoreError, match="no such store"):
        backup(tmp_path / "store.db", tmp_path / "copy.db")
    assert names(tmp_path) == set()


def test_there_is_no_copy_of_a_store_that_is_not_whole(path, tmp_path):
    (tmp_path / "copy.db").write_text("precious")
    backup(path, tmp_path / "whole.db")
    with (tmp_path / "whole.db").open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StoreError):
        backup(tmp_path / "whole.db", tmp_path / "copy.db", replaces=True)
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_there_is_no_copy_in_a_folder_that_is_not_there(path, tmp_path):
    with pytest.raises(StoreError, match="No such file or directory"):
        backup(path, tmp_path / "nowhere" / "copy.db")


@pytest.mark.needs("gcc")
@pytest.mark.parametrize(
    ("fail", "text"),
    [
        (lambda disk: disk.refuses_writes(errno.ENOSPC), "the disk is full"),
        (lambda disk: disk.refuses_syncs(), "an I/O error"),
    ],
)
def test_there_is_no_copy_on_a_disk_that_fails(faulty_library, path, tmp_path, fail, text):
    (tmp_path / "there").mkdir()
    disk = FaultyDisk(faulty_library, tmp_path / "there" / ".copy.db")
    fail(disk)
    command = [sys.executable, "-m", "sessiond", "backup", "--store", path, tmp_path / "there" / "copy.db"]
    done = subprocess.run(command, env=os.environ | disk.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert text in done.stderr
    assert names(tmp_path / "there") == {".copy.db.control", ".copy.db.durable"}
