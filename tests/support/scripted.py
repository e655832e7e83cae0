"""A peer of a client that says what a test has written, and keeps what it heard."""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

__all__ = ["PATIENCE", "Refusal", "Scripted", "scripted"]

PATIENCE = 20
"""Seconds after which a test that waits has failed. No test that passes waits for so long."""


class Refusal(Exception):
    """The error with which a request is answered."""

    def __init__(self, code: str, **details: Any) -> None:
        super().__init__(code)
        self.error = [1, f"Refused: {code}", {"code": code, **details}]


class Scripted:
    """Takes connections and answers what comes on them: each method by what ``methods`` has for it.

    A method that it has nothing for is answered with nil; one that returns ``Scripted.SILENCE`` is not answered.
    """

    SILENCE = object()

    def __init__(self, methods: dict[str, Callable[..., Any]]) -> None:
        self.methods = methods
        self.heard: list[list[tuple[str, Any]]] = []
        """What came on each connection: methods with their parameters."""
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._msgids = itertools.count(1)
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def ask(self, method: str, *params: Any) -> tuple[Any, Any]:
        """The error and the result with which the client answers on its newest connection."""
        self.post(next(self._msgids), method, *params)
        return self.answer()

    def post(self, msgid: int, method: str, *params: Any) -> None:
        """Ask, and do not wait."""
        self._connections[-1].sendall(msgpack.packb([0, msgid, method, params]))

    def answer(self) -> tuple[Any, Any]:
        """The next answer of the client."""
        _, _, error, result = self._answers.get(timeout=PATIENCE)
        return error, result

    def notify(self, method: str, *params: Any) -> None:
        self._connections[-1].sendall(msgpack.packb([2, method, params]))

    def cut(self) -> None:
        """Close all connections."""
        for each in self._connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(PATIENCE)
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)
        for each in (self._listener, *self._connections):
            each.close()

    def _start(self, run: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, name="scripted")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self.heard.append([])
                self._start(self._serve, connection, self.heard[-1])

    def _serve(self, connection: socket.socket, heard: list[tuple[str, Any]]) -> None:
        unpacker = msgpack.Unpacker()
        with contextlib.suppress(OSError):
            while data := connection.recv(65_536):
                unpacker.feed(data)
                for message in unpacker:
                    self._take(connection, heard, message)

    def _take(self, connection: socket.socket, heard: list[tuple[str, Any]], message: Any) -> None:
        if message[0] == 1:
            self._answers.put(message)
            return
        _, msgid, method, params = message
        heard.append((method, params))
        try:
            error, result = None, self.methods.get(method, lambda *_: None)(*params)
        except Refusal as refusal:
            error, result = refusal.error, None
        if result is not self.SILENCE:
            connection.sendall(msgpack.packb([1, msgid, error, result]))


@contextlib.contextmanager
def scripted(**methods: Callable[..., Any]) -> Iterator[Scripted]:
    """A peer that answers so, until the block ends."""
    peer = Scripted({"ping": lambda: "pong", **methods})
    try:
        yield peer
    finally:
        peer.close()
