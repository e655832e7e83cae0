"""The lock that keeps a second process off a store."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sessiond.actors.store import StoreError

__all__ = ["FileLock"]


class FileLock:
    """Holds a lock file until it is released, or the process is gone.

    Its own file: closing any descriptor of the database would drop the locks that SQLite has on it. The file stays when
    the lock is released, since whoever waits for it may have it open.
    """

    def __init__(self, path: str) -> None:
        """Take the lock, whose path is that of the store with ``.lock``.

        Raises:
            StoreError: another process has it, or the file cannot be made.
        """
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(_unmade(path.removesuffix(".lock"), error)) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            if isinstance(error, BlockingIOError):
                raise StoreError(
                    f"{path} is locked: the store is in use by another process; stop that first"
                ) from error
            raise StoreError(f"{path}: {error.strerror}; the store needs a local disk") from error

    def release(self) -> None:
        """Let others have it."""
        os.close(self._file)


def _unmade(store: str, error: OSError) -> str:
    """Why there is no lock, in terms of the path that was configured: nobody has heard of another one."""
    folder = Path(store).parent
    if not folder.exists():
        return f"{store}: there is no folder {folder}; make it first"
    return f"{store}: {error.strerror}; its folder must be one, and be writable"
