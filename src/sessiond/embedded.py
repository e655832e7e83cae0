"""The session manager inside a program: the actors alone, without sockets."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, cast

from pykka.messages import ProxyCall

from sessiond.actors.clock import Clock, SystemClock
from sessiond.actors.context import Context
from sessiond.actors.dispatcher import ThreadDispatcher
from sessiond.actors.guard import Turn
from sessiond.actors.registry import RegistryActor, RegistryRef
from sessiond.actors.session import SessionActor
from sessiond.config import Config

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from sessiond.keeping import Keeping

__all__ = ["collector", "start", "stop"]

logger = logging.getLogger(__name__)

_kept: dict[str, Keeping] = {}
"""What the session managers of this process keep, by the URN of the registry."""

COLLECT_SECONDS = 5.0
"""For which a collector waits for its turn; Prometheus gives a whole scrape 10 s."""


def start(
    config: Config | None = None, *, clock: Clock | None = None, session_class: type[SessionActor] = SessionActor
) -> RegistryRef:
    """Start a session manager in this process; its registry's ref.

    Args:
        config: what differs from the defaults; ports, log and ``limits`` do not matter here.
        clock: where the time comes from, by default the machine's clocks.
        session_class: the class of the session actors.

    Raises:
        StoreError: the store of the configuration cannot be used.
        SinkError: a sink of call records cannot be used.
    """
    dispatcher = ThreadDispatcher()

    def give_up(actor: str) -> None:
        logger.critical("The %s crashes again and again; the session manager stops", actor)
        registry.stop(block=False)
        dispatcher.stop()

    given = config or Config()
    context = Context.create(
        given.sessions,
        dispatcher,
        clock or SystemClock(),
        give_up,
        given.limit,
        gateways=given.gateways,
        watching=given.watch,
        commanding=given.commands,
        is_kept=given.store.kind != "memory",
    )
    keeping = None if given.store.kind == "memory" else _keeping(given, context, clock or SystemClock())
    registry = cast("RegistryRef", RegistryActor.start(context, session_class))
    registry.ask(ProxyCall(("ping",), (), {}))  # it is at work once it answers
    if keeping is not None:
        _recover(registry, keeping)
    return registry


def _keeping(config: Config, context: Context, clock: Clock) -> Keeping:
    # Here, because stores and sinks would add a fifth to the time that it takes to import sessiond.
    from sessiond.keeping import Keeping  # noqa: PLC0415

    return Keeping(config, context, clock)


def _recover(registry: RegistryRef, keeping: Keeping) -> None:
    """Have the sessions be there that were there before."""
    _kept[registry.actor_urn] = keeping
    try:
        keeping.open()
        registry.ask(Turn(lambda actor: deque(keeping.recover(actor), maxlen=0)))
    except BaseException:
        stop(registry)
        raise


def stop(registry: RegistryRef) -> None:
    """Stop the session manager. No session ends by that; asks that come later raise ``pykka.ActorDeadError``."""
    dispatcher = registry.actor_inbox.dispatcher
    keeping = _kept.pop(registry.actor_urn, None)
    if keeping is not None:
        keeping.stop_delivery()
    registry.stop()
    if isinstance(dispatcher, ThreadDispatcher):
        dispatcher.stop()
    if keeping is not None:
        keeping.close()


def collector(registry: RegistryRef) -> Collector:
    """The metrics of a session manager, to register with any ``prometheus_client.CollectorRegistry``.

    Collecting is safe from any thread. It raises ``pykka.Timeout`` if the session manager is stuck, and gives nothing
    once that has stopped. The metrics of two session managers have the same names: give each a registry of its own.

    Args:
        registry: what ``start`` returned.
    """
    # Here, because prometheus_client would double the time that it takes to import sessiond.
    from sessiond.metrics.collecting import Collecting  # noqa: PLC0415
    from sessiond.metrics.collector import SessionCollector  # noqa: PLC0415

    def begin(context: Context) -> Collecting:
        return Collecting(context, keeping=_kept.get(registry.actor_urn))

    return SessionCollector(lambda: registry.ask(Turn(lambda actor: actor.work(begin)), timeout=COLLECT_SECONDS))
