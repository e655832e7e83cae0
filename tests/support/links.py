"""A connection of a gateway without a socket: what the actors see of one, driven by the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sessiond.actors.incarnation import Incarnation

if TYPE_CHECKING:
    from services import Service

__all__ = ["StillLink"]


class StillLink:
    """A ``Link`` whose requests are made by ``asking``, and which is lost when the test says so."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.heard_at = 0.0
        self.lease = 0.0
        self.capabilities: frozenset[str] = frozenset()
        self.incarnation: Incarnation | None = None
        self.told: list[tuple[str, Any]] = []
        self.closed_for: str | None = None
        self._spoke: Callable[[], object] = lambda: None
        self._to_tell: list[Callable[[], object]] = []

    def bind(self, incarnation: Incarnation, spoke: Callable[[], object]) -> None:
        self.incarnation, self._spoke = incarnation, spoke

    def when_lost(self, tell: Callable[[], object]) -> None:
        self._to_tell.append(tell)

    def notify(self, method: str, params: Sequence[object]) -> None:
        self.told.append((method, *params))

    def close(self, reason: str) -> None:
        self.closed_for = reason

    # What the test does

    @contextlib.contextmanager
    def asking(self) -> Iterator[Service]:
        """The requests made in the block come on this connection."""
        self._service.turn(lambda registry: self._speak(registry.context))
        try:
            yield self._service
        finally:
            self._service.turn(lambda registry: registry.context.ask_as(None))

    def ping(self) -> None:
        """Say nothing but that one is still there."""
        with self.asking():
            pass

    def lose(self) -> None:
        """The connection is lost."""
        to_tell, self._to_tell = self._to_tell, []
        for tell in to_tell:
            self._service.turn(lambda _, tell=tell: tell())

    def _speak(self, context: Any) -> None:
        self.heard_at = context.clock.read().monotonic
        if self.incarnation is not None and self.incarnation.loss is not None:
            self._spoke()
        context.ask_as(self.incarnation)
