"""A small HTTP server: a few pages for operators, and no client that can keep another from them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

import h11

__all__ = ["Answer", "HttpServer", "Route"]

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
"""More are closed as they come; a Prometheus and a few probes need a handful."""
MAX_HEAD = 8192
"""Bytes of a request's line and headers."""
REQUEST_SECONDS = 5.0
"""In which a request that has begun must be whole."""
IDLE_SECONDS = 30.0
"""For which a connection stays open without a request."""
WRITE_SECONDS = 10.0
"""In which a client must have taken an answer off us."""


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Route = Callable[[str], Awaitable[Answer]]
"""Answers a GET of a path, told which content types the client accepts."""


class HttpServer:
    """Serves GET and HEAD on HTTP/1.1, each connection by a task of its own."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        """Answer the paths in ``routes``, and say of all others that they are not there."""
        self._routes = routes
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int) -> int:
        """Listen on ``host`` and ``port``, 0 for any; the port.

        Raises:
            OSError: that cannot be listened on.
        """
        self._server = await asyncio.start_server(self._connected, host, port, limit=MAX_HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and close every connection, in the midst of an answer too."""
        if self._server is not None:
            self._server.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._conversations) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        conversation = asyncio.create_task(_Conversation(self._routes, reader, writer).run())
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)


class _Conversation:
    """One client's requests and their answers, one after the other."""

    def __init__(self, routes: Mapping[str, Route], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._routes = routes
        self._reader = reader
        self._writer = writer
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._has_asked = False
        """Only who has asked before may take its time to ask again."""

    async def run(self) -> None:
        """Answer until the client has no more requests, or breaks a rule."""
        self._writer.transport.set_write_buffer_limits(high=0)  # so that drain waits until all is sent
        try:
            with contextlib.suppress(OSError):  # the client is gone, or was too slow: a TimeoutError is one too
                await self._answer_all()
        finally:
            self._writer.transport.abort()

    async def _answer_all(self) -> None:
        try:
            while (request := await self._next_request()) is not None:
                answer = await self._answer(request)
                await self._send(answer, with_body=request.method != b"HEAD")
                if self._protocol.our_state is not h11.DONE:
                    return
                self._protocol.start_next_cycle()
                await asyncio.sleep(0)  # nothing above need have waited, if the client pipelines
        except h11.RemoteProtocolError as error:
            error.__traceback__ = None  # its frames hold the error: a cycle, and nobody collects old ones
            if self._protocol.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                refusal = Answer(error.error_status_hint, f"{error}\n".encode(), headers=(("Connection", "close"),))
                await self._send(refusal, with_body=True)

    async def _next_request(self) -> h11.Request | None:
        """The next request, its body (which means nothing here) read and dropped; None if the client is gone."""
        if not self._protocol.trailing_data[0]:
            async with asyncio.timeout(IDLE_SECONDS if self._has_asked else REQUEST_SECONDS):
                await self._receive()
            self._has_asked = True
        request = None
        async with asyncio.timeout(REQUEST_SECONDS):
            while True:
                event = self._protocol.next_event()
                if event is h11.NEED_DATA:
                    await self._receive()
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.EndOfMessage):
                    return request
                elif isinstance(event, h11.ConnectionClosed):
                    return None

    async def _receive(self) -> None:
        self._protocol.receive_data(await self._reader.read(MAX_HEAD))

    async def _answer(self, request: h11.Request) -> Answer:
        path = request.target.partition(b"?")[0].decode("ascii")
        route = self._routes.get(path)
        if route is None:
            return Answer(404, f"There are {', '.join(self._routes)}\n".encode())
        if request.method not in {b"GET", b"HEAD"}:
            return Answer(405, b"GET and HEAD only\n", headers=(("Allow", "GET, HEAD"),))
        accepted = b",".join(value for name, value in request.headers if name == b"accept")
        try:
            return await route(accepted.decode("latin-1"))
        except Exception:
            logger.exception("No answer to GET %s", path)
            return Answer(500, b"See the service's log\n")

    async def _send(self, answer: Answer, *, with_body: bool) -> None:
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *answer.headers,
        ]
        reason = HTTPStatus(answer.status).phrase
        events: list[h11.Event] = [h11.Response(status_code=answer.status, headers=headers, reason=reason)]
        if with_body:
            events.append(h11.Data(answer.body))
        events.append(h11.EndOfMessage())
        self._writer.writelines([self._protocol.send(event) or b"" for event in events])
        async with asyncio.timeout(WRITE_SECONDS):
            await self._writer.drain()
