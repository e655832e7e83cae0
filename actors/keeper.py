"""The keeper actor: where the threads of a store come into the actors' turns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import pykka

from sessiond.actors.service import ServiceActor

__all__ = ["KeeperActor"]


class _Posted(NamedTuple):
    work: Callable[[], None]


class KeeperActor(ServiceActor):
    """Does in turns of its own, in their order, what the threads of the store have to tell."""

    name = "keeper"

    def post(self, work: Callable[[], None]) -> None:
        """Have ``work`` done in a turn, soon, unless the service has stopped by then. From any thread."""
        with contextlib.suppress(pykka.ActorDeadError):
            self.actor_ref.tell(_Posted(work))

    def on_receive(self, message: object) -> object:
        """See ``pykka.Actor``."""
        if not isinstance(message, _Posted):
            return super().on_receive(message)
        message.work()
        return None
