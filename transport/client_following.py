"""How a client follows a watch over any number of connections: what to ask on each, and what the answers mean.

Decided here, done by ``client_watch`` and ``async_watch``. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from sessiond.actors.arguments import FilterArguments
from sessiond.actors.errors import CallerError, Internal, SessiondError
from sessiond.actors.events import GatewayChanged, SessionChanged, SnapshotBegins, WatchDropped, WatchReady
from sessiond.actors.results import Watched
from sessiond.transport.client_replies import UNREADABLE, Reply, ReplyStream
from sessiond.transport.client_requests import Request
from sessiond.transport.codec import Call, Notification

__all__ = ["HEARTBEAT", "FollowedEvent", "Follower"]

HEARTBEAT = 15.0
"""Seconds without a word after which the service is asked whether it is there: it has nothing to say where nothing
changes, and a host that is gone says nothing either."""

FollowedEvent: TypeAlias = SessionChanged | GatewayChanged | SnapshotBegins | WatchReady

_PING = 0
"""The msgid of pings."""


def _decoder(kind: Any) -> Callable[[msgspec.Raw], tuple[Any]]:
    return msgspec.msgpack.Decoder(tuple[kind]).decode


_EVENTS = {
    "session_changed": _decoder(SessionChanged),
    "gateway_changed": _decoder(GatewayChanged),
    "watch_ready": _decoder(WatchReady),
    "watch_dropped": _decoder(WatchDropped),
}
_watched = msgspec.msgpack.Decoder(Watched).decode


class Follower:
    """Where a watch is, and what comes next."""

    def __init__(self, filters: FilterArguments) -> None:
        """Follow what matches ``filters``.

        Raises:
            InvalidRequest: they cannot be encoded.
        """
        self._filters = filters
        self._number: int | None = None
        """The last change that was told, None unless everything that there was then was told as well."""
        self._instance: str | None = None
        self._watch: int | None = None
        self._msgid = _PING
        self._request = self._ask()
        self._replies = ReplyStream(self._told)
        self._events: list[FollowedEvent] = []
        self.has_begun = False
        """Whether the service has ever answered to the watch."""
        self.error: SessiondError | None = None
        """Why it is over, behind the events that were fed last."""
        self.unsent = b""
        """What is to be sent; whoever sends it clears it."""

    def connected(self) -> None:
        """A connection begins."""
        self._replies = ReplyStream(self._told)
        self._watch = None
        self.unsent = b""
        self._watch_on()

    def ping(self) -> None:
        """Nothing has come for a while."""
        self.unsent += Request("ping", (), msgspec.msgpack.decode).encode(_PING)

    def feed(self, data: bytes) -> list[FollowedEvent]:
        """Take in what arrived; what it tells.

        Raises:
            NotAFrameError: the bytes are no messages.
            ServiceError: the service cannot be watched now; another connection may do better.
        """
        self._events = []
        for reply in self._replies.feed(data):
            if reply.msgid == self._msgid:
                self._begun(reply)
        return self._events

    def _ask(self) -> Request[Watched]:
        query: dict[str, Any] = {**self._filters}
        if self._number is not None:
            query |= {"from": self._number, "instance": self._instance}
        return Request("watch", (query,), _watched)

    def _watch_on(self) -> None:
        """Ask for what comes after what was told."""
        self._msgid += 1
        self._request = self._ask()
        self.unsent += self._request.encode(self._msgid)

    def _begun(self, reply: Reply) -> None:
        try:
            watched = self._request.read(reply)
        except CallerError as error:
            self.error = error
            return
        except SessiondError as error:
            if not self.has_begun:
                self.error = error
                return
            raise
        self.has_begun = True
        self._watch, self._instance = watched.watch, watched.instance
        if self._number is None or watched.gap:
            self._events.append(SnapshotBegins(watched.gap))
            self._number = None

    def _told(self, message: Call | Notification) -> None:
        decode = _EVENTS.get(message.method)
        if decode is None or message.msgid is not None:
            return
        try:
            (event,) = decode(message.params)
        except UNREADABLE as error:
            raise Internal(f"{message.method} cannot be read: {error}") from None
        if event.watch != self._watch:
            return
        if isinstance(event, WatchDropped):
            self._number, self._watch = event.number, None
            self._watch_on()
            return
        if self._number is not None or isinstance(event, WatchReady):
            self._number = event.number
        self._events.append(event)
