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
    from sessiond.actors.context import Known
    from sessiond.actors.incarnation import Incarnation
    from sessiond.actors.record import Session
    from sessiond.actors.results import Ended
    from sessiond.actors.session import SessionActor

__all__ = ["conclude", "dismiss", "end_by_service", "forward", "restart"]

_ANSWERED_BY_ENDED = {("get",), ("end",), ("update_state",)}
"""The calls of a session that may succeed after its end."""


def end_by_service(session: SessionActor, reason: str, author: int, *, is_known: bool = False) -> Ended:
    """End a session without having been asked for it by its gateway, which is no activity; the gateway is told.

    ``is_known`` says that it has been.
    """
    context = session._context
    now = context.clock.read()
    ended_by = context.authors[author].kind
    final = decide.finished(session.record, reason, ended_by, EndOptions(), now, session.touched.wall)
    return conclude(session, final, now, author, None if is_known else session.incarnation)


def conclude(
    session: SessionActor, final: Session, now: Instant, author: int, told: Incarnation | None = None
) -> Ended:
    """Put the last record ``final``, by ``author``, in the place of the actor; the answer to whoever ended it.

    ``told`` is who is to hang up.
    """
    ended_at, reason = final.ended_at, final.end_reason
    assert ended_at is not None
    assert reason is not None
    timeline = noted(session.timeline, ENDED_FOR, author, ended_at, named((reason,)))
    session._context.consequences.ended(session, final, timeline, now, told)
    session.record = final
    if session._ref is not None:
        dismiss(session)
    return end_result(final)


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
    is_hopeless = context.session_restarts.crashed(session.seq, now.monotonic) is None
    if (is_hopeless and context.consequences.is_available) or not _revive(session):
        last_activity_at = session.touched.wall
        final = decide.finished(session.record, "crashed", "service", EndOptions(), now, last_activity_at)
        conclude(session, final, now, SERVICE)
    else:
        context.tally.count_restart("session")
    return told


def _revive(session: SessionActor) -> bool:
    context = session._context
    try:
        fresh = session.again(session.state())
    except BaseException as error:  # noqa: BLE001  (it is the code that has just crashed)
        context.crash_log.log(f"the restart of session {session.record.id}", error, context.clock.read().monotonic)
        return False
    context.consequences.restarted(session, fresh)
    dismiss(session)
    return True


def dismiss(session: SessionActor) -> None:
    """Something else has taken the actor's place: whoever holds its ref finds it dead."""
    ref = session._ref
    if ref is None:  # then nobody can ask whether it has
        return
    ref.actor_stopped.set()
    if ref.actor_inbox.claim_idle():  # the ref was made in this very turn, which had begun without a mailbox
        ref.actor_inbox.settle()


def forward(session: SessionActor, envelope: Envelope[Any]) -> None:
    """Give a message that waited for a stopped session's actor to whatever has taken the actor's place."""
    successor = cast("Known | None", session._context.directory.by_id.get(session.record.id))
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
            reply.set(ended.run_turn(message.operation))
        elif isinstance(message, ProxyCall) and message.attr_path in _ANSWERED_BY_ENDED:
            reply.set(ended.run_turn(lambda it: getattr(it, message.attr_path[0])(*message.args, **message.kwargs)))
        else:
            ended.run_turn(lambda it: it.refuse())
    except SessiondError as error:
        reply.set_exception((type(error), error.bare(), None))
    except Exception as error:  # noqa: BLE001  (arguments that no such method takes)
        told = ended._crashed(error)
        reply.set_exception((type(told), told, None))
