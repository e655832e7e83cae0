"""The asyncio client's way to the service: one connection that many tasks share, made again when it is lost."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any, cast

import msgspec

from sessiond.actors.errors import SessiondError
from sessiond.transport.client_link import prepare
from sessiond.transport.client_repeats import Journal, Reconnection
from sessiond.transport.client_replies import Reply, ReplyStream
from sessiond.transport.codec import MAX_MSGID, NotAFrameError

if TYPE_CHECKING:
    import socket

    from sessiond.transport.client_requests import Request

__all__ = ["AsyncLine"]

CHUNK = 65_536
"""Bytes read at once: more than the answers of many requests, but for long lists."""

REQUESTS_PER_WRITE = 16
"""So many are sent at once and not only at the end of the turn: the service works on them while the rest are made."""


class _Call(msgspec.Struct, eq=False):
    """A request under way."""

    request: Request[Any]
    frame: bytes
    reply: asyncio.Future[Reply]
    deadline: float
    timer: asyncio.TimerHandle | None = None
    """Its own, if it may take longer than others."""


class _Link(asyncio.BufferedProtocol):
    """One connection. It reads into one buffer of its own: asyncio's would be a new and large one at each read."""

    def __init__(self, line: AsyncLine) -> None:
        self._line = line
        self._buffer = memoryview(bytearray(CHUNK))
        self._replies = ReplyStream()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # there is one once connected
        self.closed = asyncio.Event()
        self._reason = "The service closed the connection"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        prepare(cast("socket.socket", transport.get_extra_info("socket")))
        self._line.connected(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for reply in self._replies.feed(bytes(self._buffer[:nbytes])):
                self._line.replied(reply)
        except NotAFrameError as error:
            self._reason = f"The service sent what is no reply: {error}"
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._line.lost(self, self._reason if exc is None else str(exc))


class AsyncLine:
    """The way to the service on one event loop."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        """Connect to ``host`` and ``port`` when needed; requests take ``timeout`` seconds at most."""
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
        self._cause = "There is no connection"
        self._is_flushing = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, request: Request[Any]) -> asyncio.Future[Reply]:
        """Send ``request`` as soon as possible; its reply, or the error that there will be none.

        Raises:
            InvalidRequest: it cannot be encoded.
            Unavailable: the service has been away for too long to wait for it.
        """
        msgid = next(self._ids) & MAX_MSGID
        frame = request.encode(msgid)
        now = self.loop.time()
        if self._link is None and self._reconnection.is_given_up(now):
            raise request.unavailable(self._unreachable())
        call = _Call(request, frame, self.loop.create_future(), now + self._timeout + request.patience)
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
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._link is not None:
            self._link.transport.close()
            await self._link.closed.wait()

    # What links call

    def connected(self, link: _Link) -> None:
        """``link`` can be used."""
        self._link = link
        self._flush()

    def replied(self, reply: Reply) -> None:
        """An answer has come."""
        if self._reconnection.is_trying:
            self._reconnection.answered()
        call = self._calls.pop(reply.msgid, None)
        if call is None:  # it came too late
            return
        if call.timer is not None:
            call.timer.cancel()
        if call.request.session is not None:
            self._journal.done(call.request)
        if not call.reply.done():  # else whoever waited has been cancelled
            call.reply.set_result(reply)

    def lost(self, link: _Link, reason: str) -> None:
        """The connection is lost: fail what must not be sent again, and send the rest on the next one."""
        assert link is self._link
        self._link = None
        self._cause = reason
        self._reconnection.failed(self.loop.time())
        for msgid, call in list(self._calls.items()):
            try:
                self._journal.check(call.request)
            except SessiondError as error:
                del self._calls[msgid]
                self._fail(call, error)
        self._unsent = list(self._calls.values())
        if self._unsent:
            self._send_soon()

    # Inside

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
        overdue = []
        for msgid, call in self._calls.items():
            if call.timer is not None:
                continue
            if call.deadline > self.loop.time() and not call.reply.done():
                self._timer = self.loop.call_at(call.deadline, self._expire)
                break
            overdue.append(msgid)
        for msgid in overdue:
            call = self._calls.pop(msgid)
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
                await asyncio.sleep(reconnection.pause(self.loop.time()))
                reconnection.begun(self.loop.time())
                try:
                    async with asyncio.timeout(self._timeout):
                        await self.loop.create_connection(lambda: _Link(self), self._host, self._port)
                except Exception as error:  # noqa: BLE001  (whatever it is, those who wait must learn of it)
                    self._cause = str(error) or type(error).__name__
                    reconnection.failed(self.loop.time())
                    if reconnection.is_given_up(self.loop.time()):
                        self._fail_all(self._unreachable())
        finally:
            self._connecting = None

    def _fail_all(self, why: str) -> None:
        for call in self._calls.values():
            self._fail(call, call.request.unavailable(why))
        self._calls.clear()
        self._unsent.clear()

    def _unreachable(self) -> str:
        return f"{self._host}:{self._port} cannot be reached: {self._cause}"
