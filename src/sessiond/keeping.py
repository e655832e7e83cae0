"""What a service keeps beyond its own life: the store, the records of calls, and their way to the sinks."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sessiond.actors.settings import Residing
from sessiond.records.delivery import Delivery
from sessiond.stores.records import StoredRecords
from sessiond.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from sessiond.actors.clock import Clock
    from sessiond.actors.context import Context
    from sessiond.actors.registry import RegistryActor
    from sessiond.config import Config
    from sessiond.records.courier import Courier
    from sessiond.stores.figures import Figures

__all__ = ["Keeping"]

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 2.0
"""Between two lines of the log that say how far the recovery is."""


class Keeping:
    """Opened before anything is served, and closed after the last answer."""

    def __init__(self, config: Config, context: Context, clock: Clock) -> None:
        """Have the sessions of these books be kept as ``config`` says; nothing is open yet."""
        self.progress = "opening the store"
        """How far it has come, for operators."""
        self.recovered_sessions = 0
        """Live sessions that were there before, and have been taken in."""
        self.recovery_seconds = 0.0
        """How long that took; 0 before it is over."""
        self._config = config
        self._context = context
        self._clock = clock
        self._store = SqliteStore(config.store)
        self._delivery: Delivery | None = None
        settings = config.store
        residing = Residing(quiet=settings.quiet, residents=settings.residents)
        context.keep_in(self._store, is_relaxed=settings.durability == "relaxed", residing=residing)
        context.records = StoredRecords(self._store)

    def open(self) -> None:
        """Open the store. Blocks, and may be called on any thread.

        Raises:
            StoreError: it cannot be used.
        """
        self._recovered = self._store.open()

    def recover(self, registry: RegistryActor) -> Iterator[None]:
        """Have the sessions be there that were there before, in steps, in turns; and then everything be kept.

        Raises:
            StoreError: what the store has makes no sense.
            SinkError: a sink cannot be used.
        """
        recovered, began = self._recovered, time.monotonic()
        told = began
        for count in registry.recover(recovered):
            self.recovered_sessions = count
            self.progress = f"recovering: {count} of {recovered.count} sessions"
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                logger.info("Recovered %d of %d sessions", count, recovered.count)
            yield
        self.recovery_seconds = time.monotonic() - began
        logger.info(
            "Recovered %d %s from %s in %.1f s",
            self.recovered_sessions,
            "session" if self.recovered_sessions == 1 else "sessions",
            self._config.store.path,
            self.recovery_seconds,
        )
        self._deliver(registry)

    def _deliver(self, registry: RegistryActor) -> None:
        delivery = Delivery(
            self._config.records,
            self._config.sink,
            self._config.store.path,
            self._store,
            registry.post,
            self._context.dispatcher.call_later,
            self._clock,
        )
        delivery.start(self._recovered.values)
        self._delivery = delivery
        self._store.call_when_filed(delivery.wake)

    @property
    def figures(self) -> Figures:
        """What the store counts."""
        return self._store.figures

    @property
    def unsettled_changes(self) -> int:
        """Changes that the store was handed and has not kept yet."""
        return 0 if self._delivery is None else self._store.waiting

    @property
    def sinks(self) -> Sequence[Courier]:
        """Who takes the records away."""
        return () if self._delivery is None else self._delivery.couriers

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be changed now; None if it can."""
        journal = self._context.journal
        if journal is None or journal.failure is None:
            return None
        return f"the store cannot keep changes: {journal.failure}"

    def stop_delivery(self) -> None:
        """Break off what goes to the sinks. Blocks, while the actors are still at work."""
        if self._delivery is not None:
            self._delivery.stop()

    def close(self) -> None:
        """Keep what is left, once the actors have stopped. Blocks."""
        self._store.close()
