"""A session as its store has acknowledged it: what everybody but its own requests sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sessiond.actors import changes as decide
from sessiond.actors.deadlines import Deadline, Timeouts, held_deadline, next_deadline

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Known, Listed
    from sessiond.actors.incarnation import Incarnation
    from sessiond.actors.record import Session
    from sessiond.actors.retention import EndedSession
    from sessiond.actors.session import SessionActor

__all__ = ["Standing", "State", "newest"]


class State(msgspec.Struct, frozen=True, gc=False):
    """All of a session that a change may change. An activity is no change: nobody answers for it."""

    record: Session
    timeouts: Timeouts
    origin: Instant
    incarnation: Incarnation | None
    timeline: bytes


class Standing(msgspec.Struct, eq=False, gc=False):
    """The directory's entry of a session that is kept: lists, counts and watches see this.

    The session itself is ahead of it while changes are on their way to the store.
    """

    seq: int
    actor: SessionActor
    newest: SessionActor | EndedSession
    """What its requests meet: the actor, or what is left of it once it has ended."""
    state: State

    @classmethod
    def of(cls, session: SessionActor) -> Standing:
        """That of a session that has begun."""
        return cls(session.seq, session, session, session.state())

    @property
    def record(self) -> Session:
        """The last record that is acknowledged."""
        return self.state.record

    @property
    def is_suspect(self) -> bool:
        """Whether the incarnation that holds it is lost."""
        return self.state.incarnation is not None and self.state.incarnation.loss is not None

    def get(self) -> Session:
        """The session as it is shown."""
        return decide.shown(self.record, self.actor.touched.wall, self.expires_at, suspect=self.is_suspect)

    @property
    def expires_at(self) -> float | None:
        """Its earliest deadline in seconds since the epoch, None if none is running."""
        deadline = self._deadline()
        return None if deadline is None else deadline.start.wall + deadline.seconds

    def _deadline(self) -> Deadline | None:
        state, touched = self.state, self.actor.touched
        call, timeouts, origin, incarnation = state.record.state, state.timeouts, state.origin, state.incarnation
        if incarnation is None:
            return next_deadline(call, timeouts, origin, touched)
        return held_deadline(call, timeouts, origin, touched, incarnation.found, incarnation.loss)


def newest(entry: Listed) -> Known:
    """What requests for the session of an entry of the directory meet."""
    return entry.newest if isinstance(entry, Standing) else entry
