"""A Pykka actor without a thread: the event-driven counterpart of ``pykka.ThreadingActor``."""

from __future__ import annotations

import uuid
import weakref
from typing import Any, ClassVar, Self, TypeVar, cast

import pykka
from pykka._envelope import Envelope

from sessiond.actors.dispatcher import Dispatcher, shared_dispatcher
from sessiond.actors.future import ReplyFuture
from sessiond.actors.mailbox import MESSAGES_PER_TURN, Mailbox, StopFlag

__all__ = ["EventActor", "EventRef"]

A = TypeVar("A", bound="EventActor")


class EventRef(pykka.ActorRef[A]):
    """A ref whose blocking ``ask`` runs the actor's turn on the asking thread when that may run turns."""

    actor_inbox: Mailbox

    def __init__(self, actor: A, mailbox: Mailbox) -> None:
        """Make the ref of ``actor``. Pykka's constructor would ask the actor for what is only being made here."""
        self._actor_weakref = weakref.ref(actor)
        self.actor_class = actor.__class__
        self.actor_urn = uuid.uuid4().urn
        self.actor_inbox = mailbox
        self.actor_stopped = StopFlag()  # type: ignore[assignment]  # the part of an Event that Pykka uses

    def local(self) -> A:
        """The actor itself, for owners that take turns of the same dispatcher.

        Raises:
            pykka.ActorDeadError: it has stopped.
        """
        actor = self._actor_weakref()
        if actor is None:
            raise pykka.ActorDeadError(f"{self} not found")
        return actor

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send ``message`` and wait for the reply; everything as ``pykka.ActorRef.ask``.

        A blocking ask does not wake the dispatcher: this thread runs the turn, or wakes it after all.
        """
        if not block or not self.is_alive() or (timeout is not None and timeout <= 0):
            return super().ask(message, block=block, timeout=timeout)
        mailbox = self.actor_inbox
        future = cast("ReplyFuture[Any]", self.actor_class._create_future())  # noqa: SLF001
        unscheduled = mailbox.take_in(Envelope(message, reply_to=future))
        try:
            return future.get(timeout=timeout)
        finally:
            if unscheduled and not future.done():
                mailbox.dispatcher.schedule(mailbox)
            del future  # as in ``ReplyFuture.get``


class EventActor(pykka.Actor):
    """An actor whose mailbox runs on a dispatcher when a message arrives.

    What Pykka gives every actor at birth (URN, inbox, stop flag, ref) is made when it is first asked for: most
    sessions are never asked. ``start`` asks, as Pykka does, so only owners that start actors in their own way
    (the registry its sessions) save that.
    """

    _ref: EventRef[Any] | None = None
    _capacity: ClassVar[int] = 100_000
    _control: ClassVar[tuple[type, ...]] = ()
    _share: ClassVar[int] = MESSAGES_PER_TURN
    _ref_class: ClassVar[type[EventRef[Any]]] = EventRef

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Make no field yet: see the class."""

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> EventRef[Self]:
        """See ``pykka.Actor``."""
        return cast("EventRef[Self]", super().start(*args, **kwargs))

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox(shared_dispatcher(), EventActor._capacity)

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return ReplyFuture()

    @property
    def _actor_ref(self) -> EventRef[Any]:  # type: ignore[override]  # Pykka only reads the four fields
        if self._ref is None:
            mailbox = Mailbox(self._home(), self._capacity, self._control, self._share, self._kind())
            self._ref = self._ref_class(self, mailbox)
        return self._ref

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """See ``pykka.Actor``."""
        return self._actor_ref.actor_urn

    @property
    def actor_inbox(self) -> Mailbox:  # type: ignore[override]
        """See ``pykka.Actor``."""
        return self._actor_ref.actor_inbox

    @property
    def actor_stopped(self) -> StopFlag:  # type: ignore[override]
        """See ``pykka.Actor``."""
        return self._actor_ref.actor_stopped  # type: ignore[return-value]

    def _start_actor_loop(self) -> None:
        self.actor_inbox.bind(self, setup=True)

    def _home(self) -> Dispatcher:
        """Who runs this actor's turns; by default the dispatcher that the whole process shares."""
        return shared_dispatcher()

    def _kind(self) -> str:
        """What its messages are counted as while they wait; by default a session's, of which there are many."""
        return "session"

    _is_set_up = False

    def _take_turn(self) -> None:
        if not self._is_set_up:
            self._is_set_up = True
            self._actor_loop_setup()
        self._actor_loop_running()
