"""The front end actor: listens, and looks after the connections of the gateways."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from typing import TYPE_CHECKING

from sessiond.actors.service import ServiceActor
from sessiond.actors.supervision import LogRate
from sessiond.transport.connection import LINGER, Connection
from sessiond.transport.methods import METHODS
from sessiond.transport.observed import Observed
from sessiond.transport.round import Round

if TYPE_CHECKING:
    from sessiond.actors.context import Context
    from sessiond.actors.errors import Internal
    from sessiond.actors.registry import RegistryActor
    from sessiond.transport.settings import Limits

__all__ = ["FrontEnd"]

logger = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections that may wait to be accepted: all the workers of a gateway connect at once when it starts."""
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A client whose host is gone holds a connection for two minutes, and no longer."""
ACCEPTING_TURNS = 3
"""Turns of the event loop in which a client that is accepted becomes a connection."""
WATCH = 1.0
"""Seconds between looks whether the listener still listens."""


class _Watch:
    """The front end's own timer."""


class FrontEnd(ServiceActor):
    """Listens on one address. Runs on the event loop's thread only."""

    name = "front_end"

    def __init__(
        self, context: Context, registry: RegistryActor, limits: Limits, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Answer from ``registry``, which has the same dispatcher, on ``loop``."""
        super().__init__(context)
        self.registry = registry
        self.limits = limits
        self.loop = loop
        self.round = Round(context.clock, loop.call_soon, context.dispatcher.call_soon)
        self.observed = Observed(METHODS)
        self._log_rate = LogRate()
        self._connections: set[Connection] = set()
        self._all_gone = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._address: tuple[str, int] | None = None
        self._is_draining = False

    async def open(self, host: str, port: int) -> int:
        """Listen on ``host`` and ``port``, 0 for any; the port.

        Raises:
            OSError: that cannot be listened on.
        """
        self._server = await self.loop.create_server(lambda: Connection(self), host, port, backlog=BACKLOG)
        for listener in self._server.sockets:
            _keep_alive(listener)
        port = self._server.sockets[0].getsockname()[1]
        self._address = (host, port)
        return port

    async def drain(self) -> None:
        """Stop listening, answer every request that was fully received, and close all connections."""
        self._address = None
        if self._server is not None:
            await _accept_all(self._server)
            self._server.close()
        self._is_draining = True
        self.registry.close_commands()
        for connection in list(self._connections):
            connection.drain()
        await asyncio.sleep(0)  # the last that were accepted join
        if self._connections:
            try:
                await asyncio.wait_for(self._all_gone.wait(), self.limits.drain_timeout + LINGER)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort("drain_timeout")

    # What connections call

    def joined(self, connection: Connection) -> None:
        """A client has connected."""
        if len(self._connections) >= self.limits.max_connections:
            connection.abort("max_connections")
        self._connections.add(connection)
        self._all_gone.clear()
        self.observed.connections = len(self._connections)
        if self._is_draining:
            connection.drain()

    def left(self, connection: Connection) -> None:
        """A client's connection is closed."""
        self._connections.discard(connection)
        self.observed.connections = len(self._connections)
        if not self._connections:
            self._all_gone.set()

    def closing(self, peer: object, reason: str, text: object = "") -> None:
        """A connection is being closed by this side."""
        self.observed.closed_for[reason] += 1
        more = self._log_rate.admits(self.loop.time())
        if more is not None:
            logger.info("Closing the connection of %s: %s %s%s", peer, reason, text, more)

    def crashed(self, error: BaseException) -> Internal:
        """A request made this front end crash; what to tell the client."""
        return self._crashed(error)

    # As an actor

    def resume(self) -> None:
        """See ``ServiceActor``: watch the listener."""
        self._tell_later(WATCH, _Watch())

    def on_receive(self, message: object) -> object:
        """See ``pykka.Actor``."""
        if not isinstance(message, _Watch):
            return super().on_receive(message)
        if self._address is not None and (self._server is None or not self._server.is_serving()):
            self._reopen = self.loop.create_task(self.open(*self._address))
            self._server = None
            raise ConnectionError("The listener stopped listening")
        self.resume()
        return None


async def _accept_all(server: asyncio.Server) -> None:
    """Return when all clients that wait to be accepted are connections; more may come meanwhile, but not for ever."""
    listeners = select.poll()
    for listener in server.sockets:
        listeners.register(listener, select.POLLIN)
    for _ in range(BACKLOG):
        if not listeners.poll(0):
            break
        await asyncio.sleep(0)
    for _ in range(ACCEPTING_TURNS):
        await asyncio.sleep(0)


def _keep_alive(listener: socket.socket) -> None:
    """Have the kernel find out when a client's host is gone; accepted sockets inherit it from the listener."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        if hasattr(socket, option):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
