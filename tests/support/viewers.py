"""Those who watch a still service: a client's own half of a watch over connections that come and go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgpack
from still_service import StillService

from sessiond.actors.events import SnapshotBegins
from sessiond.actors.mirror import Mirror
from sessiond.actors.record import Session
from sessiond.transport.client_following import FollowedEvent, Follower

__all__ = ["Viewer", "lasting", "viewing"]

PASSING = ("last_activity_at", "expires_at")
"""What a touch changes, which nobody is told of."""


def lasting(session: Session) -> dict[str, Any]:
    """What of a session a watcher knows."""
    return {name: getattr(session, name) for name in Session.__struct_fields__ if name not in PASSING}


class Viewer:
    """Follows a watch, and makes of it what there is."""

    def __init__(self, service: StillService, **filters: Any) -> None:
        self._service = service
        self._filters = filters
        self.snapshots = 0
        self.gaps = 0
        self.forget()
        self.connect()

    def forget(self) -> None:
        """Know nothing any more, as after a restart of the watcher; the next connection begins anew."""
        self.follower = Follower(self._filters)
        self.mirror = Mirror()
        self.events: list[FollowedEvent] = []

    def connect(self) -> None:
        """Watch over a new connection."""
        self.socket = self._service.connect()
        self.follower.connected()
        self._send()

    def take(self, most: int | None = None) -> None:
        """Read so many bytes of what has come, or all of it."""
        data = b"".join(self.socket.written)
        most = len(data) if most is None else most
        self.socket.written[:] = [data[most:]] if data[most:] else []
        self.events += (events := self.follower.feed(data[:most]))
        for event in events:
            self.mirror.apply(event)
            if isinstance(event, SnapshotBegins):
                self.snapshots += 1
                self.gaps += event.gap
        self._send()

    def cut(self) -> None:
        """The connection is lost, and with it whatever came over it and was not read."""
        if not self.socket.protocol._is_closed:
            self.socket.protocol.connection_lost(None)
            self.socket.drop()

    @property
    def unread(self) -> int:
        """Bytes that have come and were not read."""
        return sum(map(len, self.socket.written))

    def sent(self) -> list[Any]:
        """The messages that have come and were not read."""
        unpacker = msgpack.Unpacker()
        unpacker.feed(b"".join(self.socket.written))
        return list(unpacker)

    def _send(self) -> None:
        unsent, self.follower.unsent = self.follower.unsent, b""
        if unsent:
            self.socket.protocol.data_received(unsent)


@contextlib.contextmanager
def viewing(service: StillService, *filters: dict[str, Any]) -> Iterator[list[Viewer]]:
    """A viewer for each of the ``filters`` until the block ends."""
    viewers = [Viewer(service, **each) for each in filters]
    try:
        yield viewers
    finally:
        for viewer in viewers:
            viewer.cut()
