"""A POST to one server and its answer, within a time that nothing a server does can stretch."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import SplitResult

import h11

from sessiond.records.sink import Failed, Interrupted

__all__ = ["Answer", "Poster"]

MAX_BODY = 65_536
"""Bytes of an answer's body; nobody reads more than its beginning."""
_CHUNK = 65_536


class Answer(NamedTuple):
    """What a server has answered."""

    status: int
    retry_after: str | None
    body: bytes


class Poster:
    """Sends requests to one server, over one connection for as long as that lasts."""

    def __init__(self, url: SplitResult, tls: ssl.SSLContext | None, timeout: float, now: Callable[[], float]) -> None:
        """Send to ``url``, by ``tls`` if it is https.

        Args:
            url: where to.
            tls: how servers are verified.
            timeout: seconds for a request and its answer, all in all.
            now: reads a monotonic clock.
        """
        self._host = url.hostname or ""
        self._port = url.port or (80 if tls is None else 443)
        self._netloc = url.netloc
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._tls = tls
        self._timeout = timeout
        self._now = now
        self._until = 0.0
        self._socket: socket.socket | None = None
        self._protocol = h11.Connection(h11.CLIENT)
        self._is_interrupted = False

    def post(self, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        """The answer to a POST of ``body``.

        Raises:
            Failed: there is none.
            Interrupted: see ``interrupt``.
        """
        self._until = self._now() + self._timeout
        try:
            answer = self._exchange([("Host", self._netloc), *headers, ("Content-Length", str(len(body)))], body)
        except (OSError, UnicodeError, h11.ProtocolError) as error:
            self.close()
            if self._is_interrupted:
                raise Interrupted from None
            raise Failed(_text(error)) from None
        self._end_cycle()
        return answer

    def interrupt(self) -> None:
        """Have the request that is under way, and any later one, fail. From any thread."""
        self._is_interrupted = True
        if (connected := self._socket) is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # not TLS's, which is for the other thread

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, headers: list[tuple[str, str]], body: bytes) -> Answer:
        if self._socket is not None and _says_something(self._socket):
            self.close()  # without having been asked: goodbye
        connected = self._socket or self._connect()
        if self._is_interrupted:
            raise InterruptedError
        request = h11.Request(method="POST", target=self._target, headers=headers)
        pieces = [self._protocol.send(event) or b"" for event in (request, h11.Data(body), h11.EndOfMessage())]
        with contextlib.suppress(ConnectionError):  # a server that stops to read may have said why
            self._send(connected, b"".join(pieces))
        return self._receive(connected)

    def _connect(self) -> socket.socket:
        connected = socket.create_connection((self._host, self._port), self._remaining())
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = connected  # by now it can be interrupted
            if self._tls is not None:
                connected.settimeout(self._remaining())
                self._socket = connected = self._tls.wrap_socket(connected, server_hostname=self._host)
        except BaseException:
            connected.close()
            self._socket = None
            raise
        self._protocol = h11.Connection(h11.CLIENT)
        return connected

    def _send(self, connected: socket.socket, data: bytes) -> None:
        left = memoryview(data)
        while left:
            connected.settimeout(self._remaining())
            left = left[connected.send(left[:_CHUNK]) :]

    def _receive(self, connected: socket.socket) -> Answer:
        answer: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                connected.settimeout(self._remaining())
                self._protocol.receive_data(connected.recv(_CHUNK))
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                body += event.data
            if answer is not None and (isinstance(event, h11.EndOfMessage) or len(body) > MAX_BODY):
                named = {name: value.decode("latin-1") for name, value in answer.headers}
                return Answer(answer.status_code, named.get(b"retry-after"), bytes(body))

    def _end_cycle(self) -> None:
        """Keep the connection if the next request can go over it."""
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        else:
            self.close()

    def _remaining(self) -> float:
        remaining = self._until - self._now()
        if remaining <= 0:
            raise TimeoutError
        return remaining


def _says_something(connected: socket.socket) -> bool:
    polled = select.poll()
    polled.register(connected, select.POLLIN)
    return bool(polled.poll(0))


def _text(error: Exception) -> str:
    """What went wrong, for people."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is refused: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
