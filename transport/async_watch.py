"""What ``AsyncClient.watch`` gives: an asynchronous iterator over what happens, over a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sessiond.actors.arguments import FilterArguments
from sessiond.actors.errors import ServiceError, Unavailable
from sessiond.transport.client_following import HEARTBEAT, FollowedEvent, Follower
from sessiond.transport.client_link import prepare
from sessiond.transport.client_repeats import Reconnection
from sessiond.transport.client_watch import CHUNK
from sessiond.transport.codec import NotAFrameError

if TYPE_CHECKING:
    import socket

__all__ = ["AsyncWatch"]


class AsyncWatch:
    """``ClientWatch`` for asyncio: for one task at a time, and to be waited for."""

    def __init__(self, host: str, port: int, timeout: float, filters: FilterArguments) -> None:
        """See ``ClientWatch``."""
        self._writer: asyncio.StreamWriter | None = None
        self._address = (host, port)
        self._timeout = timeout
        self._follower = Follower(filters)
        self._reconnection = Reconnection(timeout, random.random)
        self._events: deque[FollowedEvent] = deque()
        self._reader: asyncio.StreamReader | None = None
        self._is_asked = False
        self._closed = asyncio.Event()

    async def close(self) -> None:
        """See ``ClientWatch``."""
        self._closed.set()
        writer = self._writer
        self._let_go()
        if writer is not None:
            with contextlib.suppress(OSError):  # the other end was first
                await writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FollowedEvent:
        while not self._events:
            if self._closed.is_set():
                raise StopAsyncIteration
            if self._follower.error is not None:
                await self.close()
                raise self._follower.error
            try:
                self._events += await self._fetch()
            except (OSError, NotAFrameError, ServiceError) as error:
                self._lose(error)
        return self._events.popleft()

    async def _fetch(self) -> list[FollowedEvent]:
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            await self._connect()
            return []
        if self._follower.unsent:
            writer.write(self._follower.unsent)
            self._follower.unsent = b""
            self._is_asked = True
        try:
            async with asyncio.timeout(self._timeout if self._is_asked else HEARTBEAT):
                data = await reader.read(CHUNK)
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

    async def _connect(self) -> None:
        now = asyncio.get_running_loop().time
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._reconnection.pause(now())):
                await self._closed.wait()
                return
        self._reconnection.begun(now())
        async with asyncio.timeout(self._timeout):
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        connection: socket.socket = self._writer.get_extra_info("socket")
        prepare(connection)
        self._follower.connected()

    def _lose(self, error: Exception) -> None:
        self._let_go()
        now = asyncio.get_running_loop().time()
        self._reconnection.failed(now)
        if not self._follower.has_begun and self._reconnection.is_away(now):
            host, port = self._address
            raise Unavailable(f"{host}:{port} cannot be reached: {error}") from None

    def _let_go(self) -> None:
        self._reader = None
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
