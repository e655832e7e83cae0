"""The methods ``watch`` and ``unwatch``, and how what is watched goes to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from sessiond.actors import params as p
from sessiond.actors.errors import LimitExceeded, NotFound
from sessiond.actors.events import Event, GatewayChanged, SessionChanged, WatchDropped, WatchReady
from sessiond.transport.codec import NOTIFICATION, encode
from sessiond.transport.method import Method, Positional

if TYPE_CHECKING:
    from sessiond.actors.herald import HeraldActor
    from sessiond.actors.registry import RegistryActor
    from sessiond.actors.results import Watched
    from sessiond.transport.peer import Peer

__all__ = ["MAX_WATCHES_PER_CONNECTION", "NOTIFICATIONS", "WATCH_METHODS", "Watcher"]

MAX_WATCHES_PER_CONNECTION = 16
"""More than that is better watched as one, and told apart by the client."""

NOTIFICATIONS: dict[type, str] = {
    SessionChanged: "session_changed",
    GatewayChanged: "gateway_changed",
    WatchReady: "watch_ready",
    WatchDropped: "watch_dropped",
}
"""The events by the names of their notifications."""


class Watch(Positional, frozen=True):
    query: p.WatchQuery | None = None


class Unwatch(Positional, frozen=True):
    watch: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Watcher:
    """The client of one connection as the audience of its watches."""

    encodes = True

    def __init__(self, peer: Peer, herald: HeraldActor) -> None:
        """Watch nothing yet."""
        self.watches: set[int] = set()
        """Its watches, by number."""
        self._peer = peer
        self._herald = herald
        self._frames: list[bytes] = []
        peer.when_lost(self._lost)
        peer.when_writable(herald.wake)

    @property
    def is_ready(self) -> bool:
        """See ``Audience``."""
        return self._peer.is_writable

    def tell(self, event: Event) -> None:
        """See ``Audience``."""
        self._frames.append(encode((NOTIFICATION, NOTIFICATIONS[event.__class__], (event,))))
        if event.__class__ is WatchDropped:
            self.watches.discard(event.watch)

    def flush(self) -> None:
        """See ``Audience``: all that was told in one turn is written at once."""
        if self._frames:
            self._peer.send(b"".join(self._frames))
            self._frames.clear()

    def _lost(self) -> None:
        self._peer.watcher = None
        for number in self.watches:
            self._herald.unwatch(number)


def _watch(registry: RegistryActor, call: Watch, peer: Peer) -> Watched:
    watcher = peer.watcher
    if watcher is None:
        watcher = peer.watcher = Watcher(peer, registry.herald)
    if len(watcher.watches) >= MAX_WATCHES_PER_CONNECTION:
        limit = {"limit": "watches_per_connection", "maximum": MAX_WATCHES_PER_CONNECTION}
        raise LimitExceeded("As many watches of one connection as may be", **limit)
    watched = registry.herald.watch(call.query or _EVERYTHING, watcher)
    watcher.watches.add(watched.watch)
    return watched


def _unwatch(registry: RegistryActor, call: Unwatch, peer: Peer) -> dict[str, Any]:
    watcher = peer.watcher
    if watcher is None:
        raise NotFound("No such watch", watch=call.watch)
    registry.herald.unwatch(call.watch, watcher)
    watcher.watches.discard(call.watch)
    return {}


_EVERYTHING = p.WatchQuery()

WATCH_METHODS: dict[str, Method[Any]] = {
    "watch": Method(Watch, _watch, needs_peer=True),
    "unwatch": Method(Unwatch, _unwatch, needs_peer=True),
}
