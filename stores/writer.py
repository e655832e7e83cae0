"""The thread that writes: commits what is handed over, as soon as it is free, and tells what came of it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import math
import queue
import sqlite3
import threading
from collections.abc import Callable

from sessiond.actors.store import Keeper, Post, Soon, StoreError, at_once
from sessiond.stores.chores import Chores
from sessiond.stores.commit import commit, insert
from sessiond.stores.database import rollback, translated
from sessiond.stores.figures import Figures
from sessiond.stores.log import END, LIVE, TOUCH, Entry, latest
from sessiond.stores.recovery import POSITION
from sessiond.stores.settings import StoreSettings
from sessiond.stores.tuning import Tuning

__all__ = ["Writer"]

logger = logging.getLogger(__name__)

LINGER = 0.5
"""Seconds in which somebody looks for what was handed over without haste."""
PAUSE = 1.0
"""Seconds without chores after one has failed."""


class Writer:
    """Commits the entries of a queue in groups, and does the chores between commits.

    The dispatcher's thread appends to the queue, and empties it when nothing of it will ever be kept; this thread takes
    from its front what is committed. Each of those is one step of the interpreter, so that no lock is needed.
    """

    def __init__(
        self, settings: StoreSettings, chores: Chores, figures: Figures, position: int, tuning: Tuning
    ) -> None:
        """Nothing runs before ``start``; ``position`` is the highest that there has been."""
        self._path = settings.path
        self._is_relaxed = settings.durability == "relaxed"
        self._interval = settings.interval if self._is_relaxed else 0.0
        self._tuning = tuning
        self._monotonic = tuning.monotonic
        self._figures = figures
        self._connection: sqlite3.Connection | None = None
        self._chores = chores
        self._chores_from = -math.inf
        """When chores may be done again, on the monotonic clock."""
        self._queue: list[Entry] = []
        self._position = position
        """Of the entry handed over last. The dispatcher's thread alone writes it."""
        self._done = position
        """Of the one before the first of the queue."""
        self._squeezed = 0
        """Entries that the queue had when it was squeezed last."""
        self._announced = self._lingered = position
        """Up to these positions may be committed. The dispatcher's thread writes the one, this thread the other."""
        self._is_announced = False
        """Whether the next announcement is on its way."""
        self._committed_at = tuning.monotonic()
        """When the last commit began, on the monotonic clock."""
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_waiting = False
        """Whether the thread wants the bell rung when something may be committed."""
        self._is_open = True
        """Whether the queue may be taken from."""
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._keeper: Keeper | None = None
        self._post: Post | None = None
        self._soon: Soon = at_once

    # On the dispatcher's thread

    @property
    def waiting(self) -> int:
        """Entries that are not committed yet."""
        return len(self._queue)

    @property
    def done(self) -> int:
        """The position up to which everything has been committed, or given up."""
        return self._done

    def sessions(self) -> set[int]:
        """The sessions that entries are about which are not committed yet."""
        return {entry[1] for entry in self._queue.copy() if entry[0] in (LIVE, TOUCH, END)}

    def start(self, keeper: Keeper, post: Post, soon: Soon) -> None:
        """Begin to commit; see ``Store.start``."""
        self._keeper, self._post, self._soon = keeper, post, soon
        self._thread = threading.Thread(target=self._run, name="sessiond-store", daemon=True)
        self._thread.start()

    def add(self, entry: Entry) -> int:
        """Have ``entry`` committed; its position."""
        self._queue.append(entry)
        self._position += 1  # after the entry is there, for the other thread's sake
        if not self._is_announced:
            self._is_announced = True
            self._soon(self._announce)
        return self._position

    def _announce(self) -> None:
        """What was done with what has been handed over is over."""
        self._is_announced = False  # first: what another thread hands over meanwhile announces itself
        self._announced = self._position
        if self._is_waiting:
            self.ring()

    def add_quietly(self, entry: Entry) -> None:
        """Have ``entry`` committed with the next one that has some haste, or in a while.

        Nobody refuses such entries while nothing can be kept; those that would be forgotten are not remembered.
        """
        if self._is_open or self._is_relaxed:
            self._queue.append(entry)
        self._position += 1

    def ring(self) -> None:
        """Have the thread look what there is to do."""
        self._is_waiting = False
        self._bell.put(None)

    def once_filed(self, go: Callable[[], None]) -> None:
        """Have ``go`` called, on any thread, once the records of all ends are in their table that were told by now.

        While nothing can be written it is called all the same: then the table is what there is to read.
        """
        filing = self._chores.filing
        if filing.is_needless or self._is_resting():
            go()
            return
        filing.wait(go)
        self.ring()
        if self._is_resting():  # since then, and so there is nobody who looks
            filing.release()

    def _is_resting(self) -> bool:
        """Whether the thread does not write now."""
        return self._is_stopping or not self._figures.is_up

    def stop(self) -> None:
        """Commit what waits, if that is possible, and let go of the database. Blocks."""
        self._is_stopping = True
        self.ring()
        if self._thread is not None:
            self._thread.join()
        try:
            if not self._figures.is_up:
                self._probe()
            while self._queue and (self._figures.is_up or self._is_relaxed):
                self._commit(len(self._queue))
            with translated(self._path):
                self._chores.finish(self._connected())
        except StoreError as error:
            logger.error("Closed with %d changes that could not be kept: %s", len(self._queue), error)  # noqa: TRY400  (it says where)
        finally:
            self._disconnect()
            self._chores.filing.release()

    def _tell_failed(self, error: StoreError) -> None:
        assert self._keeper is not None
        self._keeper.failed(error)
        if not self._is_relaxed:
            self._forget()

    def _tell_restored(self) -> None:
        if not self._is_relaxed:
            self._forget()
        self._figures.is_up = self._is_open = True
        self._announced = self._position
        assert self._keeper is not None
        self._keeper.restored()
        self.ring()

    def _forget(self) -> None:
        """Drop what waits: whoever handed it over has been told that it is not kept, or is told now."""
        self._queue.clear()
        self._done = self._position

    # On the writer's thread

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._turn()
            except StoreError as error:
                self._fail(error)
            except Exception as error:
                logger.exception("The store's writer crashed")
                self._fail(StoreError(f"{self._path}: the writer crashed ({error!r}); the log says where"))

    def _turn(self) -> None:
        if not self._figures.is_up:
            self._mend()
            return
        now = self._monotonic()
        if now - self._committed_at >= LINGER:
            self._lingered = self._position
        ripe, wait = self._ripe, self._committed_at + self._interval - now
        has_entries = ripe > 0
        if has_entries and wait <= 0:
            self._commit(ripe)
            self._do_chores()
        elif not self._do_chores():
            self._wait(min(wait, self._rest()) if has_entries else self._rest(), wants_bell=not has_entries)

    @property
    def _ripe(self) -> int:
        """Entries that may be committed: of what a turn hands over all or none, but for what has lingered."""
        return max(self._announced, self._lingered) - self._done

    def _rest(self) -> float:
        """Seconds in which nobody need look whether there is something to do."""
        return LINGER if self._is_paused else min(LINGER, self._chores.rest)

    @property
    def _is_paused(self) -> bool:
        """Whether there are to be no chores."""
        return self._monotonic() < self._chores_from

    def _commit(self, ripe: int) -> None:
        group = self._queue[: min(ripe, self._tuning.most)]
        last = self._done + len(group)
        began = self._committed_at = self._monotonic()
        with translated(self._path):
            size = commit(self._connected(), group, last)
        del self._queue[: len(group)]
        self._done = last
        self._chores.committed(group, last, size)
        self._figures.committed(self._monotonic() - began, len(group), size)
        if self._post is not None and self._keeper is not None:
            self._post(functools.partial(self._keeper.settled, last))

    def _do_chores(self) -> bool:
        """Some of what can wait; whether there is more. Whatever fails in that, commits go on as long as they can.

        Whoever waits for records has them filed at once, or reads what there is if that fails.
        """
        is_paused = self._is_paused
        if is_paused and not self._chores.filing.is_awaited:
            return False
        with translated(self._path):
            connection = self._connected()
            self._chores.checkpoint(connection)
        try:
            with translated(self._path):
                has_more = self._chores.tidy(connection)
        except StoreError as error:
            self._disconnect()
            self._chores.filing.release()
            if self._chores_from == -math.inf:
                logger.warning("The store's log cannot be folded now: %s", error)
            self._chores_from = self._monotonic() + PAUSE
            return False
        if not is_paused:
            self._chores_from = -math.inf
        return has_more

    def _wait(self, seconds: float, *, wants_bell: bool = False) -> None:
        """Sleep until the bell rings. Only a thread that ``wants_bell`` is woken by entries."""
        self._is_waiting = wants_bell
        if not (self._is_stopping or (wants_bell and self._ripe > 0)):
            with contextlib.suppress(queue.Empty):
                self._bell.get(timeout=seconds)
        self._is_waiting = False

    def _fail(self, error: StoreError) -> None:
        self._disconnect()
        self._figures.failures += 1
        self._figures.is_up = self._is_open = False
        self._chores.filing.release()
        logger.error("The store keeps nothing now: %s", error)
        if self._post is not None:
            self._post(functools.partial(self._tell_failed, error))

    def _mend(self) -> None:
        """Wait until the database can be written again, and until the dispatcher's thread knows."""
        for seconds in itertools.chain(self._tuning.probes, itertools.repeat(self._tuning.probes[-1])):
            self._wait(seconds)
            if self._is_stopping:
                return
            try:
                self._probe()
                break
            except StoreError as error:
                self._disconnect()
                if self._is_relaxed:
                    self._squeeze()
                logger.debug("The store still keeps nothing: %s", error)
        logger.warning("The store keeps again what it is handed")
        assert self._post is not None
        self._post(self._tell_restored)
        while not (self._is_open or self._is_stopping):
            self._bell.get()

    def _squeeze(self) -> None:
        """Leave out of the queue what later entries make needless: so it grows by ended calls, and not by each change.

        Positions are of this side of the commit: those that are left are the highest.
        """
        waiting = self._queue[:]
        if len(waiting) > self._tuning.most and len(waiting) > 2 * self._squeezed:
            left = latest(waiting)
            self._squeezed = len(left)
            self._queue[: len(waiting)] = left
            self._done += len(waiting) - len(left)

    def _probe(self) -> None:
        """Write something.

        What the WAL holds goes into the database first: after a failed fsync nobody knows which of its pages are on the
        disk, and what is written after a page that is not would be lost with it. What has gone there lately goes there
        again for the same reason.
        """
        self._chores.renew()
        with translated(self._path):
            connection = self._connected()
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if is_busy:
                raise sqlite3.OperationalError("somebody reads what the failed writes were to follow")
            insert(connection, "named (name, value)", [(POSITION, self._done)])

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._tuning.connect(self._path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            rollback(connection)
            with contextlib.suppress(sqlite3.Error):
                connection.close()
