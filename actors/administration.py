"""What an administrator can do to a call: the commands to its gateway, and what follows from what comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from sessiond.actors.command import Command
from sessiond.actors.commanding import DONE, NOT_ASKED, NOT_FOUND, Verdict, refusal
from sessiond.actors.errors import NotFound
from sessiond.actors.future import Pending
from sessiond.actors.guard import perform
from sessiond.actors.incarnation import ADMIN
from sessiond.actors.lifecycle import end_by_service
from sessiond.actors.params import CommandOptions
from sessiond.actors.results import Commanded, Ended, Terminated
from sessiond.actors.retention import EndedSession, end_result
from sessiond.actors.states import ENDED

if TYPE_CHECKING:
    from sessiond.actors.commander import CommanderActor
    from sessiond.actors.context import Context, Known
    from sessiond.actors.session import SessionActor

__all__ = ["request_sync", "tell", "terminate"]

_NO_OPTIONS = CommandOptions()


def terminate(context: Context, session: Known, reason: str | None, options: CommandOptions | None) -> Terminated:
    """Have the gateway hang up, and end the session once it has; what it returns is pending.

    Raises:
        Unavailable: the gateway refused, or is not there.
        RequestTimeout: the gateway did not answer.
        Overloaded: too many commands wait for it.
    """
    if isinstance(session, EndedSession):
        return perform(session, lambda ended: _terminated(end_result(ended.record), NOT_ASKED))
    actor = session
    command = _about(context, actor, "terminate_session", {"reason": reason or "admin"}, options)
    command.read = lambda verdict: _follow(context, actor, verdict)
    return cast("Terminated", _commander(context).carry_out(command))


def tell(
    context: Context, session: Known, method: str, arguments: Mapping[str, object], options: CommandOptions | None
) -> Commanded:
    """Have the gateway do something else about a session; errors as of ``terminate``."""
    if isinstance(session, EndedSession):
        return cast("Commanded", perform(session, lambda ended: ended.refuse()))
    command = _about(context, session, method, arguments, options)
    return cast("Commanded", _commander(context).carry_out(command))


def request_sync(context: Context, gateway: str, options: CommandOptions | None) -> Commanded:
    """Have every run of a gateway that is there report its sessions; errors as of ``terminate``.

    Raises:
        NotFound: no gateway of that name has registered.
    """
    known = context.incarnations.of.get(gateway)
    if known is None:
        raise NotFound("No such gateway", gateway=gateway)
    live = [each for each in known if each.loss is None and each.takes_commands]
    all_of_them = _All(len(live) or 1)
    for holder in live or (None,):
        command = _command(context, gateway, "report_sessions", {}, options)
        command.holder = holder
        _commander(context).carry_out(command).then(all_of_them.take)
    return cast("Commanded", all_of_them.pending)


class _All:
    """The one answer to several commands: that all were carried out, or why one was not."""

    def __init__(self, count: int) -> None:
        self.pending: Pending[Commanded] = Pending()
        self._left = count
        self._error: BaseException | None = None

    def take(self, _done: Commanded | None, error: BaseException | None) -> None:
        self._left -= 1
        self._error = self._error or error
        if not self._left:
            if self._error is None:
                self.pending.set(Commanded(DONE))
            else:
                self.pending.fail(self._error)


def _commander(context: Context) -> CommanderActor:
    assert context.commander is not None, "the registry starts it before it takes any request"
    return context.commander


def _command(
    context: Context, gateway: str, method: str, arguments: Mapping[str, object], options: CommandOptions | None
) -> Command[Commanded]:
    options = options or _NO_OPTIONS
    return Command(gateway, method, arguments, _commander(context).course(options.timeout, options.wait), _commanded)


def _about(
    context: Context,
    session: SessionActor,
    method: str,
    arguments: Mapping[str, object],
    options: CommandOptions | None,
) -> Command[Any]:
    """A command that is over when its session has ended."""
    record = session.record
    named = {"id": record.id, "external_id": record.external_id, **arguments}
    command = _command(context, record.gateway or "", method, named, options)
    command.seq = session.seq
    command.needs_life = True
    return command


def _commanded(verdict: Verdict) -> Commanded:
    if verdict.outcome != DONE:
        raise refusal(verdict)
    return Commanded(DONE, verdict.result)


def _follow(context: Context, session: SessionActor, verdict: Verdict) -> Terminated:
    """End the session if the gateway has hung up, or nobody could be asked; an end that it has stands."""
    present = context.session(session.seq)
    if present is not None:
        if not isinstance(present, EndedSession) and verdict.outcome not in {DONE, NOT_FOUND, NOT_ASKED}:
            raise refusal(verdict)
        return perform(present, lambda known: _end(known, verdict.outcome))
    record = session.record
    if record.state != ENDED:
        raise NotFound("The session has ended, and is not retained any more", id=record.id)
    return _terminated(end_result(record), verdict.outcome)


def _end(known: Known, outcome: str) -> Terminated:
    if isinstance(known, EndedSession):
        return _terminated(end_result(known.record), outcome)
    return _terminated(end_by_service(known, "admin", ADMIN, is_known=True), outcome)


def _terminated(ended: Ended, outcome: str) -> Terminated:
    return Terminated(**msgspec.structs.asdict(ended), gateway=outcome)
