"""The asyncio client."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
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
from sessiond.transport.async_commands import Handler
from sessiond.transport.async_line import AsyncLine, Listener
from sessiond.transport.async_watch import AsyncWatch
from sessiond.transport.client_replies import Reply
from sessiond.transport.client_requests import FieldsPage, RecordFieldsPage, RecordPage, Request, SessionPage
from sessiond.transport.registration import Registration

__all__ = ["AsyncClient"]

R = TypeVar("R")


def _started(line: AsyncLine, request: Request[Any]) -> asyncio.Future[Reply]:
    try:
        return line.start(request)
    except SessiondError as error:
        failed: asyncio.Future[Reply] = line.loop.create_future()
        failed.set_exception(error)
        return failed


def _outcome(request: Request[Any], reply: Reply | BaseException) -> Any:
    try:
        if isinstance(reply, BaseException):
            raise reply
        return request.read(reply)
    except SessiondError as error:
        return error


class AsyncClient:
    """``Client`` for asyncio: the same methods, to be awaited, and the same rules.

    Any number of tasks of one event loop may use it at once, over one connection; what they ask for in one turn of the
    loop is sent together. On another event loop, as after a fork, it connects anew.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 7600,
        *,
        timeout: float = 5.0,
        gateway: Registration | None = None,
        commands: Mapping[str, Handler] | None = None,
    ) -> None:
        """See ``Client``.

        ``commands`` carry out what the service asks of a gateway that registers with the capability ``"commands"``:
        each is called with a map of arguments, and what it returns or raises is the answer.
        """
        self.gateway = gateway
        """As which gateway it speaks, if as any."""
        self.listeners: list[Listener] = []
        """Who is told what happens on its connections. For what is built on a client."""
        self._commands = commands or {}
        self._address = (host, port)
        self._timeout = timeout
        self._line: AsyncLine | None = None
        self._watches: weakref.WeakSet[AsyncWatch] = weakref.WeakSet()
        self._is_closed = False

    async def close(self) -> None:
        """Close the connection. Requests under way and later ones raise ``Unavailable``; watches end."""
        self._is_closed = True
        line, self._line = self._line, None
        if line is not None and line.loop is asyncio.get_running_loop():
            await line.close()
        for watch in list(self._watches):
            await watch.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # The methods of the contract

    async def create_session(self, /, **fields: Unpack[CreateArguments]) -> Created:
        """See ``Client.create_session``."""
        return await self._perform(requests.create_session(fields))

    async def get_session(self, target: Target) -> Session:
        """See ``Client.get_session``."""
        return await self._perform(requests.get_session(target))

    async def update_session(
        self, target: Target, /, *, if_version: int | None = None, **changes: Unpack[UpdateArguments]
    ) -> Updated:
        """See ``Client.update_session``."""
        return await self._perform(requests.update_session(target, changes, if_version))

    async def update_session_state(
        self, target: Target, state: str, *, if_version: int | None = None, at: float | None = None
    ) -> Updated:
        """See ``Client.update_session_state``."""
        return await self._perform(requests.update_session_state(target, state, if_version, at))

    async def update_session_metadata(
        self, target: Target, metadata: Mapping[str, Scalar | None], *, if_version: int | None = None
    ) -> Updated:
        """See ``Client.update_session_metadata``."""
        return await self._perform(requests.update_session_metadata(target, metadata, if_version))

    async def touch_session(self, target: Target) -> Updated:
        """See ``Client.touch_session``."""
        return await self._perform(requests.touch_session(target))

    async def end_session(self, target: Target, /, reason: str | None = None, **options: Unpack[EndArguments]) -> Ended:
        """See ``Client.end_session``."""
        return await self._perform(requests.end_session(target, reason, options))

    async def get_session_history(self, target: Target) -> History:
        """See ``Client.get_session_history``."""
        return await self._perform(requests.get_session_history(target))

    async def terminate_session(
        self, target: Target, /, reason: str | None = None, **options: Unpack[CommandArguments]
    ) -> Terminated:
        """See ``Client.terminate_session``."""
        return await self._perform(requests.terminate_session(target, reason, options))

    async def modify_session(
        self, target: Target, /, changes: Mapping[str, Scalar | None], **options: Unpack[CommandArguments]
    ) -> Commanded:
        """See ``Client.modify_session``."""
        return await self._perform(requests.modify_session(target, changes, options))

    async def warn_session(self, target: Target, /, text: str, **options: Unpack[CommandArguments]) -> Commanded:
        """See ``Client.warn_session``."""
        return await self._perform(requests.warn_session(target, text, options))

    async def request_sync(self, gateway: str, /, **options: Unpack[CommandArguments]) -> Commanded:
        """See ``Client.request_sync``."""
        return await self._perform(requests.request_sync(gateway, options))

    async def end_sessions(self, /, **query: Unpack[EndSessionsArguments]) -> EndedSessions:
        """See ``Client.end_sessions``."""
        return await self._perform(requests.end_sessions(query))

    @overload
    async def list_sessions(self, /, *, fields: None = None, **query: Unpack[ListArguments]) -> SessionPage: ...
    @overload
    async def list_sessions(self, /, *, fields: Fields, **query: Unpack[ListArguments]) -> FieldsPage: ...
    async def list_sessions(
        self, /, *, fields: Fields | None = None, **query: Unpack[ListArguments]
    ) -> SessionPage | FieldsPage:
        """See ``Client.list_sessions``."""
        return await self._perform(requests.list_sessions(fields, query))

    async def sessions(self, /, **filters: Unpack[WalkArguments]) -> AsyncIterator[Session]:
        """See ``Client.sessions``."""
        page = await self.list_sessions(**filters)
        for session in page.sessions:
            yield session
        while page.cursor is not None:
            page = await self.list_sessions(**filters, cursor=page.cursor)
            for session in page.sessions:
                yield session

    async def count_sessions(self, /, **query: Unpack[CountArguments]) -> Count:
        """See ``Client.count_sessions``."""
        return await self._perform(requests.count_sessions(query))

    async def explain_limit(self, name: str, /, **options: Unpack[ExplainArguments]) -> Explanation:
        """See ``Client.explain_limit``."""
        return await self._perform(requests.explain_limit(name, options))

    @overload
    async def list_records(self, /, *, fields: None = None, **query: Unpack[RecordArguments]) -> RecordPage: ...
    @overload
    async def list_records(self, /, *, fields: RecordFields, **query: Unpack[RecordArguments]) -> RecordFieldsPage: ...
    async def list_records(
        self, /, *, fields: RecordFields | None = None, **query: Unpack[RecordArguments]
    ) -> RecordPage | RecordFieldsPage:
        """See ``Client.list_records``."""
        return await self._perform(requests.list_records(fields, query))

    async def records(self, /, **filters: Unpack[RecordWalkArguments]) -> AsyncIterator[CallRecord]:
        """See ``Client.records``."""
        page = await self.list_records(**filters)
        for record in page.records:
            yield record
        while page.cursor is not None:
            page = await self.list_records(**filters, cursor=page.cursor)
            for record in page.records:
                yield record

    async def get_record(self, target: Target) -> CallRecord:
        """See ``Client.get_record``."""
        return await self._perform(requests.get_record(target))

    async def register_gateway(self, name: str, /, **options: Unpack[RegistrationArguments]) -> Registered:
        """See ``Client.register_gateway``."""
        return await self._perform(requests.register_gateway(name, options))

    async def heartbeat_gateway(self, name: str, /, *, epoch: str | None = None) -> Renewed:
        """See ``Client.heartbeat_gateway``."""
        return await self._perform(requests.heartbeat_gateway(name, epoch))

    async def list_gateways(self, /, **query: Unpack[GatewayArguments]) -> Gateways:
        """See ``Client.list_gateways``."""
        return await self._perform(requests.list_gateways(query))

    async def sync_sessions(self, gateway: str, /, **options: Unpack[SyncArguments]) -> Synced:
        """See ``Client.sync_sessions``."""
        return await self._perform(requests.sync_sessions(gateway, options))

    def watch(self, /, **filters: Unpack[FilterArguments]) -> AsyncWatch:
        """See ``Client.watch``; this one is for ``async for`` and ``async with``."""
        if self._is_closed:
            raise Unavailable("The client is closed")
        watch = AsyncWatch(*self._address, self._timeout, filters)
        self._watches.add(watch)
        return watch

    async def ping(self) -> str:
        """See ``Client.ping``."""
        return await self._perform(requests.ping())

    async def server_info(self) -> dict[str, Any]:
        """See ``Client.server_info``."""
        return await self._perform(requests.server_info())

    async def call(self, method: str, *params: object) -> Any:
        """See ``Client.call``."""
        return await self._perform(requests.call(method, params))

    async def perform_all(self, requests: Sequence[Request[Any]]) -> list[Any]:
        """The results of requests that are sent together; in place of one that failed its error.

        For what is built on a client: the requests are made by ``client_requests``. All of them are on their way
        before anything else is done.
        """
        line = self._own_line()
        replies = await asyncio.gather(*[_started(line, request) for request in requests], return_exceptions=True)
        return [_outcome(request, reply) for request, reply in zip(requests, replies, strict=True)]

    # Inside

    async def _perform(self, request: Request[R]) -> R:
        return request.read(await self._own_line().start(request))

    def _own_line(self) -> AsyncLine:
        """The line of this event loop."""
        if self._is_closed:
            raise Unavailable("The client is closed")
        line = self._line
        if line is None or line.loop is not asyncio.get_running_loop():
            line = self._line = AsyncLine(*self._address, self._timeout, self.gateway, self._commands, self.listeners)
        return line
