"""What ``Client.watch`` gives: an iterator that waits for the next change, over a connection of its own."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

from sessiond.actors.arguments import FilterArguments
from sessiond.actors.errors import ServiceError, Unavailable
from sessiond.transport.client_following import HEARTBEAT, FollowedEvent, Follower
from sessiond.transport.client_link import prepare
from sessiond.transport.client_repeats import Reconnection
from sessiond.transport.codec import NotAFrameError

__all__ = ["ClientWatch"]

CHUNK = 65_536
"""Bytes read at once. What the program does not come to take stays in the socket, and at last with the service."""


class ClientWatch:
    """Iterates over what happens, for one thread; another one may ``close`` it, which ends the iteration.

    After a lost connection it goes on by itself from where it was, for as long as it takes. ``SnapshotBegins`` says
    that it cannot, and that what there is follows; so it does at the beginning.
    """

    def __init__(self, host: str, port: int, timeout: float, filters: FilterArguments) -> None:
        """Watch what matches ``filters``; nothing is done before the first event is asked for."""
        self._socket: socket.socket | None = None
        self._address = (host, port)
        self._timeout = timeout
        self._follower = Follower(filters)
        self._reconnection = Reconnection(timeout, random.random)
        self._events: deque[FollowedEvent] = deque()
        self._is_asked = False
        """Whether the service owes a word."""
        self._closed = threading.Event()

    def close(self) -> None:
        """End it."""
        self._closed.set()
        connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):  # the other end was first
                connection.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for the next event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        self._let_go()

    def __del__(self) -> None:
        self._let_go()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FollowedEvent:
        """The next event, whenever it comes.

        Raises:
            InvalidRequest: wrong filters.
            LimitExceeded: there are as many watches as may be.
            Unavailable: the service cannot be reached, and never was.
        """
        while not self._events:
            if self._closed.is_set():
                self._let_go()
                raise StopIteration
            if self._follower.error is not None:
                self._let_go()
                raise self._follower.error
            try:
                self._events += self._fetch()
            except (OSError, NotAFrameError, ServiceError) as error:
                self._lose(error)
        return self._events.popleft()

    def _fetch(self) -> list[FollowedEvent]:
        """What comes next, perhaps nothing."""
        connection = self._socket
        if connection is None:
            self._connect()
            return []
        if self._follower.unsent:
            connection.settimeout(self._timeout)
            connection.sendall(self._follower.unsent)
            self._follower.unsent = b""
            self._is_asked = True
        connection.settimeout(self._timeout if self._is_asked else HEARTBEAT)
        try:
            data = connection.recv(CHUNK)
        except TimeoutError:
            if self._is_asked:
                raise TimeoutError("The service does not answer") from None
            self._follower.ping()
            return []
        if not data:
            raise ConnectionError("The service closed the connection")
        self._is_asked = False
        events = self._follower.feed(data)
        self._reconnection.answered()
        return events

    def _connect(self) -> None:
        if self._closed.wait(self._reconnection.pause(time.monotonic())):
            return
        self._reconnection.begun(time.monotonic())
        self._socket = socket.create_connection(self._address, self._timeout)
        prepare(self._socket)
        self._follower.connected()

    def _lose(self, error: Exception) -> None:
        self._let_go()
        now = time.monotonic()
        self._reconnection.failed(now)
        if not self._follower.has_begun and self._reconnection.is_away(now):
            host, port = self._address
            raise Unavailable(f"{host}:{port} cannot be reached: {error}") from None

    def _let_go(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
