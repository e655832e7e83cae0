"""A whole service and one gateway, without sockets and without time: a request is a call of a function.

Everything between the event loop and the books is what ``sessiond serve`` runs; the loop and the socket stand still.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest.mock import patch

import msgpack
from manual_clock import ManualClock
from still_loop import StillLoop, StillSocket

from sessiond.actors.context import Context
from sessiond.actors.dispatcher import LoopDispatcher
from sessiond.actors.limits import Limit
from sessiond.actors.registry import RegistryActor
from sessiond.actors.session import SessionActor
from sessiond.actors.settings import Settings, WatchSettings
from sessiond.stores.sqlite import SqliteStore
from sessiond.transport import connection
from sessiond.transport.server import FrontEnd
from sessiond.transport.settings import Limits

__all__ = ["StillService", "fields", "still_service"]

_KEPT = WatchSettings()


def fields(number: int) -> dict[str, Any]:
    """Ten fields, four keys of metadata among them, for the session of that number, as gateways set them."""
    return {
        "type": "sip",
        "gateway": f"gw-{number % 20:02}",
        "external_id": f"{number:012x}@198.51.100.7",
        "caller": f"+49{number:010}",
        "callee": f"+44{number * 7919 % 10**10:010}",
        "direction": "inbound",
        "setup_timeout": 120,
        "idle_timeout": 3600,
        "max_duration": 28_800,
        "metadata": {
            "codec": "opus",
            "trunk": "trunk-eu-3",
            "region": "eu-central-1",
            "account": f"acc-{number * 31 % 10**6:06}",
        },
    }


class StillService:
    """A service with one connection, and more if a test wants them."""

    def __init__(
        self,
        loop: StillLoop,
        session_class: type[SessionActor] = SessionActor,
        watching: WatchSettings = _KEPT,
        limits: Iterable[Limit] = (),
        store: SqliteStore | None = None,
    ) -> None:
        self.loop = loop
        self.clock = ManualClock()
        self._kept: deque[Callable[[], object]] = deque()
        self.context = Context.create(
            Settings(), LoopDispatcher(loop), self.clock, lambda _: None, limits, watching=watching
        )
        self.store = store
        if store is not None:
            store.open()
            journal = self.context.keep_in(store, is_relaxed=False)
            store._writer._keeper, store._writer._post = journal, self._kept.append
            store._writer._soon = self.context.dispatcher.call_soon
            journal.begin(0, 0)
        # Python has the instances of a class that is new take no more room than they need: those of one that was used
        # in other ways before have room for all attributes that any of them ever had.
        sessions = type("Sessions", (session_class,), {})
        self.registry = RegistryActor.start(self.context, sessions)
        self.front_end = FrontEnd.start(self.context, self.registry.local(), Limits(), loop)
        loop.settle()
        self.socket = self.connect()
        self.connection = self.socket.protocol
        self._numbers = itertools.count()

    def connect(self) -> StillSocket:
        """A client's connection, as its socket; whoever asked for it ends it."""
        client = StillSocket(self.loop)
        client.protocol = connection.Connection(self.front_end.local())
        client.protocol.connection_made(client)
        return client

    def stop(self) -> None:
        """Close the connection and stop the actors, which nothing would otherwise let go of."""
        if not self.connection._is_closed:
            self.connection.connection_lost(None)
        self.socket.drop()
        self.front_end.stop(block=False)
        self.registry.stop(block=False)
        self.loop.settle()
        if self.store is not None:
            self.store.close()

    def receive(self, frames: bytes) -> None:
        """Have the loop read ``frames`` from the gateway, and come round."""
        self.connection.data_received(frames)
        self.loop.settle()

    def commit(self) -> None:
        """Have the store, whose thread stands still too, keep what it has been handed."""
        if self.store is not None and self.store.waiting:
            self.store._writer._commit(self.store.waiting)

    def post(self) -> None:
        """Have the loop hear of what has been kept when it comes round."""
        while self._kept:
            self.registry.local().post(self._kept.popleft())

    def settle(self) -> None:
        """Have the loop hear of what has been kept, and come round."""
        self.post()
        self.loop.settle()

    def answers(self) -> list[Any]:
        """The results of what was answered since the last time."""
        unpacker = msgpack.Unpacker()
        unpacker.feed(b"".join(self.socket.written))
        self.socket.written.clear()
        answers = list(unpacker)
        assert all(error is None for _, _, error, _ in answers), answers
        return [result for *_, result in answers]

    def call(self, method: str, *params: Any) -> Any:
        """The result of a request."""
        self.receive(msgpack.packb([0, 1, method, params]))
        (result,) = self.answers()
        return result

    def create(self, count: int, batch: int = 50) -> list[str]:
        """Create sessions, so many in one read; their ids."""
        ids: list[str] = []
        for first in range(0, count, batch):
            numbers = itertools.islice(self._numbers, min(batch, count - first))
            self.receive(b"".join(msgpack.packb([0, 1, "create_session", [fields(each)]]) for each in numbers))
            self.commit()
            self.settle()
            ids += (result["id"] for result in self.answers())
        return ids


@contextlib.contextmanager
def still_service(**options: Any) -> Iterator[StillService]:
    """Serve until the block ends, with ``options`` of ``StillService``.

    However slow the machine, no batch is cut off for its time.
    """
    loop = StillLoop()
    with patch.object(connection, "BATCH_SECONDS", math.inf):
        asyncio._set_running_loop(loop)  # whoever looks is on the loop's thread, as everything served is
        try:
            service = StillService(loop, **options)
            try:
                yield service
            finally:
                service.stop()
        finally:
            asyncio._set_running_loop(None)
