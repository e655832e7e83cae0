"""A gateway that takes commands, played by the test: it answers when the test says so, over links that it cuts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from links import StillLink
from pykka.messages import ProxyCall
from services import Service

from sessiond.actors.params import Registration, checked

__all__ = ["Gateway", "PlayedLink", "ask_soon", "cut", "let"]


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
            self._manager.turn(lambda _: self._answered(error, result))
            self._manager.settle()

    def refuse(self, error: Any) -> None:
        self.answer(error=error)

    def forget(self) -> None:
        self.is_forgotten = True


class PlayedLink(StillLink):
    """A connection on which the gateway is asked for things."""

    def __init__(self, manager: Service, answers: Callable[[Asked], tuple[Any, Any]] | None = None) -> None:
        """``answers`` gives the error and the result of every answer, at once; without it the test answers."""
        super().__init__(manager)
        self.manager = manager
        self.asked: list[Asked] = []
        self._answers = answers

    def ask(self, method: str, arguments: Mapping[str, Any], answered: Any, lost: Any) -> Callable[[], None]:
        asked = Asked(self.manager, method, arguments, answered, lost)
        self.asked.append(asked)
        if self._answers is not None:
            answered(*self._answers(asked))
        return asked.forget

    def cut(self) -> None:
        """The connection is lost."""
        cut(self)


def cut(*links: PlayedLink) -> None:
    """Lose these connections, at one moment."""
    for link in links:
        link.lose()
    for link in links:
        for asked in link.asked:
            if not asked.is_forgotten:
                link.manager.turn(lambda _, asked=asked: asked.lost())
        link.manager.settle()


class Gateway:
    """One run of a gateway."""

    def __init__(self, manager: Service, name: str = "gw", epoch: str | None = "e1") -> None:
        self.manager = manager
        self._name = name
        self._epoch = epoch

    def connect(self, *capabilities: str, answers: Callable[[Asked], tuple[Any, Any]] | None = None) -> PlayedLink:
        """One connection more, by default one on which it takes commands; see ``PlayedLink`` for ``answers``."""
        link = PlayedLink(self.manager, answers)
        options = {"epoch": self._epoch, "capabilities": list(capabilities or ("commands",)), "lease": 3600}
        asked = checked(options, Registration)
        self.manager.turn(lambda registry: registry.register(self._name, asked, link))
        self.manager.settle()
        return link

    def create(self, **fields: Any) -> str:
        """A call of this gateway; the id of its session."""
        return self.manager.create(**({"gateway": self._name, "state": "active"} | fields))


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
