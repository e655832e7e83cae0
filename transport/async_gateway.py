"""A gateway for asyncio: known to the service as long as it runs, and of one mind with it about its calls."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, cast

from sessiond.actors.arguments import CreateArguments, SyncArguments
from sessiond.actors.errors import Conflict, ServiceError, SessiondError
from sessiond.actors.record import Scalar, Session
from sessiond.actors.results import Created, EndedCall, Registered, Synced
from sessiond.transport import client_requests as requests
from sessiond.transport.async_client import AsyncClient
from sessiond.transport.async_commands import Handler
from sessiond.transport.async_line import Listener
from sessiond.transport.client_requests import Request
from sessiond.transport.codec import MAX_ARRAY, Notification
from sessiond.transport.gateway_sync import Calls, calls_of, correction, gone, parts, still_there
from sessiond.transport.registration import COMMANDS, REPLACED, Registration

__all__ = ["RETRY", "AsyncGateway", "Pause", "Sessions"]

T = TypeVar("T")

Sessions: TypeAlias = Callable[[], Iterable[CreateArguments] | Awaitable[Iterable[CreateArguments]]]
"""Tells which calls a gateway has."""
Pause: TypeAlias = Callable[[asyncio.Event, float], Awaitable[None]]
"""Waits for an event, so many seconds at most."""

BEATS = 3
"""Heartbeats in a lease: one may be lost and another one late."""
LEASE = 30.0
"""Seconds of a lease as long as the service has told none."""
RETRY = 1.0
"""Seconds between attempts while the service is away, or refuses, or something went wrong."""

logger = logging.getLogger("sessiond.gateway")


async def pause_for(event: asyncio.Event, seconds: float) -> None:
    """Wait for ``event``, ``seconds`` at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class AsyncGateway:
    """Keeps a gateway registered, in ``async with``.

    It connects, registers, sends heartbeats, and does so again whenever the connection was lost. After each
    registration, and when the service asks for it, it compares the gateway's calls with the service's: calls that the
    service does not know are created again, those that the service has ended are told to ``on_ended``, and sessions
    whose calls the gateway has not are ended as ``failed``. A service that is away, late or answers in part is never
    taken for one that knows nothing, nor is a failing ``sessions`` for an empty one.

    What happens to calls is reported through ``client``.
    """

    client: AsyncClient
    """Speaks to the service as this gateway."""

    def __init__(
        self,
        name: str,
        *,
        sessions: Sessions,
        host: str = "127.0.0.1",
        port: int = 7600,
        timeout: float = 5.0,
        epoch: str | None = None,
        lease: float | None = None,
        metadata: Mapping[str, Scalar] | None = None,
        capabilities: Sequence[str] = (),
        commands: Mapping[str, Handler] | None = None,
        on_ended: Callable[[str, str], object] | None = None,
        on_refused: Callable[[SessiondError], object] | None = None,
        on_replaced: Callable[[], object] | None = None,
        pause: Pause = pause_for,
    ) -> None:
        """Be the gateway ``name`` for the service on ``host`` and ``port``.

        Each of the functions given may return its result or something to await.

        Args:
            name: the gateway's name.
            sessions: tells which calls there are now, each as the arguments with which ``create_session`` would create
                it as it is now, with its ``external_id`` and the times that it had. It must list a call from before the
                call's ``create_session`` is sent until its ``end_session`` has been. With the ``request_id`` of that
                ``create_session`` no call can come to be twice, not even if it was created by another process.
            host: where the service is.
            port: where the service is.
            timeout: seconds that each request takes at most.
            epoch: tells this run of the gateway from others; a new one by default. All the processes of one run have
                the same.
            lease: seconds without a sign of life after which the gateway is lost; None leaves them to the service.
            metadata: what operators may want to know of the gateway.
            capabilities: what else it can do, for other programs to see.
            commands: carry out what the service asks for, each with a map of arguments; the result or the error raised
                is the answer. A call that is not there is ``NotFound``.
            on_ended: is told of a call that is up though the service has ended it: its ``external_id``, and the
                reason.
            on_refused: is told why the service does not take this for the gateway; it is asked again and again.
            on_replaced: is told that another instance has taken the gateway's place; this one is out of it for good.
            pause: how to wait.
        """
        offered = {"report_sessions": self._report_sessions, **commands} if commands else {}
        self._registration = Registration(
            name=name,
            epoch=epoch if epoch is not None else secrets.token_hex(8),
            capabilities=(*capabilities, *([COMMANDS] if offered else [])),
            lease=lease,
            metadata=metadata,
        )
        self.client = AsyncClient(host, port, timeout=timeout, gateway=self._registration, commands=offered)
        self.client.listeners.append(_Ear(self))
        self._sessions = sessions
        self._on_ended = on_ended
        self._on_refused = on_refused
        self._on_replaced = on_replaced
        self._pause = pause
        self._lease = lease or LEASE
        self._must_sync = False
        self._refusal: SessiondError | None = None
        """Why the service refuses us, until that was told."""
        self._is_refused = False
        self._is_replaced = False
        self._wake = asyncio.Event()
        self._synced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The gateway's name."""
        return self._registration.name

    @property
    def epoch(self) -> str | None:
        """Tells this run of the gateway from others."""
        return self._registration.epoch

    async def __aenter__(self) -> Self:
        """Register.

        A service that is away is waited for in the background.

        Raises:
            CallerError: the service refuses it.
        """
        try:
            await self.client.ping()
        except ServiceError as error:
            logger.warning("%s is not registered yet: %s", self.name, error)
        except BaseException:
            await self.client.close()
            raise
        self._task = asyncio.create_task(self._live())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.client.close()

    async def synced(self) -> None:
        """Return once the gateway and the service have agreed since the gateway was last registered.

        Raises:
            Conflict: another instance has taken the gateway's place.
        """
        await self._synced.wait()
        if self._is_replaced:
            raise Conflict("Another instance has taken the place of this gateway")

    def sync_soon(self) -> None:
        """Have the calls compared with the service's once more, for whoever may have let something get past it."""
        self._must_sync = True
        self._synced.clear()
        self._wake.set()

    # What happens

    def _connected(self, registered: Registered) -> None:
        self._lease = registered.lease
        self._is_refused = False
        self.sync_soon()

    def _lost(self) -> None:
        self._wake.set()

    def _refused(self, error: SessiondError) -> None:
        if not self._is_refused:  # as long as it goes on, telling it once is enough
            self._is_refused, self._refusal = True, error
            self._wake.set()

    def _replaced(self) -> None:
        self._is_replaced = True
        self._wake.set()
        self._synced.set()

    async def _report_sessions(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.sync_soon()
        return {}

    # What is done

    async def _live(self) -> None:
        while not self._is_replaced:
            self._wake.clear()
            is_well = await self._beat()
            if self._refusal is not None:
                refusal, self._refusal = self._refusal, None
                await self._tell(self._on_refused, refusal)
            if not self._is_replaced and not (is_well and self._must_sync):
                await self._pause(self._wake, self._lease / BEATS if is_well else RETRY * random.uniform(0.5, 1.0))  # noqa: S311
        await self._tell(self._on_replaced)

    async def _beat(self) -> bool:
        """Give a sign of life, which registers if need be, and sync if it is time; whether all went well."""
        try:
            await self.client.ping()
            if self._must_sync:
                self._must_sync = False
                await self._sync()
        except Exception as error:  # whatever it is, the gateway lives on
            self._must_sync = True
            if not isinstance(error, SessiondError):
                logger.exception("The calls of %s could not be compared with the service's", self.name)
            return False
        if not self._must_sync:
            self._synced.set()
        return True

    async def _tell(self, listener: Callable[..., object] | None, *what: object) -> None:
        if listener is None:
            return
        try:
            result = listener(*what)
            if inspect.isawaitable(result):
                await result
        except Exception:
            logger.exception("%r failed", listener)

    # The sync

    async def _calls(self) -> Calls:
        """Which calls the gateway has now."""
        sessions = self._sessions()
        return calls_of(await sessions if inspect.isawaitable(sessions) else sessions)

    async def _sync(self) -> None:
        unknown: list[str] = []
        ended: list[EndedCall] = []
        sync: SyncArguments = {}
        named = list(parts(await self._calls()))
        for number, names in enumerate(named, 1):
            part = await self._ask({**sync, "external_ids": names, "final": number == len(named)})
            sync = {"sync": part.sync}
            unknown += part.unknown
            ended += part.ended
        missing = part.missing
        while part.cursor is not None:
            part = await self._ask({**sync, "cursor": part.cursor})
            missing += part.missing
        await self._create_again(unknown)
        await self._tell_ended(ended)
        await self._end_missing(missing)

    async def _ask(self, options: SyncArguments) -> Synced:
        [answer] = await self._perform([requests.sync_sessions(self.name, options)])
        if isinstance(answer, SessiondError):
            raise answer
        return cast("Synced", answer)

    async def _create_again(self, names: list[str]) -> None:
        """Create what the service does not know and is still up; correct what changed meanwhile.

        An event of such a call may have come to the service before the call was created, and been refused.
        """
        if not names:
            return
        recreated: list[tuple[str, CreateArguments]] = []
        for calls in _batches(still_there(names, await self._calls())):
            creates = [requests.create_session({**call, "gateway": self.name}) for call in calls]
            for call, created in zip(calls, await self._perform(creates), strict=True):
                if isinstance(created, Created):
                    recreated.append((created.id, call))
                elif not isinstance(created, Conflict):  # which means that it is there
                    logger.warning("A call could not be created again: %s", created)
        logger.info("%d calls that the service did not know were created again", len(recreated))
        now = await self._calls()
        corrections = [each for id, call in recreated if (each := correction(id, call, now)) is not None]
        for some in _batches(corrections):
            await self._perform(some)

    async def _tell_ended(self, ended: list[EndedCall]) -> None:
        calls = await self._calls() if ended else {}
        for each in ended:
            if each.external_id in calls:
                await self._tell(self._on_ended, each.external_id, each.end_reason)

    async def _end_missing(self, ids: list[str]) -> None:
        calls = await self._calls() if ids else {}
        for some in _batches(ids):
            found = await self._perform([requests.get_session(each) for each in some])
            over = gone([each for each in found if isinstance(each, Session)], calls, self.epoch)
            logger.info("%d sessions whose calls are over are ended", len(over))
            # Whatever happens to one of them meanwhile shows that it is up.
            await self._perform(
                [requests.end_session(each.id, "failed", {"if_version": each.version}) for each in over]
            )

    async def _perform(self, some: Sequence[Request[Any]]) -> list[Any]:
        """The results of requests, or the caller's errors that they were answered with.

        Raises:
            ServiceError: the service is away or cannot do it: all this is to be done again.
        """
        outcomes = await self.client.perform_all(some)
        for outcome in outcomes:
            if isinstance(outcome, ServiceError):
                raise outcome
        return outcomes


class _Ear(Listener):
    """Hears for a gateway what happens on its connection."""

    def __init__(self, gateway: AsyncGateway) -> None:
        self._gateway = gateway

    def connected(self, registered: Registered | None) -> None:
        assert registered is not None
        self._gateway._connected(registered)  # noqa: SLF001  (it is the gateway's own)

    def lost(self, reason: str) -> None:
        self._gateway._lost()  # noqa: SLF001

    def refused(self, error: SessiondError) -> None:
        self._gateway._refused(error)  # noqa: SLF001

    def notified(self, notification: Notification) -> None:
        if notification.method == REPLACED:
            self._gateway._replaced()  # noqa: SLF001


def _batches(items: list[T]) -> Iterator[list[T]]:
    for begin in range(0, len(items), MAX_ARRAY):
        yield items[begin : begin + MAX_ARRAY]
