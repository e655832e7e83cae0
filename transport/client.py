"""The blocking client, for the worker threads of a gateway."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from sessiond.actors.arguments import (
    CommandArguments,
    CountArguments,
    CreateArguments,
    EndArguments,
    EndSessionsArguments,
    ExplainArguments,
    Fields,
    FilterArguments,
    GatewayArguments,
    ListArguments,
    RecordArguments,
    RecordFields,
    RecordWalkArguments,
    RegistrationArguments,
    SyncArguments,
    Target,
    UpdateArguments,
    WalkArguments,
)
from sessiond.actors.call_record import CallRecord
from sessiond.actors.errors import SessiondError, Unavailable
from sessiond.actors.record import Scalar, Session
from sessiond.actors.results import (
    Commanded,
    Count,
    Created,
    Ended,
    EndedSessions,
    Explanation,
    Gateways,
    History,
    Registered,
    Renewed,
    Synced,
    Terminated,
    Updated,
)
from sessiond.transport import client_requests as requests
from sessiond.transport.client_line import Line
from sessiond.transport.client_requests import FieldsPage, RecordFieldsPage, RecordPage, Request, SessionPage
from sessiond.transport.client_watch import ClientWatch
from sessiond.transport.registration import COMMANDS, Registration

__all__ = ["Client"]

R = TypeVar("R")


class Client:
    """Speaks to a service; any number of threads may use it at once, over one connection.

    It connects when it is first used, and anew after a lost connection and in a process that was forked off, so it may
    be made anywhere. Its methods are those of the service. ``target`` is a session's id, or ``{"gateway": ...,
    "external_id": ...}``, which means the live session of that address or else the newest retained one.

    Every method raises the error that the service answered, of the class in ``sessiond.actors.errors`` that has its
    code, or ``RequestTimeout`` if no answer came in time, or ``Unavailable`` if the service cannot be reached. A
    request whose connection was lost is sent again if that is safe, which is not so for one with ``if_version`` and
    for an update after which another one was sent for the same session: these raise ``Unavailable``, with
    ``details["outcome"] == "unknown"``. Once the service has been away for ``timeout`` requests no longer wait for
    it, but fail at once until it is back. Likewise while it takes requests and does not answer them: after two timeouts
    in a row requests raise ``Unavailable`` at once, with ``details["circuit"] == "open"``, but for one now and then
    that looks whether it answers again.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 7600,
        *,
        timeout: float = 5.0,
        gateway: Registration | None = None,
    ) -> None:
        """Speak to the service on ``host`` and ``port``.

        A request takes ``timeout`` seconds at most, repeats and the time to connect included. Each connection is
        registered as the ``gateway``'s first; if the service refuses that, requests raise why. A client has no thread
        of its own, so its requests are the only sign of life that it gives; see ``Gateway``.

        Raises:
            ValueError: ``gateway`` claims that commands can be sent on this client's connection.
        """
        if gateway is not None and COMMANDS in gateway.capabilities:
            raise ValueError("A Client does not listen, so it cannot carry out commands: use Gateway")
        self.gateway = gateway
        """As which gateway it speaks, if as any."""
        self._address = (host, port)
        self._timeout = timeout
        self._line = Line(host, port, timeout, gateway)
        self._watches: weakref.WeakSet[ClientWatch] = weakref.WeakSet()
        self._is_closed = False

    def close(self) -> None:
        """Close the connection. Requests under way and later ones raise ``Unavailable``; watches end."""
        if not self._is_closed:
            line = self._own_line()
            self._is_closed = True
            line.close()
        for watch in list(self._watches):
            watch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # The methods of the contract

    def create_session(self, /, **fields: Unpack[CreateArguments]) -> Created:
        """Create a session; only ``type`` is required.

        Raises:
            Conflict: the ``request_id`` came before with other parameters.
            LimitExceeded: as many sessions live as may, in all or by one of the configured limits.
        """
        return self._perform(requests.create_session(fields))

    def get_session(self, target: Target) -> Session:
        """The session as it is now, or as it ended."""
        return self._perform(requests.get_session(target))

    def update_session(
        self, target: Target, /, *, if_version: int | None = None, **changes: Unpack[UpdateArguments]
    ) -> Updated:
        """Change ``caller``, ``callee``, ``external_id`` or a timeout; None clears, or goes back to the default.

        Raises:
            VersionConflict: the session is not at ``if_version``.
        """
        return self._perform(requests.update_session(target, changes, if_version))

    def update_session_state(
        self, target: Target, state: str, *, if_version: int | None = None, at: float | None = None
    ) -> Updated:
        """Go to ``state``, since ``at`` (epoch seconds).

        Raises:
            InvalidTransition: there is no way from the present state to that one.
            VersionConflict: the session is not at ``if_version``.
        """
        return self._perform(requests.update_session_state(target, state, if_version, at))

    def update_session_metadata(
        self, target: Target, metadata: Mapping[str, Scalar | None], *, if_version: int | None = None
    ) -> Updated:
        """Merge ``metadata`` in; None removes a key.

        Raises:
            VersionConflict: the session is not at ``if_version``.
        """
        return self._perform(requests.update_session_metadata(target, metadata, if_version))

    def touch_session(self, target: Target) -> Updated:
        """Activity without a change: the session is not idle."""
        return self._perform(requests.touch_session(target))

    def end_session(self, target: Target, /, reason: str | None = None, **options: Unpack[EndArguments]) -> Ended:
        """End the session; by default for ``normal`` if it was answered, else for ``failed``.

        Ending an ended session succeeds and changes nothing.

        Raises:
            VersionConflict: the session is not at ``if_version``.
        """
        return self._perform(requests.end_session(target, reason, options))

    def get_session_history(self, target: Target) -> History:
        """When what changed in the session, and by whom; also of one that has ended, as long as it is retained."""
        return self._perform(requests.get_session_history(target))

    def terminate_session(
        self, target: Target, /, reason: str | None = None, **options: Unpack[CommandArguments]
    ) -> Terminated:
        """Have the session's gateway hang up, then end the session with reason ``admin``.

        ``reason`` is for the gateway. It has ``timeout`` seconds to answer, three times, and ``wait`` seconds to come
        back if it is gone; so much longer than others this request may take. That holds for all commands.

        Raises:
            Unavailable: the gateway refused, or is gone; ``details["gateway"]`` says which. The session goes on.
            RequestTimeout: the gateway did not answer (``details["gateway"]`` is ``"timeout"``), or the service.
            Overloaded: too many commands wait for the gateway.
        """
        return self._perform(requests.terminate_session(target, reason, options))

    def modify_session(
        self, target: Target, /, changes: Mapping[str, Scalar | None], **options: Unpack[CommandArguments]
    ) -> Commanded:
        """Have the gateway change something about the call; raises as ``terminate_session``."""
        return self._perform(requests.modify_session(target, changes, options))

    def warn_session(self, target: Target, /, text: str, **options: Unpack[CommandArguments]) -> Commanded:
        """Have the gateway tell those who speak something; raises as ``terminate_session``."""
        return self._perform(requests.warn_session(target, text, options))

    def request_sync(self, gateway: str, /, **options: Unpack[CommandArguments]) -> Commanded:
        """Have a gateway report its sessions; raises as ``terminate_session``."""
        return self._perform(requests.request_sync(gateway, options))

    def end_sessions(self, /, **query: Unpack[EndSessionsArguments]) -> EndedSessions:
        """End the sessions that match as ``terminate_session`` does, ``limit`` at a time.

        Unless ``dry_run`` is false nothing is ended: the answer says what would be.

        Raises:
            LimitExceeded: more match than ``most``.
        """
        return self._perform(requests.end_sessions(query))

    @overload
    def list_sessions(self, /, *, fields: None = None, **query: Unpack[ListArguments]) -> SessionPage: ...
    @overload
    def list_sessions(self, /, *, fields: Fields, **query: Unpack[ListArguments]) -> FieldsPage: ...
    def list_sessions(
        self, /, *, fields: Fields | None = None, **query: Unpack[ListArguments]
    ) -> SessionPage | FieldsPage:
        """One page of the sessions that match, whole or as maps of ``fields``; see also ``sessions``."""
        return self._perform(requests.list_sessions(fields, query))

    def sessions(self, /, **filters: Unpack[WalkArguments]) -> Iterator[Session]:
        """All the sessions that match, fetched page by page.

        One that matches throughout the walk is seen exactly once.
        """
        page = self.list_sessions(**filters)
        yield from page.sessions
        while page.cursor is not None:
            page = self.list_sessions(**filters, cursor=page.cursor)
            yield from page.sessions

    def count_sessions(self, /, **query: Unpack[CountArguments]) -> Count:
        """How many sessions match, also per value of the field ``by``.

        Raises:
            LimitExceeded: more groups than an answer may have.
        """
        return self._perform(requests.count_sessions(query))

    def explain_limit(self, name: str, /, **options: Unpack[ExplainArguments]) -> Explanation:
        """How near the limit of that name is, and the live sessions behind it, a page of them.

        ``value`` says which of the values is meant, of a limit that is about each on its own.

        Raises:
            NotFound: no limit has that name.
        """
        return self._perform(requests.explain_limit(name, options))

    @overload
    def list_records(self, /, *, fields: None = None, **query: Unpack[RecordArguments]) -> RecordPage: ...
    @overload
    def list_records(self, /, *, fields: RecordFields, **query: Unpack[RecordArguments]) -> RecordFieldsPage: ...
    def list_records(
        self, /, *, fields: RecordFields | None = None, **query: Unpack[RecordArguments]
    ) -> RecordPage | RecordFieldsPage:
        """One page of the records of calls that match, whole or as maps of ``fields``; see also ``records``.

        A page may hold few records, or none, and still have a cursor: the service searches only so long for one.

        Raises:
            InvalidRequest: also if the service keeps no records.
        """
        return self._perform(requests.list_records(fields, query))

    def records(self, /, **filters: Unpack[RecordWalkArguments]) -> Iterator[CallRecord]:
        """All the records that match, fetched page by page, in the order in which the ends were kept.

        Raises as ``list_records``.
        """
        page = self.list_records(**filters)
        yield from page.records
        while page.cursor is not None:
            page = self.list_records(**filters, cursor=page.cursor)
            yield from page.records

    def get_record(self, target: Target) -> CallRecord:
        """The record of a session that has ended; of several with an address the newest.

        Raises:
            NotFound: there is none, or none any more.
            InvalidRequest: also if the service keeps no records.
        """
        return self._perform(requests.get_record(target))

    def register_gateway(self, name: str, /, **options: Unpack[RegistrationArguments]) -> Registered:
        """Bind the connection to an incarnation of a gateway: what is asked for on it is asked by the gateway.

        Options are ``epoch``, ``capabilities``, ``lease`` and ``metadata``. It is the present connection that is
        bound, and not one that comes after it.

        Raises:
            Conflict: another incarnation lives and the service's policy does not let this one live beside it, or the
                connection belongs to another gateway or epoch.
            LimitExceeded: as many gateways are known as may be.
        """
        return self._perform(requests.register_gateway(name, options))

    def heartbeat_gateway(self, name: str, /, *, epoch: str | None = None) -> Renewed:
        """Renew the lease of an incarnation by its name; on its own connections any request does that.

        Raises:
            NotFound: no such incarnation is known.
        """
        return self._perform(requests.heartbeat_gateway(name, epoch))

    def list_gateways(self, /, **query: Unpack[GatewayArguments]) -> Gateways:
        """One page of the gateways that have registered, by name; ``name``, ``limit`` and ``cursor`` can be given."""
        return self._perform(requests.list_gateways(query))

    def sync_sessions(self, gateway: str, /, **options: Unpack[SyncArguments]) -> Synced:
        """Say which sessions a gateway has, by ``ids`` and ``external_ids``, and learn where that differs.

        Up to 256 of each can be named in one part. All parts but the last have ``final=False``, all but the first the
        ``sync`` of the answer to the first.

        Raises:
            InvalidRequest: the sync is over, since it took too long or its gateway was lost: begin anew.
        """
        return self._perform(requests.sync_sessions(gateway, options))

    def watch(self, /, **filters: Unpack[FilterArguments]) -> ClientWatch:
        """What there is of the sessions that match, and then every change of them, as it happens.

        An iterator over ``sessiond.events``, which waits for the next one, over a connection of its own; ``Mirror``
        makes of them what there is. Close it, or use it in a ``with`` statement.
        """
        if self._is_closed:
            raise Unavailable("The client is closed")
        watch = ClientWatch(*self._address, self._timeout, filters)
        self._watches.add(watch)
        return watch

    def ping(self) -> str:
        """``"pong"``."""
        return self._perform(requests.ping())

    def server_info(self) -> dict[str, Any]:
        """What runs there, since when, and within which limits."""
        return self._perform(requests.server_info())

    def call(self, method: str, *params: object) -> Any:
        """Any method by its name, with its parameters on the wire; the result as plain data."""
        return self._perform(requests.call(method, params))

    def perform_all(self, requests: Sequence[Request[Any]]) -> list[Any]:
        """The results of requests that are sent together; in place of one that failed its error.

        For what is built on a client: the requests are made by ``client_requests``.
        """
        try:
            return self._own_line().perform_all(requests)
        except SessiondError as error:
            return [error] * len(requests)

    # Inside

    def _perform(self, request: Request[R]) -> R:
        return self._own_line().perform(request)

    def _own_line(self) -> Line:
        """This process's line; raises ``Unavailable`` once the client is closed.

        One that was inherited is not used: its connection is the parent's, and its locks may be held for ever by
        threads that exist there only. Two threads that get here at once make two lines, of which one is used once.
        """
        if self._is_closed:
            raise Unavailable("The client is closed")
        line = self._line
        if line.pid != os.getpid():
            line.abandon()
            line = self._line = Line(*self._address, self._timeout, self.gateway)
        return line
