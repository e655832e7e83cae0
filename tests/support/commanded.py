"""A gateway that takes commands, played by the test: it answers when the test says so, over links that it cuts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pykka.messages import ProxyCall
from runtimes import PATIENCE
from services import Service

from sessiond.actors.deadlines import Deadline
from sessiond.actors.guard import Turn
from sessiond.actors.incarnation import Incarnation

__all__ = ["Gateway", "PlayedLink", "ask_soon", "let"]


class Asked:
    """A request that the service made."""

    def __init__(
        self, manager: Service, method: str, arguments: Mapping[str, Any], answered: Callable[..., Any], lost: Any
    ) -> None:
        self.method = method
        self.arguments = dict(arguments)
        self.is_forgotten = False
        self.lost = lost
        self._manager = manager
        self._answered = answered

    def answer(self, result: Any = None, error: Any = None) -> None:
        """Answer it, as far as anybody waits."""
        if not self.is_forgotten:
            self._manager.registry.ask(Turn(lambda _: self._answered(error, result)), timeout=PATIENCE)
            self._manager.settle()

    def refuse(self, error: Any) -> None:
        self.answer(error=error)

    def forget(self) -> None:
        self.is_forgotten = True


class PlayedLink:
    """A connection, as far as the actors know it."""

    def __init__(self, gateway: Gateway, capabilities: Sequence[str]) -> None:
        self.heard_at = self.lease = 0.0
        self.capabilities = frozenset(capabilities)
        self.incarnation = gateway.incarnation
        self.asked: list[Asked] = []
        self.answers_at_once: Callable[[Asked], tuple[Any, Any]] | None = None
        """If set: the error and the result of every answer."""
        self._gateway = gateway

    def ask(self, method: str, arguments: Mapping[str, Any], answered: Any, lost: Any) -> Callable[[], None]:
        asked = Asked(self._gateway.manager, method, arguments, answered, lost)
        self.asked.append(asked)
        if self.answers_at_once is not None:
            answered(*self.answers_at_once(asked))
        return asked.forget

    def cut(self) -> None:
        """The connection is lost."""
        self._gateway.cut(self)


class Gateway:
    """One run of a gateway."""

    def __init__(self, manager: Service, name: str = "gw", epoch: str | None = "e1") -> None:
        self.manager = manager
        self.context = manager.context
        author = self.context.authors.number(name, epoch)
        self.incarnation = Incarnation(name, epoch, author, self.context.clock.read())
        self.context.incarnations.add(self.incarnation)

    def connect(self, *capabilities: str, answers: Callable[[Asked], tuple[Any, Any]] | None = None) -> PlayedLink:
        """One connection more, by default one on which it takes commands; see ``PlayedLink`` for ``answers``."""
        link = PlayedLink(self, capabilities or ("commands",))
        link.answers_at_once = answers
        incarnation = self.incarnation
        if incarnation.loss is not None:
            incarnation.loss = None
            self.context.directory.suspects.remove(incarnation.sessions)
        incarnation.links.append(link)
        incarnation.capabilities |= link.capabilities
        self.manager.registry.ask(Turn(lambda _: self.context.commander.found(incarnation.gateway)), timeout=PATIENCE)
        self.manager.settle()
        return link

    def cut(self, *links: PlayedLink) -> None:
        """Lose these connections, at one moment."""
        incarnation = self.incarnation
        for link in links:
            incarnation.links.remove(link)
        if not incarnation.links:
            incarnation.loss = Deadline(self.context.clock.read(), 120.0, "gateway_lost")
            self.context.directory.suspects.append(incarnation.sessions)
        for link in links:
            for asked in link.asked:
                if not asked.is_forgotten:
                    self.manager.registry.ask(Turn(lambda _, asked=asked: asked.lost()), timeout=PATIENCE)
        self.manager.settle()

    def create(self, **fields: Any) -> str:
        """A call of this gateway; the id of its session."""
        return self.manager.create(**({"gateway": self.incarnation.gateway, "state": "active"} | fields))


def ask_soon(manager: Service, method: str, *args: Any, **options: Any) -> Any:
    """Ask the registry something whose answer takes time; its future."""
    future = manager.registry.ask(ProxyCall((method,), args, options), block=False)
    manager.settle()
    return future


def let(manager: Service, seconds: float) -> None:
    """Let time pass, and what has come due by then be done."""
    manager.clock.advance(seconds)
    manager.dispatcher.fire()
    manager.settle()
