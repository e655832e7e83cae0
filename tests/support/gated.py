"""A service whose store tells what it has kept when the test says so, and keeps nothing while the test wants that.

The store is the real one in a real file; it commits every change by itself. What it posts to the keeper is held back
while the gate is shut. It fails because another program, which is the test, holds the lock of its database.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pykka import Future
from runtimes import PATIENCE, settle
from services import Service, send

from sessiond.actors.session import SessionActor
from sessiond.actors.settings import Settings
from sessiond.actors.store import Keeper, Post, Soon
from sessiond.stores.database import connect, connect_reader
from sessiond.stores.settings import StoreSettings
from sessiond.stores.sqlite import SqliteStore
from sessiond.stores.tuning import Tuning

__all__ = ["GatedService", "gated"]


PARTS = ("limits", "gateways", "watching", "commanding", "clock", "residing")
"""What of the options of ``service`` is no setting of sessions."""


def _impatient(path: str) -> sqlite3.Connection:
    connection = connect(path)
    connection.execute("PRAGMA busy_timeout = 0")
    return connection


class GatedStore(SqliteStore):
    """Holds back what its threads post while it is shut."""

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings, Tuning(most=1, probes=(0.001,), connect=_impatient))
        self._is_shut = False
        self.held: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._post: Post
        self._keeper: Keeper
        self._told = 0
        self._tells = threading.Condition()

    def start(self, keeper: Keeper, post: Post, soon: Soon) -> None:
        self._post, self._keeper = post, keeper
        super().start(keeper, self._take, soon)

    @property
    def is_shut(self) -> bool:
        """Whether it holds back what is posted. Whoever opens it has all be posted that was held back."""
        return self._is_shut

    @is_shut.setter
    def is_shut(self, is_shut: bool) -> None:
        with self._tells:
            self._is_shut = is_shut
            while not (is_shut or self.held.empty()):
                self._post(self.held.get())

    def _take(self, work: Callable[[], None]) -> None:
        with self._tells:
            if self._is_shut:
                self.held.put(work)
            else:
                self._post(work)
            if isinstance(work, functools.partial) and work.func == self._keeper.settled:
                self._told = work.args[0]
                self._tells.notify_all()

    def await_told(self, position: int) -> None:
        """Return when it has been posted that everything up to ``position`` is kept, or held back instead."""
        with self._tells:
            assert self._tells.wait_for(lambda: self._told >= position, PATIENCE)

    def let_through(self) -> None:
        """Post what was held back for the longest time, once there is anything."""
        self._post(self.held.get(timeout=PATIENCE))


class GatedService(Service):
    """A service in such a store. The gate is open at first."""

    store: GatedStore

    def __init__(self, path: Path, session_class: type[SessionActor], **options: Any) -> None:
        store = StoreSettings(kind="sqlite", path=str(path), durability=options.pop("durability", "commit"))
        given = {name: options.pop(name) for name in PARTS if name in options}
        super().__init__(Settings(**options), session_class, store=store, store_class=GatedStore, **given)
        self.path = path
        """Of its store."""
        self._other: sqlite3.Connection | None = None

    # The gate

    def shut(self) -> None:
        """Have everything that changes be on its way from now on, and nothing else that has been handed over."""
        self.settle()
        if self.journal.failure is None and not self.store.is_shut:
            self.keep_all()
        self.store.is_shut = True

    def acknowledge(self, changes: int = 1) -> None:
        """Have so many of the changes that are on their way be settled, the oldest first."""
        left = len(self.journal) - changes
        while len(self.journal) > left:
            self.store.let_through()
            self.settle()

    def open(self) -> None:
        """Hold nothing back any more, and have all be settled that is on its way."""
        self.acknowledge(len(self.journal))
        self.store.is_shut = False

    def keep_all(self) -> None:
        """Have everything be in the file that has been handed over, activities too, and be known to be."""
        self.store.is_shut = False
        self.settle()
        self.store.await_told(self.turn(lambda _: self.store.put("test", 0)))
        self.settle()

    def crash(self, path: Path) -> None:
        """Leave at ``path`` what the files of the store would be had the process died.

        While somebody reads, the WAL does not begin anew.
        """
        with contextlib.closing(connect_reader(str(self.path))) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM named").fetchone()
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{self.path}{suffix}", f"{path}{suffix}")

    # The disk

    def breaks(self) -> None:
        """Nothing can be kept from now on; nobody has been told of that."""
        self.shut()
        self._other = sqlite3.connect(self.path, isolation_level=None)
        self._other.execute("BEGIN IMMEDIATE")

    def fails(self) -> None:
        """The store tells that it keeps nothing, of which it has not been told before ``breaks``."""
        if self._other is None:
            self.breaks()
        self.turn(lambda _: self.store.put("test", 0))
        while self.journal.failure is None:
            self.store.let_through()
            self.settle()

    def recovers(self) -> None:
        """The store keeps again what it is handed."""
        assert self._other is not None
        self._other.close()
        self._other = None
        while self.journal.failure is not None:
            self.store.let_through()
            self.settle()
        self.store.is_shut = False

    # What a test does

    @property
    def journal(self) -> Any:
        return self.context.journal

    def soon(self, method: str, *args: Any, **options: Any) -> Future[Any]:
        """Ask the registry for something, which is done by now; the answer may be on its way."""
        future = send(self.registry, method, *args, **options)
        self.settle()
        return future

    def settle(self) -> None:
        """As ever, but that what is held back is not waited for."""
        if self.store.is_shut:
            settle(self.dispatcher)
        else:
            super().settle()

    def stop(self) -> None:
        if self._other is not None:
            self._other.close()
        super().stop()


@contextlib.contextmanager
def gated(path: Path, session_class: type[SessionActor] = SessionActor, **options: Any) -> Iterator[GatedService]:
    """A service in a store of that path; ``options`` are those of ``service``, and the ``durability``."""
    running = GatedService(path, session_class, **options)
    try:
        yield running
    finally:
        running.stop()
