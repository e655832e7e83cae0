"""What follows from a change of a session outside of it: in the indexes, the counts, and for those who watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sessiond.actors.retention import EndedSession

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context
    from sessiond.actors.incarnation import Incarnation
    from sessiond.actors.record import Session
    from sessiond.actors.session import SessionActor

__all__ = ["AtOnce", "Consequences", "count_end", "forget", "hang_up", "pass_on"]

_TOLD = frozenset({"setup_timeout", "idle_timeout", "max_duration", "admin"})
"""A gateway is told to hang up what ended for these reasons. Of what ended because it is lost it knows better, and a
session that crashes is no reason to end a call."""


class Consequences(Protocol):
    """Told by the session, in its turn, of each change that it has just made of itself."""

    beginning: int
    """Sessions that have begun, and are not in the directory yet."""

    @property
    def is_available(self) -> bool:
        """Whether changes can be made at all."""
        ...

    def begun(self, session: SessionActor) -> None:
        """There is a new session.

        Raises:
            Unavailable: it cannot be kept, so that there is none; as for all that follow.
        """

    def moved(self, session: SessionActor, old: Session) -> None:
        """It is in another live state than in ``old``."""

    def changed(self, session: SessionActor, old: Session) -> None:
        """Its fields, metadata or timeouts are others than in ``old``."""

    def claimed(self, session: SessionActor, old: Session, holder: Incarnation | None) -> None:
        """It is no longer held by ``holder``."""

    def noted(self, session: SessionActor) -> None:
        """Its history tells of something that has changed nothing else."""

    def ended(
        self, session: SessionActor, final: Session, timeline: bytes, now: Instant, told: Incarnation | None
    ) -> None:
        """It ends with the record ``final``, and its history with ``timeline``; ``told`` is who is to hang up."""

    def restarted(self, session: SessionActor, fresh: SessionActor) -> None:
        """An actor with the same record has taken its place."""


class AtOnce:
    """Has everything follow at once: nothing is kept beyond the life of the process."""

    is_available = True
    beginning = 0

    def __init__(self, context: Context) -> None:
        """Act on these books."""
        self._context = context
        self._directory = context.directory

    def begun(self, session: SessionActor) -> None:
        """See ``Consequences``."""
        self._directory.add(session)
        if session.incarnation is not None:
            session.incarnation.sessions.add(session.seq)
        self._context.tally.count_created(session.record)
        if self._context.recording is not None:
            self._publish(session, None)

    def moved(self, session: SessionActor, old: Session) -> None:
        """See ``Consequences``."""
        new = session.record
        self._directory.state_changed(session.seq, old.state, new.state)
        if old.answered_at is not new.answered_at:
            self._context.tally.count_answered(new)
        if self._context.recording is not None:
            self._publish(session, old)

    def changed(self, session: SessionActor, old: Session) -> None:
        """See ``Consequences``."""
        new = session.record
        if old.metadata is new.metadata or self._directory.metadata:
            self._directory.changed(session.seq, old, new)
        if self._context.recording is not None:
            self._publish(session, old)

    def claimed(self, session: SessionActor, old: Session, holder: Incarnation | None) -> None:
        """See ``Consequences``."""
        pass_on(session.seq, holder, session.incarnation)
        if self._context.recording is not None:
            self._publish(session, old)

    def noted(self, session: SessionActor) -> None:
        """See ``Consequences``."""

    def ended(
        self, session: SessionActor, final: Session, timeline: bytes, now: Instant, told: Incarnation | None
    ) -> None:
        """See ``Consequences``."""
        context, record = self._context, session.record
        if session.incarnation is not None:
            session.incarnation.sessions.discard(session.seq)
        ended = context.retention.keep(session.seq, final, timeline, session.request, now)
        self._directory.end(ended, record)
        count_end(context, record, final)
        if told is not None:
            hang_up(context, final, session.seq, told)

    def restarted(self, session: SessionActor, fresh: SessionActor) -> None:
        """See ``Consequences``."""
        self._directory.replace(fresh)

    def _publish(self, session: SessionActor, old: Session | None) -> None:
        """Record, for those who watch, that ``old`` is no longer the session's record; only while that is recorded."""
        recording = self._context.recording
        assert recording is not None
        deadline = session.deadline()
        expires_at = None if deadline is None else deadline.start.wall + deadline.seconds
        recording.session_changed(old, session.record, session.touched.wall, expires_at, session.is_suspect)


def pass_on(seq: int, holder: Incarnation | None, successor: Incarnation | None) -> None:
    """A session is held by ``successor`` from now on, and by ``holder`` no more."""
    if holder is not None:
        holder.sessions.discard(seq)
    if successor is not None:
        successor.sessions.add(seq)


def count_end(context: Context, record: Session, final: Session) -> None:
    """Count an end, tell those who watch of it, and forget an ended session that there is no place for any more."""
    if final.answered_at is not record.answered_at:
        context.tally.count_answered(final)
    assert final.ended_at is not None
    context.tally.count_ended(final, final.ended_at - final.created_at)
    if context.recording is not None:
        context.recording.session_changed(record, final, final.last_activity_at, None, suspect=False)
    surplus = context.retention.surplus()
    if surplus is not None:
        forget(context, surplus)


def forget(context: Context, ended: EndedSession) -> None:
    """Know nothing more of a session that has been kept long enough."""
    context.directory.forget(ended.seq, ended.id, ended.external_id)
    if ended.request is not None:
        context.requests.forget(ended.request)


def hang_up(context: Context, final: Session, seq: int, holder: Incarnation) -> None:
    """Have the gateway be told that the service has ended a call, if it is to be."""
    if context.commander is not None and _is_told(context, final):
        context.commander.hang_up(final, seq, holder)


def _is_told(context: Context, final: Session) -> bool:
    """Whether the gateway is to hang up, now that its session has ended.

    Not if another session is left that says that the call is up: a call that was created twice times out once.
    """
    if final.end_reason == "admin" or final.external_id is None:
        return final.end_reason in _TOLD
    return final.end_reason in _TOLD and not context.addressed(final.gateway, final.external_id)[0]
