"""Writing once more what a failed fsync may have left unwritten.

When an fsync fails the system takes the pages that it was about for clean: reads go on to show them, no later fsync
writes them, and a power cut takes them. SQLite does not reckon with that; PostgreSQL and others do since 2018.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from sessiond.actors.store import StoreError

__all__ = ["Pages", "renew_wal"]

_HEADER = struct.Struct(">8I")
"""Of a WAL: magic, version, bytes of a page, number of checkpoints, two salts, two checksums."""
_FRAME = struct.Struct(">6I")
"""Of a page in it: number, pages of the database, the salts, two checksums."""


def renew_wal(path: str) -> None:
    """Write the WAL of the database ``path`` once more, before anybody opens that.

    Raises:
        StoreError: it cannot be written.
    """
    wal = Path(f"{path}-wal")
    try:
        with wal.open("r+b") as file:
            written = file.read()
            file.seek(0)
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed(wal, error) from error


class Pages:
    """The pages of a database that have come from its WAL.

    To be opened before the first connection and closed after the last one: closing any descriptor of the file drops the
    locks that SQLite has on it.
    """

    def __init__(self, path: str) -> None:
        """Write nothing yet.

        Raises:
            StoreError: the file cannot be opened.
        """
        self._path = Path(path)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _failed(self._path, error) from error

    def renew(self) -> None:
        """Write those pages once more. Nobody may move the WAL into the database meanwhile.

        SQLite does not fsync the database when it has moved but a part of the WAL, and never moves that part again.

        Raises:
            StoreError: they cannot be written.
        """
        try:
            wal = Path(f"{self._path}-wal")
            for number, size in sorted(set(_pages(wal.read_bytes() if wal.exists() else b""))):
                place = (number - 1) * size
                os.pwrite(self._file, os.pread(self._file, size, place), place)
            os.fsync(self._file)
        except OSError as error:
            raise _failed(self._path, error) from error

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def _pages(wal: bytes) -> Iterator[tuple[int, int]]:
    """The numbers of the pages in a WAL, and their size in bytes."""
    if len(wal) < _HEADER.size:
        return
    _, _, size, _, *salts, _, _ = _HEADER.unpack_from(wal)
    for place in range(_HEADER.size, len(wal) - _FRAME.size - size + 1, _FRAME.size + size):
        number, _, *its_salts, _, _ = _FRAME.unpack_from(wal, place)
        if its_salts != salts:  # left from before the WAL began anew
            return
        yield number, size


def _failed(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path}: {error.strerror}; look after the disk, and whether the file may be written")
