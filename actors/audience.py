"""Whom a watch tells: a client, an actor, a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pykka import ActorRef

from sessiond.actors.events import Event
from sessiond.actors.mailbox import Mailbox

__all__ = ["Audience", "audience_of"]


class Audience(Protocol):
    """Whom a watch tells. ``HeraldActor.wake`` is to be called when it is ready again, or a second passes."""

    encodes: bool
    """Whether it wants sessions packed, as ``ChangeLog.packed`` has them."""

    @property
    def is_ready(self) -> bool:
        """Whether it takes more now."""
        ...

    def tell(self, event: Event) -> None:
        """Take an event; it may wait for ``flush``."""
        ...

    def flush(self) -> None:
        """No more comes in this turn."""
        ...


class _Actor:
    """An actor that is told what it watches."""

    encodes = False

    def __init__(self, ref: ActorRef[Any]) -> None:
        self._ref = ref

    @property
    def is_ready(self) -> bool:
        inbox = self._ref.actor_inbox
        return not (isinstance(inbox, Mailbox) and inbox.is_crowded)

    def tell(self, event: Event) -> None:
        self._ref.tell(event)

    def flush(self) -> None:
        pass


class _Function:
    """A function that is called with what is watched."""

    encodes = False
    is_ready = True

    def __init__(self, function: Callable[[Event], object]) -> None:
        self._function = function

    def tell(self, event: Event) -> None:
        self._function(event)

    def flush(self) -> None:
        pass


def audience_of(target: ActorRef[Any] | Callable[[Event], object]) -> Audience:
    """An actor, which is told, or a function, which is called in a turn, as an audience."""
    return _Actor(target) if isinstance(target, ActorRef) else _Function(target)
