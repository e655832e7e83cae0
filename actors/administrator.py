"""The part of the registry that administrators use: calls are ended, changed and spoken to by way of their gateways."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from sessiond.actors.administration import request_sync, tell, terminate
from sessiond.actors.arguments import CommandArguments, EndSessionsArguments, Target
from sessiond.actors.commander import CommanderActor
from sessiond.actors.ender import EnderActor
from sessiond.actors.params import (
    Address,
    CommandOptions,
    CountQuery,
    EndQuery,
    ListQuery,
    TerminateArguments,
    checked,
    checked_metadata,
    checked_name,
    checked_target,
)
from sessiond.actors.results import Commanded, Count, EndedSessions, Page, Terminated
from sessiond.actors.service import ServiceActor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sessiond.actors.actor import EventRef
    from sessiond.actors.context import Known
    from sessiond.actors.record import Scalar

__all__ = ["AdministratorActor"]

R = TypeVar("R")


class AdministratorActor(ServiceActor):
    """What is said of targets and errors in ``RegistryActor`` holds here too."""

    _ender: EnderActor

    # The methods of the contract

    def terminate_session(
        self, target: Target, /, reason: str | None = None, **options: Unpack[CommandArguments]
    ) -> Terminated:
        """Have the session's gateway hang up, then end the session with reason ``admin``.

        If the gateway ends it by itself meanwhile, that end stands. A gateway that takes no commands is not asked.
        ``reason`` is for the gateway. The answer comes when the gateway's has, or when it is given up: it has
        ``timeout`` seconds to answer, three times, and ``wait`` seconds to return if it is gone.

        Raises:
            Unavailable: the gateway refused, or is gone (``details["gateway"]``); the session stays as it was.
            RequestTimeout: it did not answer; likewise.
            Overloaded: too many commands wait for it.
        """
        arguments = checked({"reason": reason}, TerminateArguments)
        return self.terminate(checked_target(target), arguments.reason, checked(options, CommandOptions))

    def modify_session(
        self, target: Target, /, changes: Mapping[str, Scalar | None], **options: Unpack[CommandArguments]
    ) -> Commanded:
        """Have the gateway change something about a call; what ``changes`` mean is between you and it.

        Raises as ``terminate_session``.
        """
        patience = checked(options, CommandOptions)
        arguments = {"changes": checked_metadata(changes, "changes")}
        return self.tell(checked_target(target), "modify_session", arguments, patience)

    def warn_session(self, target: Target, /, text: str, **options: Unpack[CommandArguments]) -> Commanded:
        """Have the gateway tell those who speak ``text``, as well as it can. Raises as ``terminate_session``."""
        patience = checked(options, CommandOptions)
        return self.tell(checked_target(target), "warn_session", {"text": checked_name(text, "text")}, patience)

    def request_sync(self, gateway: str, /, **options: Unpack[CommandArguments]) -> Commanded:
        """Have a gateway report its sessions. Raises as ``terminate_session``, and ``NotFound`` for one not known."""
        patience = checked(options, CommandOptions)
        return self.request_report(checked_name(gateway, "gateway"), patience)

    def end_sessions(self, /, **query: Unpack[EndSessionsArguments]) -> EndedSessions:
        """End the sessions that match, by ``terminate_session``, a page of them at a time; see ``params.EndQuery``.

        By default nothing is ended: the answer says what would be.

        Raises:
            LimitExceeded: more match than ``most``.
        """
        return self.end_many(checked(query, EndQuery))

    # The same with checked arguments

    def terminate(
        self, target: str | Address, reason: str | None = None, options: CommandOptions | None = None
    ) -> Terminated:
        """``terminate_session`` with checked arguments."""
        return self.meet(target, lambda session: terminate(self._context, session, reason, options))

    def tell(
        self, target: str | Address, method: str, arguments: Mapping[str, object], options: CommandOptions | None
    ) -> Commanded:
        """``modify_session`` and ``warn_session`` with checked arguments."""
        return self.meet(target, lambda session: tell(self._context, session, method, arguments, options))

    def request_report(self, gateway: str, options: CommandOptions | None) -> Commanded:
        """``request_sync`` with checked arguments."""
        return request_sync(self._context, gateway, options)

    def end_many(self, query: EndQuery) -> EndedSessions:
        """``end_sessions`` with a checked query."""
        return self._ender.end(query)

    def close_commands(self) -> None:
        """The service stops: commands that are not over are given up, and no more are carried out."""
        self._ender.close()
        if self._context.commander is not None:
            self._context.commander.close()

    # What it needs of the rest of the registry

    @abc.abstractmethod
    def meet(self, target: str | Address, work: Callable[[Known], R]) -> R:
        """See ``RegistryActor``."""

    @abc.abstractmethod
    def number(self, query: CountQuery) -> Count:
        """See ``RegistryActor``."""

    @abc.abstractmethod
    def page(self, query: ListQuery) -> Page:
        """See ``RegistryActor``."""

    def _start_colleagues(self) -> tuple[EventRef[Any], ...]:
        """Start the actors that carry commands out."""
        commander = CommanderActor.start(self._context)
        self._context.commander = commander.local()
        ender = EnderActor.start(self._context, self)
        self._ender = ender.local()
        return (commander, ender)
