"""The service: one process, one event loop, the actors and the two ports, from start to drain."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from sessiond.actors.clock import Clock, SystemClock
from sessiond.actors.context import Context
from sessiond.actors.dispatcher import LoopDispatcher
from sessiond.actors.registry import RegistryActor, RegistryRef
from sessiond.actors.session import SessionActor
from sessiond.actors.store import StoreError
from sessiond.config import Config
from sessiond.keeping import Keeping
from sessiond.metrics.collecting import Collecting
from sessiond.metrics.endpoint import endpoint
from sessiond.records.sink import SinkError
from sessiond.transport.observed import LATENCY_BOUNDS
from sessiond.transport.server import FrontEnd
from sessiond.watch import LoopWatch

__all__ = ["Service"]

logger = logging.getLogger(__name__)


class Service:
    """A session manager that serves on TCP. Use inside a running event loop, on whose thread its actors run."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        session_class: type[SessionActor] = SessionActor,
        watch: LoopWatch | None = None,
    ) -> None:
        """Prepare to serve as ``config`` says; nothing runs before ``start``.

        Args:
            config: the whole configuration.
            clock: where the time comes from, by default the machine's clocks.
            session_class: the class of the session actors.
            watch: what is known of the loop, to be shown among the metrics.
        """
        self._config = config
        self._clock = clock or SystemClock()
        self._session_class = session_class
        self._watch = watch
        self._keeping: Keeping | None = None
        self._obstacle: str | None = "starting"
        """What keeps gateways out at the moment."""
        self.failed = asyncio.Event()
        """Set when an actor of the service cannot be kept running; whoever runs the service then ends it."""

    async def start(self) -> None:
        """Start the actors and listen, on ``port`` and ``metrics_port`` from then on.

        Raises:
            OSError: an address cannot be listened on.
            StoreError: the store cannot be used.
            SinkError: a sink of call records cannot be used.
        """
        loop = asyncio.get_running_loop()
        config = self._config
        context = Context.create(
            config.sessions,
            LoopDispatcher(loop),
            self._clock,
            self._give_up,
            config.limit,
            gateways=config.gateways,
            watching=config.watch,
            commanding=config.commands,
            is_kept=config.store.kind != "memory",
        )
        if config.store.kind != "memory":
            self._keeping = Keeping(config, context, self._clock)
        self.registry = cast("RegistryRef", RegistryActor.start(context, self._session_class))
        self._front_end_ref = FrontEnd.start(context, self.registry.local(), self._config.limits, loop)
        self._front_end = self._front_end_ref.local()
        self._metrics = endpoint(lambda: self._collecting(context), self._current_obstacle)
        try:
            self.metrics_port = await self._metrics.open(*split_address(self._config.metrics))
            if self._keeping is not None:
                await self._recover(self._keeping)
            self.port = await self._front_end.open(*split_address(self._config.listen))
        except (OSError, StoreError, SinkError):
            await self.stop()
            raise
        self._obstacle = None

    async def stop(self) -> None:
        """Answer what was received, close every connection, and stop the actors; metrics are there to the last."""
        self._obstacle = "draining"
        await self._front_end.drain()
        self._front_end_ref.stop(block=False)
        if self._keeping is not None:
            await asyncio.to_thread(self._keeping.stop_delivery)
        await self.registry.stop(block=False)
        if self._keeping is not None:
            await asyncio.to_thread(self._keeping.close)
        await self._metrics.close()

    async def _recover(self, keeping: Keeping) -> None:
        """Have the sessions be there that were there before; nobody is served meanwhile."""
        await asyncio.to_thread(keeping.open)
        for _ in keeping.recover(self.registry.local()):
            self._obstacle = keeping.progress
            await asyncio.sleep(0)

    def _collecting(self, context: Context) -> Collecting:
        return Collecting(context, self._front_end.observed, LATENCY_BOUNDS, self._watch, self._keeping)

    def _current_obstacle(self) -> str | None:
        return self._obstacle or (None if self._keeping is None else self._keeping.obstacle)

    def _give_up(self, actor: str) -> None:
        logger.critical("The %s crashes again and again; the service stops", actor)
        self._obstacle = f"the {actor} crashed"
        self.failed.set()


def split_address(address: str) -> tuple[str, int]:
    """``HOST:PORT`` as its two parts; an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
