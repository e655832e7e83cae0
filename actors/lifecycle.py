"""How a session ends, and how it is restarted after a crash.

Functions and not methods of the session, so that what follows a crash never runs the code that crashed (but for the
constructor of the fresh actor, which is expected to be able to).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pykka.messages import ProxyCall, _ActorStop

from sessiond.actors import changes as decide
from sessiond.actors.errors import Internal, NotFound, SessiondError
from sessiond.actors.guard import Turn
from sessiond.actors.history import ENDED_FOR, named, noted
from sessiond.actors.incarnation import SERVICE
from sessiond.actors.params import EndOptions
from sessiond.actors.retention import EndedSession, end_result

if TYPE_CHECKING:
    from pykka import Future
    from pykka._envelope import Envelope

    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context
    from sessiond.actors.record import Session
    from sessiond.actors.results import Ended
    from sessiond.actors.session import SessionActor

__all__ = ["conclude", "end_by_service", "forget", "forward", "publish", "restart"]

_TOLD = frozenset({"setup_timeout", "idle_timeout", "max_duration", "admin"})
"""A gateway is told to hang up what ended for these reasons. Of what ended because it is lost it knows better, and a
session that crashes is no reason to end a call."""

_ANSWERED_BY_ENDED = {("get",), ("end",), ("update_state",)}
"""The calls of a session that may succeed after its end."""


def end_by_service(session: SessionActor, reason: str, author: int, *, is_known: bool = False) -> Ended:
    """End a session without having been asked for it by its gateway, which is no activity; the gateway is told.

    ``is_known`` says that it has been.
    """
    context, incarnation = session._context, session._incarnation
    now = context.clock.read()
    ended_by = context.authors[author].kind
    final = decide.finished(session.record, reason, ended_by, EndOptions(), now, session._touched.wall)
    result = conclude(session, final, now, author)
    if incarnation is not None and not is_known and context.commander is not None and _is_told(context, final):
        context.commander.hang_up(final, session.seq, incarnation)
    return result


def _is_told(context: Context, final: Session) -> bool:
    """Whether the gateway is to hang up, now that its session has ended.

    Not if another session is left that says that the call is up: a call that was created twice times out once.
    """
    if final.end_reason == "admin" or final.external_id is None:
        return final.end_reason in _TOLD
    return final.end_reason in _TOLD and not context.directory.addressed(final.gateway, final.external_id)[0]


def conclude(session: SessionActor, final: Session, now: Instant, author: int) -> Ended:
    """Put the last record ``final``, by ``author``, in the place of the actor; the answer to whoever ended it."""
    context = session._context
    record = session.record
    ended_at, reason = cast("float", final.ended_at), cast("str", final.end_reason)
    timeline = noted(session.timeline, ENDED_FOR, author, ended_at, named((reason,)))
    result = end_result(final)
    if session._incarnation is not None:
        session._incarnation.sessions.discard(session.seq)
    ended = context.retention.keep(session.seq, final, timeline, session._request, now)
    context.directory.end(ended, record)
    if final.answered_at is not record.answered_at:
        context.tally.count_answered(final)
    context.tally.count_ended(final, result.duration)
    session.record = final
    if context.recording is not None:
        context.recording.session_changed(record, final, final.last_activity_at, None, suspect=False)
    if session._ref is not None:
        _stop(session)
    surplus = context.retention.surplus()
    if surplus is not None:
        forget(context, surplus)
    return result


def publish(session: SessionActor, old: Session | None) -> None:
    """Record, for those who watch, that ``old`` is no longer the session's record; only while that is recorded."""
    recording = session._context.recording
    assert recording is not None
    deadline = session.deadline()
    expires_at = None if deadline is None else deadline.start.wall + deadline.seconds
    recording.session_changed(old, session.record, session._touched.wall, expires_at, session._is_suspect)


def forget(context: Context, ended: EndedSession) -> None:
    """Know nothing more of a session that has been kept long enough."""
    context.directory.forget(ended.seq, ended.id, ended.external_id)
    if ended.request is not None:
        context.requests.forget(ended.request)


def restart(session: SessionActor, error: BaseException) -> Internal:
    """After a crash: restore the last record into a fresh actor, or end the session if that did not help lately.

    What the caller whose request crashed is told.
    """
    context = session._context
    now = context.clock.read()
    told = Internal("The session crashed; its last good state was kept", id=session.record.id)
    context.crash_log.log(f"session {session.record.id}", error, now.monotonic)
    if context.directory.by_id.get(session.record.id) is not session:
        return told  # it had ended, or been replaced, before it crashed
    if context.session_restarts.crashed(session.seq, now.monotonic) is None or not _revive(session):
        last_activity_at = session._touched.wall
        final = decide.finished(session.record, "crashed", "service", EndOptions(), now, last_activity_at)
        conclude(session, final, now, SERVICE)
    else:
        context.tally.count_restart("session")
    return told


def _revive(session: SessionActor) -> bool:
    context = session._context
    try:
        fresh = session.__class__(
            context,
            session.seq,
            session.record,
            session._timeouts,
            session._origin,
            session._touched,
            session._request,
            session._incarnation,
            session.timeline,
        )
    except BaseException as error:  # noqa: BLE001  (it is the code that has just crashed)
        context.crash_log.log(f"the restart of session {session.record.id}", error, context.clock.read().monotonic)
        return False
    context.directory.replace(fresh)
    _stop(session)
    return True


def _stop(session: SessionActor) -> None:
    ref = session._ref
    if ref is None:  # then nobody can ask whether it has
        return
    ref.actor_stopped.set()
    if ref.actor_inbox.claim_idle():  # the ref was made in this very turn, which had begun without a mailbox
        ref.actor_inbox.settle()


def forward(session: SessionActor, envelope: Envelope[Any]) -> None:
    """Give a message that waited for a stopped session's actor to whatever has taken the actor's place."""
    successor = session._context.directory.by_id.get(session.record.id)
    if successor is not None and successor is not session and not isinstance(successor, EndedSession):
        successor.actor_inbox.inherit(envelope)
    elif envelope.reply_to is None:
        return
    elif isinstance(envelope.message, _ActorStop):
        envelope.reply_to.set(None)
    elif isinstance(successor, EndedSession):
        _answer(successor, envelope.message, envelope.reply_to)
    else:
        envelope.reply_to.set_exception((NotFound, NotFound("No such session", id=session.record.id), None))


def _answer(ended: EndedSession, message: object, reply: Future[Any]) -> None:
    """Answer a message for a session that has ended meanwhile."""
    try:
        if isinstance(message, Turn):
            reply.set(message.operation(ended))
        elif isinstance(message, ProxyCall) and message.attr_path in _ANSWERED_BY_ENDED:
            reply.set(getattr(ended, message.attr_path[0])(*message.args, **message.kwargs))
        else:
            ended.refuse()
    except SessiondError as error:
        reply.set_exception((type(error), error.bare(), None))
    except Exception as error:  # noqa: BLE001  (arguments that no such method takes)
        told = ended._crashed(error)
        reply.set_exception((type(told), told, None))
