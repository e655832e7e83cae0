"""Files of JSON Lines that lose nothing which was said to be in them, and hold nothing by halves."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from sessiond.records.sink import SinkError

__all__ = ["MAX_LINE", "append", "prepare", "sync_folder"]

logger = logging.getLogger(__name__)

MODE = 0o640
"""Who calls whom is nobody else's business."""
MAX_LINE = 1 << 20
"""Bytes: no record takes as many, whatever is in it."""


def prepare(path: Path) -> None:
    """Look whether ``path`` can be written, and take back what a crash has left of a line at its end.

    Raises:
        SinkError: it cannot, or it is no file of lines.
    """
    try:
        if path.exists() and not path.is_file():
            raise SinkError(f"{path} is no regular file")
        with _opened(path) as file:
            _repaired(file, path)
        sync_folder(path)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from None


def append(path: Path, lines: Sequence[bytes]) -> None:
    """Add ``lines``, all of them or none; they are on the disk once this returns.

    The file is opened anew each time, so that it may be renamed or deleted by others in between.

    Raises:
        OSError: they cannot be added.
    """
    is_new = not path.exists()
    with _opened(path) as file:
        size = _repaired(file, path)
        left = memoryview(b"\n".join((*lines, b"")))
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):  # then whoever adds something next does it
                file.truncate(size)
            raise
    if is_new:
        sync_folder(path)


def sync_folder(path: Path) -> None:
    """Have the folder of ``path`` know on the disk too which files it has.

    Raises:
        OSError: it cannot.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _opened(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE), "r+")


def _repaired(file: FileIO, path: Path) -> int:
    """The size of a file that holds nothing but whole lines; what comes after them is taken off."""
    size = file.seek(0, os.SEEK_END)
    begin = max(0, size - MAX_LINE)
    if not size or os.pread(file.fileno(), 1, size - 1) == b"\n":
        return size
    end = os.pread(file.fileno(), size - begin, begin).rfind(b"\n")
    if end < 0 < begin:
        raise OSError(errno.EINVAL, "it holds something else than lines")
    whole = begin + end + 1
    logger.warning("%s ends in the midst of a line: its last %d bytes go", path, size - whole)
    file.truncate(whole)
    os.fsync(file.fileno())
    return whole
