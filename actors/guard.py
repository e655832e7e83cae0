"""Actors whose own errors are answers and whose other exceptions are crashes, and how to run a turn of one at once."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from pykka._envelope import Envelope
from pykka.messages import ProxyCall

from sessiond.actors.actor import EventActor
from sessiond.actors.errors import Internal, SessiondError
from sessiond.actors.future import Pending
from sessiond.actors.turns import run

if TYPE_CHECKING:
    from pykka import Future

    from sessiond.actors.actor import EventRef

__all__ = ["GuardedActor", "Performer", "Turn", "perform", "run"]

A = TypeVar("A", bound="Performer")
R = TypeVar("R")


class Performer(Protocol):
    """Whatever ``perform`` can run an operation of: a guarded actor, or the record of a session that has ended."""

    @property
    def _ref(self) -> EventRef[Any] | None: ...

    def run_turn(self, operation: Callable[[Any], R]) -> R:
        """Run an operation of a turn on it, see ``run``."""
        ...

    def _crashed(self, error: BaseException) -> Internal: ...


class Turn(NamedTuple):
    """The message that has an operation wait for its turn."""

    operation: Callable[[Any], Any]


class GuardedActor(EventActor):
    """An actor in which nothing that goes wrong goes unanswered or spreads.

    Pykka lets an actor live after an exception in an ask and die of one in a tell. Here it does not matter how the
    message came: one of our own errors is the answer, anything else a crash, which ``_crashed`` deals with.
    """

    @abc.abstractmethod
    def _crashed(self, error: BaseException) -> Internal:
        """Deal with a crash in a turn of this actor; what to tell the asker."""

    def run_turn(self, operation: Callable[[Any], R]) -> R:
        """See ``Performer``."""
        return run(self, operation)

    def _failed(self, error: BaseException) -> Internal:
        """Deal with a crash in the actor's own work, which no request asked for; by default no other than any."""
        return self._crashed(error)

    def _handle_failure(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Pykka's own way out, for what goes wrong outside of messages: in ``on_start``, for one."""
        self._failed(error or RuntimeError("unknown"))

    def _actor_loop_running(self) -> None:
        while not self.actor_stopped.is_set():
            envelope = self.actor_inbox.get()
            self._answer(envelope)

    def _handle_receive(self, message: object) -> object:
        return message.operation(self) if isinstance(message, Turn) else super()._handle_receive(message)

    def _answer(self, envelope: Envelope[Any]) -> None:
        reply = envelope.reply_to
        try:
            answer = self._handle_receive(envelope.message)
        except SessiondError as error:
            if reply is not None:
                reply.set_exception((type(error), error.bare(), None))
        except BaseException as error:  # noqa: BLE001  (SystemExit too is a crash of this actor only)
            if reply is not None:
                told = self._crashed(error)
                reply.set_exception((type(told), told, None))
            elif isinstance(envelope.message, ProxyCall):
                self._crashed(error)
            else:
                self._failed(error)
        else:
            if reply is not None:
                reply.set(answer)


class _Reply:
    """The end of a queued turn: what an envelope replies to, completing a pending reply instead of a future."""

    __slots__ = ("_pending",)

    def __init__(self, pending: Pending[Any]) -> None:
        self._pending = pending

    def set(self, value: object = None) -> None:
        self._pending.set(value)

    def set_exception(self, exc_info: tuple[Any, BaseException, Any]) -> None:
        self._pending.fail(exc_info[1])


def perform(actor: A, operation: Callable[[A], R]) -> R:
    """A turn of ``actor``: run ``operation`` on it at once if nothing waits in its mailbox.

    If something does, the operation queues up behind it and a ``Pending`` is returned, which the caller must pass on
    (returning it from a handler is enough). The caller holds the dispatcher's turn: it is on the event loop that
    serves, or in a turn of another actor.

    Raises:
        SessiondError: what the operation raised; ``Internal`` if it crashed.
    """
    ref = actor._ref  # noqa: SLF001
    if ref is None:  # nobody ever asked for its ref, so nobody can have sent it anything
        return actor.run_turn(operation)
    mailbox = ref.actor_inbox
    if not mailbox.claim_idle():
        pending: Pending[R] = Pending()
        mailbox.put(Envelope(Turn(operation), reply_to=cast("Future[Any]", _Reply(pending))))
        return pending  # type: ignore[return-value]  # stands for an R: see above
    try:
        return actor.run_turn(operation)
    finally:
        mailbox.settle()
