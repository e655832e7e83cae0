"""A disk that fails when a test says so, under a process of its own; ``faulty_disk.c`` is what fails.

What a fault means to the process is what the system would tell it: nothing of the process knows that it is tested.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from polling import PATIENCE, eventually

__all__ = ["FaultyDisk", "compile_faulty_disk"]

SOURCE = Path(__file__).with_name("faulty_disk.c")


class Control(ctypes.Structure):
    """``struct control`` of the library."""

    _fields_ = [
        (name, ctypes.c_int32)
        for name in (
            *("write_error", "only_growth", "sync_error", "read_error", "open_error"),
            *("hold_syncs", "sync_delay", "crash_after"),
            *("writes", "reads", "syncs", "refused", "held"),
        )
    ]


def compile_faulty_disk(folder: Path) -> Path:
    """Build the library into ``folder``; where it is."""
    library = folder / "faulty_disk.so"
    flags = ("-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared")
    subprocess.run(["gcc", *flags, "-o", library, SOURCE], check=True, timeout=PATIENCE)
    return library


class FaultyDisk:
    """What a process sees of the files whose path begins with that of ``store``."""

    def __init__(self, library: Path, store: Path) -> None:
        self.store = store.resolve()
        self.durable = self.store.with_name(f"{store.name}.durable")
        self.durable.mkdir()
        path = self.store.with_name(f"{store.name}.control")
        path.write_bytes(bytes(ctypes.sizeof(Control)))
        with path.open("r+b") as file:
            self.control = Control.from_buffer(mmap.mmap(file.fileno(), 0))
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAULTY_DISK_PREFIX": str(self.store),
            "FAULTY_DISK_CONTROL": str(path),
            "FAULTY_DISK_DURABLE": str(self.durable),
        }

    # What goes wrong

    def fills_up(self) -> None:
        """No file can grow any more; what is there can be written anew."""
        self.control.only_growth, self.control.write_error = True, errno.ENOSPC

    def refuses_writes(self, error: int) -> None:
        """Every write fails with that ``errno``."""
        self.control.only_growth, self.control.write_error = False, error

    def becomes_read_only(self) -> None:
        """As a file system does that has found itself damaged."""
        self.refuses_writes(errno.EROFS)
        self.control.open_error = self.control.sync_error = errno.EROFS

    def refuses_syncs(self, error: int = errno.EIO) -> None:
        """Every sync fails with that ``errno``, and what was written before it is not kept."""
        self.control.sync_error = error

    def refuses_reads(self, error: int = errno.EIO) -> None:
        """Every read fails with that ``errno``; SQLite takes EIO for a malformed file."""
        self.control.read_error = error

    def holds_syncs(self) -> None:
        """Every sync waits until the disk ``recovers``."""
        self.control.hold_syncs = True

    def delays_syncs(self, milliseconds: int) -> None:
        """Every sync that begins from now on takes so long, beside what it takes anyway."""
        self.control.sync_delay = milliseconds

    def crashes_at(self, number: int) -> None:
        """The process dies at that write or sync from now on, the first being 1; half of a write is done."""
        self.control.crash_after = number

    def recovers(self) -> None:
        """Nothing is wrong any more."""
        for name, _ in Control._fields_[:8]:
            setattr(self.control, name, 0)

    def loses_power(self) -> None:
        """Once the process is dead: the files are as they were kept, without anything that no sync has confirmed."""
        for path in self.store.parent.glob(f"{self.store.name}-*"):
            path.unlink()
        for path in self.durable.iterdir():
            shutil.copyfile(path, self.store.with_name(path.name))
        self.restarts()

    def restarts(self) -> None:
        """Before another process: whatever the files hold counts as kept."""
        shutil.rmtree(self.durable)
        self.durable.mkdir()
        self.recovers()

    # What has happened

    def waits(self, what: Callable[[Control], bool]) -> None:
        """Return once that is so; the process has no other way to say so."""
        eventually(lambda: what(self.control), "the disk is asked", every=0.001)
