"""A thread that reads, beside the one that writes."""

from __future__ import annotations

import contextlib
import functools
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sessiond.actors.errors import Unavailable
from sessiond.actors.future import Pending
from sessiond.actors.store import Post, StoreError, at_once
from sessiond.stores.database import connect_reader, translated

__all__ = ["Reader"]

R = TypeVar("R")

Query = Callable[[sqlite3.Connection], Any]


class Reader:
    """Runs one query after another on a connection of its own, which sees what has been committed when it begins."""

    def __init__(self, path: str, name: str) -> None:
        """Nothing runs before the first query; then a thread called ``name``."""
        self._path = path
        self._name = name
        self._post: Post | None = None
        self._queries: queue.SimpleQueue[tuple[Query, Pending[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._gate = threading.Lock()
        """Whoever has it may say, or rely on it, that no more queries are taken."""
        self._is_stopped = False

    def start(self, post: Post) -> None:
        """Take queries; their answers come by way of ``post``."""
        self._post = post

    def ask(
        self, query: Callable[[sqlite3.Connection], R], when: Callable[[Callable[[], None]], None] = at_once
    ) -> Pending[R]:
        """What comes of ``query``. Pending; fails with what the query raises, or ``Unavailable``.

        The query is taken when ``when`` calls what it is given; that may be later, and on any thread.
        """
        if self._thread is None and not self._is_stopped:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        answer: Pending[R] = Pending()
        when(functools.partial(self._take, query, answer))
        return answer

    def _take(self, query: Query, answer: Pending[Any]) -> None:
        with self._gate:
            if not self._is_stopped:
                self._queries.put((query, answer))
                return
        self._refuse(answer)

    def stop(self) -> None:
        """Break off what runs, and refuse what waits. Blocks."""
        with self._gate:
            self._is_stopped = True
        if self._thread is None:
            return
        refused = []
        with contextlib.suppress(queue.Empty):
            while True:
                refused.append(self._queries.get_nowait())
        self._queries.put(None)
        if self._connection is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it has just been closed
                self._connection.interrupt()
        self._thread.join()
        for waiting in refused:
            if waiting is not None:
                self._refuse(waiting[1])

    def _refuse(self, answer: Pending[Any]) -> None:
        self._tell(functools.partial(answer.fail, Unavailable("the store is closed")))

    def _tell(self, answer: Callable[[], None]) -> None:
        assert self._post is not None
        self._post(answer)

    def _run(self) -> None:
        while (asked := self._queries.get()) is not None:
            query, answer = asked
            if not answer.is_abandoned:
                self._tell(self._answered(query, answer))
        self._disconnect()

    def _answered(self, query: Query, answer: Pending[Any]) -> Callable[[], None]:
        """Run ``query``; what is to be done on the dispatcher's thread."""
        try:
            with translated(self._path):
                if self._connection is None:
                    self._connection = connect_reader(self._path)
                return functools.partial(answer.set, query(self._connection))
        except StoreError as error:
            self._disconnect()
            return functools.partial(answer.fail, Unavailable(f"the store cannot be read: {error}"))
        except Exception as error:  # noqa: BLE001  (whoever asked gets it)
            return functools.partial(answer.fail, error)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
