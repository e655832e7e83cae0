"""The asyncio client's way to the service: one connection that many tasks share, made again when it is lost."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec

from sessiond.actors.errors import SessiondError
from sessiond.actors.results import Registered
from sessiond.transport import client_requests as requests
from sessiond.transport.async_commands import Commands, Handler
from sessiond.transport.client_breaker import Breaker
from sessiond.transport.client_link import prepare
from sessiond.transport.client_repeats import Journal, Reconnection
from sessiond.transport.client_replies import Reply, ReplyStream
from sessiond.transport.client_requests import Request
from sessiond.transport.codec import MAX_MSGID, Call, NotAFrameError, Notification
from sessiond.transport.registration import REPLACED, Registration, Standing

__all__ = ["AsyncLine", "Listener"]

CHUNK = 65_536
"""Bytes read at once: more than the answers of many requests, but for long lists."""

REQUESTS_PER_WRITE = 16
"""So many are sent at once and not only at the end of the turn: the service works on them while the rest are made."""


class Listener:
    """Is told what happens on a client's connections, in the event loop; none of it may raise."""

    def connected(self, registered: Registered | None) -> None:
        """There is a new connection; ``registered`` is what the service said of the gateway, if it is one's."""

    def lost(self, reason: str) -> None:
        """The connection is lost."""

    def refused(self, error: SessiondError) -> None:
        """The service refuses to take the client for the gateway that it says it is."""

    def notified(self, notification: Notification) -> None:
        """The service has sent a notification."""


class _Call(msgspec.Struct, eq=False):
    """A request under way."""

    request: Request[Any]
    frame: bytes
    reply: asyncio.Future[Reply]
    deadline: float
    token: int
    """The breaker's, from when it was asked for."""
    timer: asyncio.TimerHandle | None = None
    """Its own, if it may take longer than others."""


class _Link(asyncio.BufferedProtocol):
    """One connection. It reads into one buffer of its own: asyncio's would be a new and large one at each read."""

    def __init__(self, line: AsyncLine) -> None:
        self._line = line
        self._buffer = memoryview(bytearray(CHUNK))
        self._replies = ReplyStream(self._told)
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # there is one once connected
        self.closed = asyncio.Event()
        self.reason = "The service closed the connection"
        """Why it is closed, once it is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        prepare(cast(socket.socket, transport.get_extra_info("socket")))

    def send(self, frame: bytes) -> None:
        """Send ``frame``, unless the connection is lost."""
        if not self.transport.is_closing():
            self.transport.write(frame)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self._line.received(self._replies.feed(bytes(self._buffer[:nbytes])))
        except NotAFrameError as error:
            self.reason = f"The service sent what is no reply: {error}"
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.reason = str(exc)
        self.closed.set()
        self._line.lost(self)

    def _told(self, message: Call | Notification) -> None:
        if isinstance(message, Call):
            self._line.asked(message, self.send)
        else:
            self._line.notified(message)


class AsyncLine:
    """The way to the service on one event loop."""

    def __init__(
        self,
        host: str,
        port: int,
        timeout: float,
        gateway: Registration | None,
        commands: Mapping[str, Handler],
        listeners: Sequence[Listener],
    ) -> None:
        """Connect to ``host`` and ``port`` when needed; requests take ``timeout`` seconds at most.

        Each connection is registered as the ``gateway``'s before anything else is sent on it.
        """
        self.loop = asyncio.get_running_loop()
        self._host, self._port = host, port
        self._timeout = timeout
        self._ids = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        """What is under way, by msgid, in the order of the deadlines."""
        self._unsent: list[_Call] = []
        self._journal = Journal()
        self._link: _Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._reconnection = Reconnection(timeout, random.random)
        self._breaker = Breaker(timeout, random.random)
        self._gateway = gateway
        self._standing = Standing(random.random)
        self._registering: tuple[int, asyncio.Future[Reply]] | None = None
        self._commands = Commands(commands)
        self._listeners = listeners
        self._cause = "There is no connection"
        self._is_flushing = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, request: Request[Any]) -> asyncio.Future[Reply]:
        """Send ``request`` as soon as possible; its reply, or the error that there will be none.

        Raises:
            InvalidRequest: it cannot be encoded.
            Unavailable: the service has been away for too long to wait for it, or does not answer.
            SessiondError: the service refuses to take us for the gateway that we say we are.
        """
        msgid = next(self._ids) & MAX_MSGID
        frame = request.encode(msgid)
        now = self.loop.time()
        if self._link is None:
            self._standing.check(now)
            if self._reconnection.is_given_up(now):
                raise request.unavailable(self._unreachable())
        breaker = self._breaker
        if not breaker.is_calm:
            frame = self._probe(now) + frame
        deadline = now + self._timeout + request.patience
        call = _Call(request, frame, self.loop.create_future(), deadline, breaker.token)
        self._calls[msgid] = call
        self._unsent.append(call)
        if request.patience:
            call.timer = self.loop.call_at(call.deadline, self._expire_one, msgid)
        elif self._timer is None:
            self._timer = self.loop.call_at(call.deadline, self._expire)
        self._send_soon()
        return call.reply

    async def close(self) -> None:
        """Close the connection; requests under way raise ``Unavailable``."""
        self._fail_all("The client is closed")
        self._commands.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._link is not None:
            self._link.transport.close()
            await self._link.closed.wait()

    # What links call

    def received(self, replies: Iterable[Reply]) -> None:
        """Something has come, and these answers with it."""
        calls = self._calls
        for reply in replies:
            if self._reconnection.is_trying:
                self._reconnection.answered()
            call = calls.pop(reply.msgid, None)
            if call is None:  # it came too late, or was asked for by the line itself
                self._registered(reply)
                continue
            if call.timer is not None:
                call.timer.cancel()
            if call.request.session is not None:
                self._journal.done(call.request)
            if not call.reply.done():  # else whoever waited has been cancelled
                call.reply.set_result(reply)
        self._breaker.hear()

    def asked(self, call: Call, send: Callable[[bytes], None]) -> None:
        """The service asks for something."""
        self._commands.carry_out(call, send)

    def notified(self, notification: Notification) -> None:
        """The service tells something."""
        if notification.method == REPLACED and self._gateway is not None:
            self._standing.replaced()
            self._refused()
            if self._link is not None:
                self._link.transport.close()
        for listener in self._listeners:
            listener.notified(notification)

    def lost(self, link: _Link) -> None:
        """The connection is lost: fail what must not be sent again, and send the rest on the next one."""
        if link is not self._link:  # it was never used
            if self._registering is not None and not self._registering[1].done():
                self._registering[1].set_exception(ConnectionError(link.reason))
            return
        self._link = None
        self._cause = link.reason
        self._reconnection.failed(self.loop.time())
        self._breaker.lost()
        for msgid, call in list(self._calls.items()):
            try:
                self._journal.check(call.request)
            except SessiondError as error:
                del self._calls[msgid]
                self._fail(call, error)
        self._unsent = list(self._calls.values())
        if self._unsent:
            self._send_soon()
        for listener in self._listeners:
            listener.lost(link.reason)

    # Inside

    def _probe(self, now: float) -> bytes:
        """What goes ahead of a request once one has timed out: a ping, which a service that is well answers at once.

        It keeps a request that takes long for its own reason from being taken for another sign that the service hangs.

        Raises:
            Unavailable: the circuit is open, and no probe is due.
        """
        if self._breaker.is_open and not self._breaker.admits_probe(now):
            raise self._breaker.refusal()
        return requests.ping().encode(next(self._ids) & MAX_MSGID)

    def _send_soon(self) -> None:
        """Send what is unsent, together with what else is asked for in this turn of the loop."""
        if self._link is None:
            if self._connecting is None:
                self._connecting = self.loop.create_task(self._connect())
        elif len(self._unsent) >= REQUESTS_PER_WRITE:
            self._flush()
        elif not self._is_flushing:
            self._is_flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if not self._unsent or self._link is None or self._link.transport.is_closing():
            return
        unsent, self._unsent = self._unsent, []
        frames = []
        for call in unsent:
            if call.reply.done():  # it took too long, or nobody waits any more
                continue
            self._journal.send(call.request)  # raises for nothing that ``lost`` has left
            call.request.is_sent = True
            frames.append(call.frame)
        self._link.transport.write(b"".join(frames))

    def _fail(self, call: _Call, error: SessiondError) -> None:
        if call.timer is not None:
            call.timer.cancel()
        self._journal.done(call.request)
        if not call.reply.done():
            call.reply.set_exception(error)

    def _expire(self) -> None:
        """Fail what is overdue. One timer is enough: calls without one of their own are in order of their deadlines."""
        self._timer = None
        now = self.loop.time()
        overdue = []
        for msgid, call in self._calls.items():
            if call.timer is not None:
                continue
            if call.deadline > now and not call.reply.done():
                self._timer = self.loop.call_at(call.deadline, self._expire)
                break
            overdue.append(msgid)
        for msgid in overdue:
            call = self._calls.pop(msgid)
            if self._link is not None and call.deadline <= now:
                self._breaker.timed_out(call.token, now)
            self._fail(call, self._too_late(call.request))

    def _expire_one(self, msgid: int) -> None:
        call = self._calls.pop(msgid, None)
        if call is not None:
            self._fail(call, self._too_late(call.request))

    def _too_late(self, request: Request[Any]) -> SessiondError:
        return (
            request.unavailable(self._unreachable())
            if self._link is None
            else request.timed_out(self._timeout + request.patience)
        )

    async def _connect(self) -> None:
        """Try to connect for as long as somebody waits for it."""
        reconnection = self._reconnection
        try:
            while self._link is None and self._calls:
                if self._standing.is_replaced:
                    self._fail_refused()
                    return
                await asyncio.sleep(reconnection.pause(self.loop.time()))
                reconnection.begun(self.loop.time())
                try:
                    async with asyncio.timeout(self._timeout):
                        registered = await self._open()
                except SessiondError as error:
                    reconnection.failed(self.loop.time())
                    self._standing.refused(error, self.loop.time())
                    self._refused()
                except Exception as error:  # noqa: BLE001  (whatever it is, those who wait must learn of it)
                    self._cause = str(error) or type(error).__name__
                    reconnection.failed(self.loop.time())
                    if reconnection.is_given_up(self.loop.time()):
                        self._fail_all(self._unreachable())
                else:
                    self._flush()
                    for listener in self._listeners:
                        listener.connected(registered)
        finally:
            self._connecting = None

    async def _open(self) -> Registered | None:
        """Make a connection, which can be used from now on; what the service says of our gateway.

        Raises:
            SessiondError: the service refuses it.
        """
        _, link = await self.loop.create_connection(lambda: _Link(self), self._host, self._port)
        registered = None
        try:
            if self._gateway is not None:
                registered = await self._register(link, self._gateway)
        except BaseException:
            link.transport.abort()
            raise
        if link.closed.is_set():
            raise ConnectionError(link.reason)
        self._link = link
        return registered

    async def _register(self, link: _Link, gateway: Registration) -> Registered:
        request, msgid = gateway.request(), next(self._ids) & MAX_MSGID
        link.send(request.encode(msgid))
        self._registering = (msgid, self.loop.create_future())
        try:
            registered = request.read(await self._registering[1])
        finally:
            self._registering = None
        self._standing.accepted()
        return registered

    def _registered(self, reply: Reply) -> None:
        """An answer has come that no request waits for; perhaps our registration does."""
        if self._registering is not None and self._registering[0] == reply.msgid and not self._registering[1].done():
            self._registering[1].set_result(reply)

    def _refused(self) -> None:
        """We are not taken for the gateway that we say we are: nothing is to be done in its name."""
        self._fail_refused()
        for listener in self._listeners:
            listener.refused(self._standing.refusal())

    def _fail_refused(self) -> None:
        for call in self._calls.values():
            self._fail(call, self._standing.refusal())
        self._calls.clear()
        self._unsent.clear()

    def _fail_all(self, why: str) -> None:
        for call in self._calls.values():
            self._fail(call, call.request.unavailable(why))
        self._calls.clear()
        self._unsent.clear()

    def _unreachable(self) -> str:
        return f"{self._host}:{self._port} cannot be reached: {self._cause}"
