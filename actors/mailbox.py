"""The mailbox of an event-driven actor: what waits, and whose turn it is. The hard file of this folder.

Theory of operation
-------------------
A stock Pykka actor owns a thread that sleeps in ``inbox.get()``. Here an actor owns nothing that sleeps: a message
that arrives makes its mailbox READY, a dispatcher then runs a *turn* of it, and in a turn Pykka's own loop body,
``Actor._actor_loop_running``, takes messages from ``Mailbox.get`` until that raises ``TurnOver``. Pykka calls ``get``
outside its ``try``, so the exception leaves the loop cleanly and the next turn enters it again.

    NEW ──start──▶ IDLE ──put──▶ READY ──claim──▶ RUNNING ──settle──▶ IDLE, or READY if more waits
                                                     └──the actor stopped──▶ CLOSED

Rules that nobody may break
---------------------------
1. At most one turn runs at a time in a dispatcher. Only who holds the dispatcher's turn (``Dispatcher.enter``) may
   claim a mailbox. The state of a mailbox only flips under the dispatcher's short lock, which is never held while
   foreign code runs.
2. A turn ends by ``settle``, which looks at what waits *after* it gave up RUNNING's claim, under the lock: a message
   that arrives while a turn ends finds either RUNNING (and ``settle`` sees it) or IDLE (and ``put`` schedules it).
3. A CLOSED mailbox answers whatever still arrives, so that no ask is ever left without a reply, and holds no actor:
   a stopped actor is freed by reference counting alone. That is why nothing here keeps an exception or a frame:
   ``TurnOver`` is raised as a class, since an instance kept for reuse would collect tracebacks and pin every actor.
4. READY is entered once and scheduled once. Entries in a ready queue may be stale: ``claim`` says so.
"""

from __future__ import annotations

import enum
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import pykka

from sessiond.actors.errors import Overloaded

if TYPE_CHECKING:
    from pykka._envelope import Envelope

    from sessiond.actors.actor import EventActor
    from sessiond.actors.dispatcher import Dispatcher

__all__ = ["MESSAGES_PER_TURN", "Mailbox", "StopFlag", "TurnOver", "Waiting"]

MESSAGES_PER_TURN = 32
"""After so many messages a turn ends and its mailbox queues up again, so that a flooded actor starves no other."""


class TurnOver(BaseException):
    """Raised by ``Mailbox.get`` to leave Pykka's loop: nothing waits, or the turn has been long enough."""


class _State(enum.Enum):
    NEW = enum.auto()
    IDLE = enum.auto()
    READY = enum.auto()
    RUNNING = enum.auto()
    CLOSED = enum.auto()


_NEW, _IDLE, _READY, _RUNNING, _CLOSED = _State


class StopFlag:
    """What Pykka knows as ``actor_stopped``: an event that costs a lock only if somebody waits for it."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = False
        self._event: threading.Event | None = None

    def is_set(self) -> bool:
        """Whether the actor has stopped."""
        return self._is_set

    def set(self) -> None:
        """Say that the actor has stopped."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the actor has stopped, at most ``timeout`` seconds; whether it has."""
        if self._event is None:
            self._event = threading.Event()
        if self._is_set:
            return True
        return self._event.wait(timeout)


class Waiting:
    """How many messages wait in all mailboxes of one kind of actor.

    Two counts that only grow, so that neither needs a lock of its own: messages come in under the dispatcher's short
    lock, and go out by the hands of whoever holds its turn.
    """

    __slots__ = ("come", "gone")

    def __init__(self) -> None:
        self.come = 0
        self.gone = 0

    @property
    def messages(self) -> int:
        """How many wait now. From any thread."""
        gone = self.gone  # first, since a message may come and go between two looks
        return self.come - gone


class Mailbox:
    """An actor's messages in order, control messages first, and the state of its turn."""

    __slots__ = ("_actor", "_capacity", "_control", "_left", "_messages", "_share", "_state", "_waiting", "dispatcher")

    def __init__(
        self,
        dispatcher: Dispatcher,
        capacity: int,
        control: tuple[type, ...] = (),
        share: int = MESSAGES_PER_TURN,
        kind: str = "session",
    ) -> None:
        """A mailbox that no actor has been bound to yet.

        Args:
            dispatcher: runs its turns.
            capacity: how many messages may wait before senders get ``Overloaded``.
            control: types of message that go ahead of all others and are always taken in.
            share: after so many messages a turn ends.
            kind: the kind of actor under which its messages are counted while they wait.
        """
        self.dispatcher = dispatcher
        self._share = share
        self._capacity = capacity
        self._control = control
        self._waiting = dispatcher.waiting.setdefault(kind, Waiting())
        self._state = _NEW
        self._actor: EventActor | None = None
        self._messages: deque[Envelope[Any]] | None = None
        self._left = 0

    # Binding

    def bind(self, actor: EventActor, *, setup: bool) -> None:
        """Give the mailbox to its actor.

        Args:
            actor: whose mailbox this is; held until the mailbox closes.
            setup: a first turn is needed even without a message, for ``on_start``.
        """
        self._actor = actor
        with self.dispatcher.lock:
            self._state = _READY if setup or self._messages else _IDLE
            ready = self._state is _READY
        if ready:
            self.dispatcher.schedule(self)

    # The three that Pykka calls

    def put(self, envelope: Envelope[Any], /) -> None:
        """Take a message in. Never runs a turn.

        Raises:
            Overloaded: the mailbox is full (an ask gets it as its reply).
        """
        if self.take_in(envelope):
            self.dispatcher.schedule(self)

    def take_in(self, envelope: Envelope[Any]) -> bool:
        """``put``, but that the caller schedules the mailbox, or runs its turn, if it became ready: if this is true."""
        reply = envelope.reply_to
        if reply is not None and hasattr(reply, "sent_to"):
            reply.sent_to(self)
        with self.dispatcher.lock:
            taken = self._state is not _CLOSED and self._append(envelope)
            ready = taken and self._state is _IDLE
            if ready:
                self._state = _READY
        if not taken:
            self._refuse(envelope)
        return ready

    def inherit(self, envelope: Envelope[Any]) -> None:
        """Take in a message that waited for this actor's predecessor: in the order it had there, however full."""
        with self.dispatcher.lock:
            taken = self._state is not _CLOSED
            ready = self._state is _IDLE
            if taken:
                self._messages = self._messages or deque()
                self._messages.append(envelope)
                self._waiting.come += 1
            if ready:
                self._state = _READY
        if ready:
            self.dispatcher.schedule(self)
        elif not taken:
            self._refuse(envelope)

    def get(self) -> Envelope[Any]:
        """The next message of this turn.

        Raises:
            TurnOver: nothing waits, or this turn has had its share.
        """
        messages = self._messages
        if self._left == 0 or not messages:
            raise TurnOver
        self._left -= 1
        self._waiting.gone += 1
        return messages.popleft()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._messages

    # Turns

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and no turn is open, at this moment."""
        return self._state is _IDLE

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that whoever can hold something back should: three quarters of what may."""
        messages = self._messages
        return messages is not None and len(messages) * 4 >= self._capacity * 3

    def claim(self) -> bool:
        """Begin a turn if the mailbox is ready. The caller holds the dispatcher's turn, and ends it by ``settle``."""
        return self._begin(_READY)

    def claim_idle(self) -> bool:
        """Begin a turn of a mailbox in which nothing waits, to do something else in it."""
        return self._begin(_IDLE)

    def _begin(self, state: _State) -> bool:
        with self.dispatcher.lock:
            if self._state is not state:
                return False
            self._state = _RUNNING
        self._left = self._share
        return True

    def run(self) -> None:
        """The turn itself: Pykka's loop over what waits. Only after ``claim``."""
        assert self._actor is not None
        try:
            self._actor._take_turn()  # noqa: SLF001  (the runtime's other half)
        except TurnOver:
            pass
        except BaseException:  # noqa: BLE001  (SystemExit in on_start: Pykka's thread would die of it)
            self._actor._handle_failure(*sys.exc_info())  # noqa: SLF001

    def settle(self) -> None:
        """End a turn; close the mailbox if the actor has stopped in it."""
        if self._actor is None:  # it was closed in its own turn
            return
        if self._actor.actor_stopped.is_set():
            self._left = -1  # Pykka takes out and answers what is left; no turn is too long for that
            try:
                self._actor._actor_loop_teardown()  # noqa: SLF001
            finally:
                self.close()
            return
        with self.dispatcher.lock:
            self._state = _READY if self._messages else _IDLE
            ready = self._state is _READY
            if not self._messages:
                self._messages = None
        if ready:
            self.dispatcher.schedule(self)

    def close(self) -> None:
        """Let go of the actor and answer everything that waits or will still arrive with ``ActorDeadError``."""
        with self.dispatcher.lock:
            self._state = _CLOSED
            left, self._messages = self._messages or (), None
            self._waiting.gone += len(left)
            self._actor = None
        for envelope in left:
            self._refuse(envelope)

    # Inside

    def _append(self, envelope: Envelope[Any]) -> bool:
        if self._messages is None:
            self._messages = deque()
        if isinstance(envelope.message, self._control):
            self._messages.appendleft(envelope)
        elif len(self._messages) < self._capacity:
            self._messages.append(envelope)
        else:
            return False
        self._waiting.come += 1
        return True

    def _refuse(self, envelope: Envelope[Any]) -> None:
        closed = self._state is _CLOSED
        error = pykka.ActorDeadError("The actor has stopped") if closed else Overloaded("The actor's mailbox is full")
        if envelope.reply_to is not None:
            envelope.reply_to.set_exception((type(error), error, None))
        elif not closed:
            raise error
