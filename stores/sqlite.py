"""The store in a file, by SQLite: see ``actors.store.Store``."""

from __future__ import annotations

import functools
import logging
import sqlite3
from collections.abc import Callable, Iterable
from typing import TypeVar

from sessiond.actors.future import Pending
from sessiond.actors.store import Ending, Keeper, Live, Post, Soon, StoreError
from sessiond.stores.checkpoints import Checkpoints
from sessiond.stores.chores import Chores
from sessiond.stores.database import MAX_ROWS, make, translated, unhurried
from sessiond.stores.figures import Figures
from sessiond.stores.filing import Filing
from sessiond.stores.folding import Folding
from sessiond.stores.lock import FileLock
from sessiond.stores.log import AUTHOR, END, LIVE, PUT, TOUCH
from sessiond.stores.reader import Reader
from sessiond.stores.recovery import SqliteRecovered, activity
from sessiond.stores.renewal import Pages, renew_wal
from sessiond.stores.schema import migrate
from sessiond.stores.settings import StoreSettings
from sessiond.stores.tuning import TUNING, Tuning
from sessiond.stores.writer import Writer

__all__ = ["SqliteStore"]

logger = logging.getLogger(__name__)

R = TypeVar("R")

OLDEST = (3, 33)
"""The first version of SQLite that updates one table from another."""


class SqliteStore:
    """Keeps sessions and the records of those that ended.

    All changes go into a log, one row for each commit, and from there into the tables of sessions and of records, when
    there is time.
    """

    def __init__(self, settings: StoreSettings, tuning: Tuning = TUNING) -> None:
        """Touch nothing yet."""
        self.figures = Figures()
        self._settings = settings
        self._path = settings.path
        self._tuning = tuning
        self._lock: FileLock | None = None
        self._first: sqlite3.Connection | None = None
        """For what is recovered."""
        self._anchor: sqlite3.Connection | None = None
        """Is there, and does nothing. When all connections are gone, SQLite forgets what of the WAL is valid, and the
        next one may take a commit that has failed for a good one."""
        self._pages: Pages | None = None

    # The life of the store

    def open(self) -> SqliteRecovered:
        """See ``Store``."""
        if sqlite3.sqlite_version_info < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old for the store; install {oldest} or newer")
        self._lock = FileLock(f"{self._path}.lock")
        try:
            with translated(self._path):
                make(self._path)
                renew_wal(self._path)
                self._pages = Pages(self._path)
                self._first = self._tuning.connect(self._path)
                self._anchor = self._tuning.connect(self._path)
                migrate(self._first, self._path)
                recovered = SqliteRecovered(self._first, self._path)
                self._filing = Filing(recovered.unfiled, self._tuning)
                self._file_all(self._first)
        except BaseException:
            self._let_go()
            raise
        self._folding = Folding(recovered, self.figures)
        self._checkpoints = Checkpoints(functools.partial(self._tuning.connect, self._path))
        self._chores = Chores(self._filing, self._folding, self._checkpoints, self._pages, self.figures, self._tuning)
        self._writer = Writer(self._settings, self._chores, self.figures, recovered.last, self._tuning)
        self._loader, self._reader = Reader(self._path, "sessiond-loads"), Reader(self._path, "sessiond-reads")
        return recovered

    def _file_all(self, connection: sqlite3.Connection) -> None:
        """Have the table say all that the log says of records. On a disk that takes nothing that is done later."""
        try:
            with translated(self._path), unhurried(connection):
                while not self._filing.is_needless:
                    self._filing.step(connection, MAX_ROWS)
        except StoreError as error:
            logger.warning("Records of calls that ended last will be there later: %s", error)

    def start(self, keeper: Keeper, post: Post, soon: Soon) -> None:
        """See ``Store``. From now on ``Recovered`` has nothing more to say."""
        self._close_first()
        self._loader.start(post)
        self._reader.start(post)
        self._checkpoints.start(self._writer.ring)
        self._writer.start(keeper, post, soon)

    def close(self) -> None:
        """See ``Store``."""
        if self._lock is None:
            return
        try:
            self._close_first()
            for part in (self._loader, self._reader, self._writer):
                part.stop()
        finally:
            self._let_go()

    def _close_first(self) -> None:
        if self._first is not None:
            self._first.close()
            self._first = None

    def _let_go(self) -> None:
        self._close_first()
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None
        if self._pages is not None:
            self._pages.close()
            self._pages = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # What is to be kept

    def keep(self, seq: int, image: bytes) -> int:
        """See ``Store``."""
        return self._writer.add((LIVE, seq, image))

    def end(self, ending: Ending) -> int:
        """See ``Store``."""
        return self._writer.add((END, ending.seq, ending))

    def touch(self, seq: int, at: float) -> None:
        """See ``Store``."""
        self._writer.add_quietly((TOUCH, seq, at))

    def put(self, name: str, value: int) -> int:
        """See ``Store``."""
        return self._writer.add((PUT, name, value))

    def author(self, number: int, gateway: str, epoch: str | None) -> int:
        """See ``Store``."""
        return self._writer.add((AUTHOR, number, gateway, epoch))

    def purge(self, ended_before: float, up_to: int) -> None:
        """Delete, when there is time, the records that ended before then (epoch) with numbers of at most ``up_to``."""
        # what comes later is not old enough, and in a rush there is no moment at which all is in the table
        self._chores.purge.ask(ended_before, min(up_to, self._writer.done))
        self._writer.ring()

    # What is asked of it

    @property
    def waiting(self) -> int:
        """Changes that were handed over and are not kept yet."""
        return self._writer.waiting

    def unkept(self) -> set[int]:
        """See ``Store``."""
        return self._writer.sessions()

    def load_all(self, seqs: Iterable[int]) -> Pending[dict[int, Live]]:
        """See ``Store``."""
        known: dict[int, Live] = {}
        touched: dict[int, float] = {}
        for seq in seqs:
            live = self._folding.live(seq)
            if live is not None:
                known[seq] = live
            elif not self._folding.is_gone(seq):
                touched[seq] = self._folding.touched(seq)
        return self._loader.ask(functools.partial(_load_all, known, touched))

    def read(self, query: Callable[[sqlite3.Connection], R]) -> Pending[R]:
        """See ``Store``."""
        return self._reader.ask(query, self._writer.once_filed)

    def call_when_filed(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called, on a thread of the store, when there are new records in the table."""
        self._filing.tell = tell


def _load_all(known: dict[int, Live], touched: dict[int, float], connection: sqlite3.Connection) -> dict[int, Live]:
    marks = ",".join("?" * len(touched))
    rows = connection.execute(f"SELECT seq, touched, image FROM sessions WHERE seq IN ({marks})", [*touched])  # noqa: S608  (marks and commas)
    return known | {seq: Live(seq, activity(image, max(at, touched[seq])), image) for seq, at, image in rows}
