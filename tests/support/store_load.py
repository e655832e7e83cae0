"""A store that is handed changes without end, as a process that can be killed: PATH SEED [DURABILITY].

It says on standard output, in MessagePack, what it hands over, just before it does so, and what the store says: so
that whoever reads knows at any instant of its death what had been settled. It ends with its standard input.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgpack
from store_changes import Changes
from store_history import BEGUN

from sessiond.actors.record import Session
from sessiond.actors.store import Ending, at_once
from sessiond.stores import checkpoints
from sessiond.stores.settings import StoreSettings
from sessiond.stores.sqlite import SqliteStore
from sessiond.stores.tuning import Tuning

HURRIED = Tuning(fold_entries=600, fold_rows=16)
"""So that the log is folded, and the WAL moved into the database, all the time."""
MOST_WAITING = 400
"""Entries that are handed over and not settled."""


def tell(*said: Any) -> None:
    waiting = memoryview(msgpack.packb(said))
    while waiting:
        waiting = waiting[os.write(sys.stdout.fileno(), waiting) :]


class Load:
    """Hands over, and hears what becomes of it."""

    def __init__(self, store: SqliteStore, changes: Changes) -> None:
        self._store, self._changes = store, changes
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._position = self._settled = 0
        self._is_up = self._is_running = True

    def run(self) -> None:
        self._store.start(self, self._posted.put, at_once)
        threading.Thread(target=self._await_end, daemon=True).start()
        while self._is_running:
            if self._is_up and self._position - self._settled < MOST_WAITING:
                self._hand_over()
            for follow in self._due():
                follow()

    def _await_end(self) -> None:
        sys.stdin.read()
        self._posted.put(self._stop)

    def _stop(self) -> None:
        self._is_running = False

    def _due(self) -> Iterator[Callable[[], None]]:
        """What was posted; waits for something if nothing can be handed over."""
        waits = not self._is_up or self._position - self._settled >= MOST_WAITING
        while waits or not self._posted.empty():
            yield self._posted.get()
            waits = False

    def _hand_over(self) -> None:
        entries = self._changes.some()
        tell("handed", entries)
        for what, *given in entries:
            if what == "end":
                seq, final, *rest = given
                self._position = self._store.end(Ending(seq, Session(*final), *rest))
            else:
                position = getattr(self._store, what)(*given)
                self._position = self._position + 1 if position is None else position

    # The keeper

    def settled(self, position: int) -> None:
        self._settled = position
        tell("settled", position)

    def failed(self, error: Exception) -> None:
        self._is_up = False
        tell("failed", str(error))

    def restored(self) -> None:
        self._is_up = True
        self._settled = self._position
        tell("restored")


def main(path: str, seed: str, durability: str = "commit") -> None:
    checkpoints.ENOUGH, checkpoints.FEW = 60, 10
    store = SqliteStore(StoreSettings(kind="sqlite", path=path, durability=durability), HURRIED)
    recovered = store.open()
    highest = max((live.seq for batch in recovered.live() for live in batch), default=0)
    highest = max(highest, max((ending.seq for ending in recovered.ended(0.0, 1_000_000_000)), default=0))
    tell("began", store.put(BEGUN, int(seed)))
    Load(store, Changes(Random(seed), highest)).run()
    store.close()
    tell("closed")


if __name__ == "__main__":
    main(*sys.argv[1:])
