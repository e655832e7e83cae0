"""The blocking client's way to the service: a connection that is made when needed, and again when it is lost."""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
import time
from typing import Any, TypeVar

from sessiond.actors.errors import Unavailable
from sessiond.transport.client_link import Link, Waiter
from sessiond.transport.client_repeats import Journal, Reconnection
from sessiond.transport.client_replies import Reply
from sessiond.transport.client_requests import Request
from sessiond.transport.codec import MAX_MSGID

__all__ = ["Line"]

R = TypeVar("R")


class Line:
    """The way to the service in one process."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        """Connect to ``host`` and ``port`` when needed; requests take ``timeout`` seconds at most."""
        self.pid = os.getpid()
        self._host, self._port = host, port
        self._timeout = timeout
        self._ids = itertools.count(1)
        self._sending = threading.Lock()
        """Held while a request is sent, so that they go out whole and in the order of the journal."""
        self._journal = Journal()
        self._writing = threading.Lock()
        """Guards the journal."""
        self._link: Link | None = None
        self._reconnection = Reconnection(timeout, random.random)
        self._cause = "There is no connection"
        self._connecting = threading.Lock()
        """Held by the one thread that connects, for all of them."""
        self._closed = threading.Event()

    def perform(self, request: Request[R]) -> R:
        """The result of ``request``.

        Raises:
            SessiondError: what the service answered, or ``RequestTimeout`` or ``Unavailable``.
        """
        waiter = Waiter(request, next(self._ids) & MAX_MSGID, time.monotonic() + self._timeout + request.patience)
        try:
            reply = self._exchange(waiter)
        except TimeoutError:
            raise request.timed_out(self._timeout + request.patience) from None
        finally:
            if request.session is not None:
                with self._writing:
                    self._journal.done(request)
        return request.read(reply)

    def close(self) -> None:
        """Close the connection; requests under way and later ones raise ``Unavailable``."""
        self._closed.set()
        if self._link is not None:
            self._link.fail("The client is closed")

    def abandon(self) -> None:
        """Let go of what belongs to the process from which this one was forked off."""
        if self._link is not None:
            self._link.abandon()

    def _exchange(self, waiter: Waiter) -> Reply:
        """Send the request until there is an answer to it."""
        while True:
            link = self._link
            if link is None or link.lost is not None:
                link = self._connected(waiter)
            try:
                reply = link.exchange(waiter)
            except ConnectionError:
                with self._writing:
                    self._journal.check(waiter.request)
                continue
            if self._reconnection.is_trying:
                self._reconnection.answered()
            return reply

    def _allow(self, request: Request[Any]) -> None:
        with self._writing:
            self._journal.send(request)

    def _connected(self, waiter: Waiter) -> Link:
        """A link, made by this thread or meanwhile by another one."""
        while True:
            if self._closed.is_set():
                raise waiter.request.unavailable("The client is closed")
            if self._reconnection.is_given_up(time.monotonic()):
                raise self._unreachable(waiter)
            if not self._connecting.acquire(timeout=max(0.0, waiter.left())):
                raise self._unreachable(waiter)
            try:
                self._connect(waiter)
                if self._link is not None:
                    return self._link
            finally:
                self._connecting.release()

    def _connect(self, waiter: Waiter) -> None:
        """Make one attempt to connect, when it is due, unless there is a link."""
        reconnection = self._reconnection
        if self._link is not None:
            if self._link.lost is None:
                return
            self._cause = self._link.lost
            self._link = None
            reconnection.failed(time.monotonic())
        now = time.monotonic()
        pause = reconnection.pause(now)
        if pause >= waiter.left() or reconnection.is_given_up(now):
            raise self._unreachable(waiter)
        if self._closed.wait(pause):
            return
        reconnection.begun(time.monotonic())
        try:
            connection = socket.create_connection((self._host, self._port), max(0.001, waiter.left()))
            self._link = Link(connection, self._sending, self._allow)
        except Exception as error:  # noqa: BLE001  (whatever it is, the service cannot be reached)
            self._cause = str(error)
        finally:
            if self._link is None:
                reconnection.failed(time.monotonic())
            elif self._closed.is_set():
                self._link.fail("The client is closed")

    def _unreachable(self, waiter: Waiter) -> Unavailable:
        return waiter.request.unavailable(f"{self._host}:{self._port} cannot be reached: {self._cause}")
