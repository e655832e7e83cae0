"""The wire as a stranger speaks it: bytes on a socket, with nothing of the service's own code in between."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator
from typing import Any

import msgpack

__all__ = ["PATIENCE", "Peer", "notification", "peer", "request"]

PATIENCE = 20
"""Seconds after which a test that waits has failed. No test that passes waits for so long."""


def request(msgid: Any, method: Any, *params: Any) -> bytes:
    """The bytes of a request."""
    return msgpack.packb([0, msgid, method, params])


def notification(method: Any, *params: Any) -> bytes:
    """The bytes of a notification."""
    return msgpack.packb([2, method, params])


class Peer:
    """One connection."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unpacker = msgpack.Unpacker()
        self._msgids = itertools.count(1)

    def send(self, *pieces: bytes) -> None:
        self.socket.sendall(b"".join(pieces))

    def finish(self) -> None:
        """Send the end of the stream; answers can still be received."""
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self) -> list[Any]:
        """The next message."""
        for message in self._unpacker:
            return message
        data = self.socket.recv(65_536)
        assert data, "the service has closed the connection"
        self._unpacker.feed(data)
        return self.receive()

    def receive_many(self, count: int) -> list[list[Any]]:
        return [self.receive() for _ in range(count)]

    def batches(self) -> Iterator[list[list[Any]]]:
        """The messages that have come, as many at once as there are, up to the end of the stream."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65_536):
                self._unpacker.feed(data)
                yield list(self._unpacker)

    def rest(self) -> list[list[Any]]:
        """All messages up to the end of the stream, which the service has to send."""
        return [message for batch in self.batches() for message in batch]

    def ask(self, method: Any, *params: Any) -> tuple[Any, Any]:
        """The error and the result that a request is answered with."""
        msgid = next(self._msgids)
        self.send(request(msgid, method, *params))
        kind, answered, error, result = self.receive()
        assert (kind, answered) == (1, msgid)
        return error, result

    def call(self, method: Any, *params: Any) -> Any:
        """The result of a request that succeeds."""
        error, result = self.ask(method, *params)
        assert error is None
        return result

    def refusal(self, method: Any, *params: Any) -> dict[str, Any]:
        """The details, the code among them, of the error of a request that fails as it should."""
        error, result = self.ask(method, *params)
        assert result is None
        fault, text, details = error
        assert fault in {0, 1}
        assert isinstance(text, str)
        assert text
        return details

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def peer(port: int, **options: Any) -> Iterator[Peer]:
    """A connection until the block ends."""
    connected = Peer(port, **options)
    try:
        yield connected
    finally:
        connected.close()
