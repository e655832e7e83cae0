"""A process that hands changes to a store, and what it has said: see ``store_load``."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgpack
from store_history import History

from sessiond.stores.settings import StoreSettings
from sessiond.stores.sqlite import SqliteStore

__all__ = ["StoreProcess", "compare", "loaded"]

PROGRAM = Path(__file__).with_name("store_load.py")
PATIENCE = 30


class StoreProcess:
    """A running one. Whoever does not read what it says holds it up."""

    def __init__(self, popen: subprocess.Popen[bytes], history: History) -> None:
        self.popen = popen
        self.history = history
        self._unpacker = msgpack.Unpacker()

    def _next(self) -> list[Any] | None:
        """The next message, None if there are no more."""
        assert self.popen.stdout is not None
        for message in self._unpacker:
            self.history.note(message)
            return message
        data = os.read(self.popen.stdout.fileno(), 1 << 16)
        self._unpacker.feed(data)
        return self._next() if data else None

    def wait_for(self, what: str, count: int = 1) -> list[Any]:
        """The next message of that kind, or the one so many later."""
        while (message := self._next()) is not None:
            count -= message[0] == what
            if not count:
                return message
        raise AssertionError(f"it has ended without {what}")

    def rest(self) -> None:
        """Everything that it says until its end."""
        while self._next() is not None:
            pass

    def kill(self) -> None:
        self.popen.kill()
        self.rest()

    def close(self) -> None:
        """Have the store closed as it should be."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        self.rest()
        assert self.popen.wait(PATIENCE) == 0


@contextlib.contextmanager
def loaded(
    path: Path, history: History, seed: int = 1, *, durability: str = "commit", environ: Mapping[str, str] | None = None
) -> Iterator[StoreProcess]:
    """Start one on the store ``path`` until the block ends; it goes on with ``history``."""
    command = [sys.executable, str(PROGRAM), str(path), str(seed), durability]
    environ = os.environ | (environ or {})
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as popen:
        process = StoreProcess(popen, history)
        try:
            process.wait_for("began")
            yield process
        finally:
            popen.kill()


def compare(path: Path, history: History) -> int:
    """Open the store, of which nobody has hold, and see what it has; see ``History.compare``."""
    store = SqliteStore(StoreSettings(kind="sqlite", path=str(path)))
    recovered = store.open()
    try:
        return history.compare(recovered)
    finally:
        store.close()
