"""The blocking client's way to the service: a connection that is made when needed, and again when it is lost."""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, TypeVar

from sessiond.actors.errors import SessiondError, Unavailable
from sessiond.transport import client_requests as requests
from sessiond.transport.client_breaker import Breaker
from sessiond.transport.client_link import Link, Waiter
from sessiond.transport.client_repeats import Journal, Reconnection
from sessiond.transport.client_replies import Reply
from sessiond.transport.client_requests import Request
from sessiond.transport.codec import MAX_MSGID, Notification
from sessiond.transport.registration import REPLACED, Registration, Standing

__all__ = ["Line"]

R = TypeVar("R")

PROBE_SHARE = 0.25
"""How much of a request's time goes into a look whether a service is back that was away. It is what an outage costs a
worker now and then."""


_AGAIN = object()


class Line:
    """The way to the service in one process."""

    def __init__(self, host: str, port: int, timeout: float, gateway: Registration | None) -> None:
        """Connect to ``host`` and ``port`` when needed; requests take ``timeout`` seconds at most.

        Each connection is registered as the ``gateway``'s before anything else is sent on it.
        """
        self.pid = os.getpid()
        self._host, self._port = host, port
        self._timeout = timeout
        self._ids = itertools.count(1)
        self._sending = threading.Lock()
        """Held while a request is sent, so that they go out whole and in the order of the journal."""
        self._journal = Journal()
        self._writing = threading.Lock()
        """Guards the journal, the breaker and our standing."""
        self._gateway = gateway
        self._standing = Standing(random.random)
        self._link: Link | None = None
        self._reconnection = Reconnection(timeout, random.random)
        self._breaker = Breaker(timeout, random.random)
        self._cause = "There is no connection"
        self._connecting = threading.Lock()
        """Held by the one thread that connects, for all of them."""
        self._closed = threading.Event()

    def perform(self, request: Request[R]) -> R:
        """The result of ``request``.

        Raises:
            SessiondError: what the service answered, or ``RequestTimeout`` or ``Unavailable``.
        """
        waiter = self._waiter(request, self._timeout + request.patience)
        if not self._breaker.is_calm:
            waiter.frame = self._probe(request) + waiter.frame
            waiter.token = self._breaker.token
        try:
            reply = self._exchange(waiter)
        except TimeoutError:
            self._timed_out(waiter)
            raise request.timed_out(self._timeout + request.patience) from None
        finally:
            if request.session is not None:
                with self._writing:
                    self._journal.done(request)
        return request.read(reply)

    def perform_all(self, requests_: Sequence[Request[Any]]) -> list[Any]:
        """The results of requests that are sent together; in place of one that failed its error.

        Raises:
            Unavailable: the circuit is open.
        """
        outcomes: list[Any] = [None] * len(requests_)
        left: dict[int, Waiter] = {}
        ahead = b"" if self._breaker.is_calm else self._probe(requests_[0])
        for place, request in enumerate(requests_):
            try:
                left[place] = self._waiter(request, self._timeout)
            except SessiondError as error:
                outcomes[place] = error
                continue
            left[place].frame, ahead = ahead + left[place].frame, b""
        while left:
            self._exchange_all(left, outcomes)
        with self._writing:
            for request in requests_:
                self._journal.done(request)
        return outcomes

    def _exchange_all(self, left: dict[int, Waiter], outcomes: list[Any]) -> None:
        """Send what is ``left``, and keep there what is to be sent again because the connection was lost."""
        waiters = list(left.values())
        replies: list[Reply | Exception]
        try:
            replies = [*self._link_for(waiters[0]).exchange_all(waiters)]
        except (OSError, SessiondError) as error:  # holds for all of them
            replies = [error] * len(waiters)
        for (place, waiter), reply in zip(list(left.items()), replies, strict=True):
            outcome = self._outcome(waiter, reply)
            if outcome is not _AGAIN:
                outcomes[place] = outcome
                del left[place]

    def _outcome(self, waiter: Waiter, reply: Reply | Exception) -> Any:
        """The result or the error to tell; ``_AGAIN`` if the request is to be sent again."""
        request = waiter.request
        try:
            if isinstance(reply, Reply):
                return request.read(reply)
            if isinstance(reply, ConnectionError):
                with self._writing:
                    self._journal.check(request)
                return _AGAIN
        except SessiondError as error:
            return error
        if isinstance(reply, TimeoutError):
            self._timed_out(waiter)
            return request.timed_out(self._timeout)
        return reply

    def close(self) -> None:
        """Close the connection; requests under way and later ones raise ``Unavailable``."""
        self._closed.set()
        if self._link is not None:
            self._link.fail("The client is closed")

    def abandon(self) -> None:
        """Let go of what belongs to the process from which this one was forked off."""
        if self._link is not None:
            self._link.abandon()

    def _waiter(self, request: Request[Any], seconds: float) -> Waiter:
        waiter = Waiter(request, next(self._ids) & MAX_MSGID, time.monotonic() + seconds)
        waiter.token = self._breaker.token
        return waiter

    def _probe(self, request: Request[Any]) -> bytes:
        """What goes ahead of a request once one has timed out: a ping, which a service that is well answers at once.

        It keeps a request that takes long for its own reason from being taken for another sign that the service hangs.

        Raises:
            Unavailable: the circuit is open, and this is not the time to probe or the probe failed.
        """
        if self._breaker.is_open:
            with self._writing:
                may_probe = self._breaker.admits_probe(time.monotonic())
            if not may_probe or not self._is_back(request):
                raise self._breaker.refusal()
        return requests.ping().encode(next(self._ids) & MAX_MSGID)

    def _is_back(self, request: Request[Any]) -> bool:
        """Whether the service answers again. A worker is not to wait for long to learn that it does not.

        Raises:
            Unavailable: it cannot even be reached, and no longer hangs.
        """
        waiter = self._waiter(requests.ping(), self._timeout * PROBE_SHARE)
        try:
            self._exchange(waiter)
        except TimeoutError:
            self._timed_out(waiter)
        except Unavailable:
            self._breaker.lost()
            raise self._unreachable(request) from None
        return not self._breaker.is_open

    def _hear(self) -> None:
        """Something has come from the service, and it was no garbage."""
        if self._reconnection.is_trying:
            self._reconnection.answered()
        if self._breaker.is_calm:
            self._breaker.hear()
        else:
            with self._writing:
                self._breaker.hear()

    def _timed_out(self, waiter: Waiter) -> None:
        with self._writing:
            self._breaker.timed_out(waiter.token, time.monotonic())

    def _exchange(self, waiter: Waiter) -> Reply:
        """Send the request until there is an answer to it."""
        while True:
            try:
                reply = self._link_for(waiter).exchange(waiter)
            except ConnectionError:
                with self._writing:
                    self._journal.check(waiter.request)
                continue
            return reply

    def _link_for(self, waiter: Waiter) -> Link:
        link = self._link
        return self._connected(waiter) if link is None or link.lost is not None else link

    def _allow(self, request: Request[Any]) -> None:
        with self._writing:
            self._journal.send(request)

    def _connected(self, waiter: Waiter) -> Link:
        """A link, made by this thread or meanwhile by another one."""
        while True:
            if self._closed.is_set():
                raise waiter.request.unavailable("The client is closed")
            now = time.monotonic()
            self._standing.check(now)
            if self._reconnection.is_given_up(now):
                raise self._unreachable(waiter.request)
            if not self._connecting.acquire(timeout=max(0.0, waiter.left())):
                raise self._unreachable(waiter.request)
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
            raise self._unreachable(waiter.request)
        if self._closed.wait(pause):
            return
        seconds = waiter.left()
        if reconnection.is_away(now):
            seconds = min(seconds, self._timeout * PROBE_SHARE)
        reconnection.begun(time.monotonic())
        try:
            self._link = self._open(max(0.001, seconds), waiter.deadline)
        except SessiondError as error:
            with self._writing:
                self._standing.refused(error, time.monotonic())
        except Exception as error:  # noqa: BLE001  (whatever it is, the service cannot be reached)
            self._cause = str(error) or "No answer came"
        finally:
            if self._link is None:
                reconnection.failed(time.monotonic())
            elif self._closed.is_set():
                self._link.fail("The client is closed")

    def _open(self, seconds: float, deadline: float) -> Link:
        """Connect within ``seconds``, and register until ``deadline``.

        Raises:
            SessiondError: the service refuses to take us for the gateway that we say we are.
        """
        connection = socket.create_connection((self._host, self._port), seconds)
        link = Link(connection, self._sending, self._allow, self._hear, self._notified)
        if self._gateway is not None:
            self._register(link, self._gateway, deadline)
        return link

    def _register(self, link: Link, gateway: Registration, deadline: float) -> None:
        request = gateway.request()
        try:
            request.read(link.exchange(Waiter(request, next(self._ids) & MAX_MSGID, deadline)))
        except BaseException:
            link.fail("The gateway is not registered")
            raise
        with self._writing:
            self._standing.accepted()

    def _notified(self, notification: Notification) -> None:
        if notification.method == REPLACED and self._gateway is not None:
            with self._writing:
                self._standing.replaced()
            if self._link is not None:
                self._link.fail("Another instance has taken the place of this gateway")

    def _unreachable(self, request: Request[Any]) -> Unavailable:
        return request.unavailable(f"{self._host}:{self._port} cannot be reached: {self._cause}")
