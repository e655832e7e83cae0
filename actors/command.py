"""A command: something that a gateway is to do, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sessiond.actors.commanding import Course, Verdict
from sessiond.actors.future import Pending
from sessiond.actors.incarnation import ADMIN
from sessiond.actors.lanes import Place

if TYPE_CHECKING:
    from sessiond.actors.incarnation import Incarnation, Link

__all__ = ["Command"]

R = TypeVar("R")


class Command(Generic[R]):
    """A command on its way."""

    __slots__ = (
        *("arguments", "author", "course", "due", "gateway", "holder", "method", "needs_life", "number"),
        *("pending", "place", "read", "seq", "_forget"),
    )

    def __init__(
        self,
        gateway: str,
        method: str,
        arguments: Mapping[str, object],
        course: Course[Link],
        read: Callable[[Verdict], R | Pending[R]],
    ) -> None:
        """Have ``gateway`` do ``method``.

        Args:
            gateway: its name.
            method: one of ``commanding.COMMANDS``.
            arguments: what it is told beside that.
            course: the way that the command has before it.
            read: the answer for whoever gave the command, made of the verdict; it may raise one of our own errors.
        """
        self.gateway = gateway
        self.method = method
        self.arguments = arguments
        self.course = course
        self.read = read
        self.pending: Pending[R] = Pending()
        """The answer."""
        self.seq: int | None = None
        """The sequence number of the session that it is about."""
        self.needs_life = False
        """Whether it is over when the session has ended."""
        self.holder: Incarnation | None = None
        """Who is to do it; None is whoever is there. While the session lives that is who holds it at the moment."""
        self.author = ADMIN
        """Who gave it, as histories tell."""
        self.number = 0
        self.place = Place.NEW
        self.due = 0.0
        self._forget: list[Callable[[], None]] = []

    def ask(self, link: Link, take: Callable[[Command[Any], Callable[[Sequence[Link]], Verdict | None]], None]) -> None:
        """Make an attempt on ``link``; ``take`` is told how to judge what comes of it."""
        course = self.course

        def answered(error: Any, result: Any) -> None:
            take(self, lambda links: course.answered(link, error, result, links))

        def lost() -> None:
            take(self, lambda _: course.lost(link))

        self._forget.append(link.ask(self.method, self.arguments, answered, lost))

    def forget(self) -> None:
        """It is over: whatever is answered now comes too late."""
        for forget in self._forget:
            forget()
        self._forget.clear()
