"""A client as the actors see it, once it matters to them which one it is: a ``Link`` (``actors.incarnation``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sessiond.transport.asking import Asking
from sessiond.transport.codec import NOTIFICATION, Response, encode

if TYPE_CHECKING:
    from sessiond.actors.incarnation import Incarnation
    from sessiond.transport.connection import Connection
    from sessiond.transport.watch_methods import Watcher

__all__ = ["Peer"]


class Peer:
    """The client of one connection. Made when a method first asks for it; most connections never have one."""

    def __init__(self, connection: Connection) -> None:
        """Belong to no gateway yet."""
        self.heard_at = 0.0
        """See ``Link``, as for all that follow."""
        self.lease = 0.0
        self.capabilities: frozenset[str] = frozenset()
        self.incarnation: Incarnation | None = None
        self.is_lost = False
        """Whether the connection is; nothing reaches the client any more then."""
        self._connection = connection
        self.watcher: Watcher | None = None
        """Who is told what the client watches; None if it never watched anything."""
        self._asking: Asking | None = None
        """What the client is asked; None before it is asked anything."""
        self._to_tell: list[Callable[[], object]] = []
        self._to_wake: list[Callable[[], object]] = []

    @property
    def is_writable(self) -> bool:
        """Whether the client reads what is sent to it; else that waits in memory, and soon the client is given up."""
        return not self.is_lost and self._connection.is_writable

    def bind(self, incarnation: Incarnation, spoke: Callable[[], object]) -> None:
        """See ``Link``."""
        self.incarnation = incarnation
        self._connection.bind(self, spoke)

    def when_lost(self, tell: Callable[[], object]) -> None:
        """See ``Link``."""
        self._to_tell.append(tell)

    def when_writable(self, wake: Callable[[], object]) -> None:
        """Have ``wake`` called whenever the client has read on, after ``is_writable`` was false."""
        self._to_wake.append(wake)

    def notify(self, method: str, params: Sequence[object]) -> None:
        """See ``Link``."""
        self.send(encode((NOTIFICATION, method, params)))

    def send(self, frame: bytes) -> None:
        """Send a frame that is encoded already, as ``notify`` does."""
        if not self.is_lost:
            self._connection.send(frame)

    def close(self, reason: str) -> None:
        """See ``Link``."""
        if not self.is_lost:
            self._connection.dismiss(reason)

    def ask(
        self,
        method: str,
        arguments: Mapping[str, object],
        answered: Callable[[Any, Any], object],
        lost: Callable[[], object],
    ) -> Callable[[], None]:
        """See ``Link``."""
        if self.is_lost:
            lost()
            return _nothing
        if self._asking is None:
            self._asking = Asking()
            self.when_lost(self._asking.lose)
        frame, forget = self._asking.ask(method, arguments, answered, lost)
        self.send(frame)
        return forget

    def answered(self, response: Response) -> None:
        """The client has answered something; maybe what it was asked."""
        if self._asking is not None:
            self._asking.take(response)

    def lost(self) -> None:
        """The connection is lost: say so to whoever wants to know."""
        self.is_lost = True
        to_tell, self._to_tell, self._to_wake = self._to_tell, [], []
        self._call_all(to_tell)

    def writable(self) -> None:
        """The client has read on: say so to whoever waits for that."""
        self._call_all(self._to_wake)

    def _call_all(self, functions: Iterable[Callable[[], object]]) -> None:
        for function in functions:
            try:
                function()
            except Exception as error:  # noqa: BLE001  (the others are to know too)
                self._connection.crashed(error)


def _nothing() -> None:
    """There is nothing to forget."""
