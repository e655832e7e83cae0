"""A proxy between a client and a service that does to their connections what a test says, when it says so."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

__all__ = ["Cut", "Proxy", "cut", "first", "noticed", "passing", "proxying", "swallowing"]

Filter: TypeAlias = Callable[[bytes], bytes]
"""What becomes of bytes on their way. It may wait, and it may raise ``Cut``."""


class Cut(Exception):
    """Close the connection on both sides, after ``last`` has been passed on."""

    def __init__(self, last: bytes = b"") -> None:
        super().__init__()
        self.last = last


def passing(data: bytes) -> bytes:
    """Everything passes."""
    return data


def swallowing(data: bytes) -> bytes:
    """Nothing passes."""
    return b""


def first(*filters: Filter, then: Filter = passing) -> Filter:
    """What comes first goes through the first of ``filters`` and so on, all else through ``then``."""
    left = iter(filters)

    def in_turn(data: bytes) -> bytes:
        return next(left, then)(data)

    return in_turn


def cut(data: bytes) -> bytes:
    """Nothing passes, and the connection is closed."""
    raise Cut


def noticed(event: threading.Event, do: Filter) -> Filter:
    """``do``, and set ``event`` when something comes."""

    def notice(data: bytes) -> bytes:
        event.set()
        return do(data)

    return notice


class Proxy:
    """Passes on what a client and the service on ``upstream`` say, each through a filter of its own."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.to_service: Filter = passing
        self.to_client: Filter = passing
        self.connections = 0
        """How many there have been."""
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._pumps: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="proxy")
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def open(self) -> None:
        """Take connections. Before that they are refused."""
        self._listener.listen()
        self._acceptor.start()

    def cut(self) -> None:
        """Close all connections."""
        for pair in self._pairs:
            _close(*pair)

    def close(self) -> None:
        """Close all connections and take no more."""
        with contextlib.suppress(OSError):  # it never listened
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._acceptor.ident is not None:
            self._acceptor.join()
        self.cut()
        for pump in self._pumps:
            pump.join()
        for each in (self._listener, *itertools.chain(*self._pairs)):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is shut down
            while True:
                client, _ = self._listener.accept()
                service = socket.create_connection(("127.0.0.1", self.upstream))
                self.connections += 1
                self._pairs.append((client, service))
                self._pump(client, service, "to_service")
                self._pump(service, client, "to_client")

    def _pump(self, source: socket.socket, sink: socket.socket, way: Literal["to_service", "to_client"]) -> None:
        pump = threading.Thread(target=self._pass, args=(source, sink, way), name="proxy")
        pump.start()
        self._pumps.append(pump)

    def _pass(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):  # cut meanwhile
            while data := source.recv(65_536):
                try:
                    sink.sendall(getattr(self, way)(data))
                except Cut as cut:
                    sink.sendall(cut.last)
                    break
        _close(source, sink)


def _close(*sockets: socket.socket) -> None:
    """Close for good; the descriptors stay until no thread can be using them."""
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxying(upstream: int) -> Iterator[Proxy]:
    """An open proxy, until the block ends."""
    proxy = Proxy(upstream)
    proxy.open()
    try:
        yield proxy
    finally:
        proxy.close()
