"""Changes on their way to the store: what is so once one is settled, and the answers that wait for that."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sessiond.actors.consequences import count_end, hang_up
from sessiond.actors.future import Held

if TYPE_CHECKING:
    from sessiond.actors.context import Context
    from sessiond.actors.errors import SessiondError
    from sessiond.actors.incarnation import Incarnation
    from sessiond.actors.record import Session
    from sessiond.actors.standing import Standing, State
    from sessiond.actors.store import Ending

__all__ = ["Begun", "Change", "Changed", "Ended"]

R = TypeVar("R")


class Change(abc.ABC):
    """A change of one session."""

    __slots__ = ("_held", "address", "position", "standing", "state")

    def __init__(self, standing: Standing, position: int, state: State) -> None:
        """A change of the session of ``standing`` to ``state``, which the store acknowledges as ``position``."""
        self.standing = standing
        self.position = position
        self.state = state
        self.address: tuple[str | None, str] | None = None
        """Where the session can be found by this change, and not before."""
        self._held: list[Held[Any]] = []

    @abc.abstractmethod
    def settle(self, context: Context) -> None:
        """Have everything follow: it is acknowledged."""

    def hold(self, answer: R, error: SessiondError | None) -> R:
        """Have ``answer``, or ``error``, be told once this is settled; what it returns is pending."""
        held = Held(answer, None if error is None else error.bare())
        self._held.append(held)
        return cast("R", held)

    def tell(self) -> None:
        """Whoever waits is told."""
        for each in self._held:
            each.release()

    def fail(self, error: SessiondError) -> None:
        """Whoever waits is told that it could not be kept."""
        for each in self._held:
            each.fail(error)


class Begun(Change):
    """There is one session more."""

    __slots__ = ()

    def settle(self, context: Context) -> None:
        """See ``Change``."""
        standing = self.standing
        record, incarnation = standing.record, standing.state.incarnation
        context.directory.add(standing)
        context.directory.by_id[record.id] = standing.newest
        context.admission.came(record)
        if incarnation is not None:
            incarnation.sessions.add(standing.seq)
        if context.residence is not None:
            context.residence.came(standing.seq)
        context.tally.count_created(record)
        _publish(context, standing, None)


class Changed(Change):
    """A session is another than it was."""

    __slots__ = ()

    def settle(self, context: Context) -> None:
        """See ``Change``."""
        standing, new = self.standing, self.state
        old, standing.state = standing.state, new
        if old.incarnation is not new.incarnation:
            _pass_on(standing.seq, old.incarnation, new.incarnation)
        if old.record is not new.record:
            _reindex(context, standing.seq, old.record, new.record)
            _publish(context, standing, old.record)


class Ended(Change):
    """A session is over."""

    __slots__ = ("_ending", "_told")

    def __init__(self, standing: Standing, position: int, ending: Ending, told: Incarnation | None) -> None:
        """It is ``ending`` that is on its way; ``told`` is who is to hang up."""
        super().__init__(standing, position, standing.state)
        self._ending = ending
        self._told = told

    def settle(self, context: Context) -> None:
        """See ``Change``."""
        standing, final = self.standing, self._ending.final
        old, request = standing.state, standing.actor.request
        _pass_on(standing.seq, old.incarnation, None)
        ended = context.retention.keep(standing.seq, final, self._ending.timeline, request, context.clock.read())
        context.directory.end(ended, old.record)
        standing.actor.standing = None  # the two would keep each other
        count_end(context, old.record, final)
        if self._told is not None:
            hang_up(context, final, standing.seq, self._told)


def _pass_on(seq: int, holder: Incarnation | None, successor: Incarnation | None) -> None:
    if holder is not None:
        holder.sessions.discard(seq)
    if successor is not None:
        successor.sessions.add(seq)


def _reindex(context: Context, seq: int, old: Session, new: Session) -> None:
    if old.state != new.state:
        context.directory.state_changed(seq, old.state, new.state)
    else:
        context.directory.changed(seq, old, new)
    if old.answered_at is not new.answered_at:
        context.tally.count_answered(new)


def _publish(context: Context, standing: Standing, old: Session | None) -> None:
    """Record, for those who watch, that ``old`` is no longer the session's record; only while that is recorded."""
    if context.recording is not None:
        context.recording.session_changed(
            old, standing.record, standing.actor.touched.wall, standing.expires_at, standing.is_suspect
        )
