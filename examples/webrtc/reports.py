"""What sessiond is told about a call: every event, in order, and never at the call's expense."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeAlias

from sessiond import AsyncClient, arguments, errors

__all__ = ["Party", "Report"]

logger = logging.getLogger(__name__)

RETRY = 0.5
"""Seconds until a service that is away is told again."""
LINGER = 60
"""Seconds after the end of a call in which sessiond must have been told of it. Then it will not be."""
WAITING = 256
"""So many events of a call wait for a service that is away. Later ones are dropped, all but the end."""

Party: TypeAlias = Literal["caller", "gateway"]
"""Who can end a call here."""

_Telling: TypeAlias = Callable[[], Awaitable[object]]


class Report:
    """Tells of one call. Its methods return at once; a task of its own sends.

    Each event carries the time at which it happened, since it may be told late. The call is addressed by the gateway's
    own id of it, which outlives a restart of the service; the id that the service gives does not.
    """

    def __init__(self, client: AsyncClient, gateway: str, call: str) -> None:
        """Tell of ``call``, which belongs to ``gateway``."""
        self._client = client
        self._address = {"gateway": gateway, "external_id": call}
        self._events: asyncio.Queue[_Telling | None] = asyncio.Queue()
        self._teller = asyncio.create_task(self._tell_all())

    def created(self, fields: arguments.CreateArguments) -> None:
        """There is such a call. ``fields`` have a ``request_id``, so that it is safe to say so twice."""
        self._add(lambda: self._client.create_session(**fields))

    def moved(self, state: str, at: float) -> None:
        """Its state became ``state`` at this time, in seconds since the epoch."""
        self._add(lambda: self._client.update_session_state(self._address, state, at=at))

    def annotated(self, metadata: Mapping[str, str]) -> None:
        """More, or something else, is known about it."""
        self._add(lambda: self._client.update_session_metadata(self._address, metadata))

    def touched(self) -> None:
        """It still is. A quiet call would be ended by sessiond's ``idle_timeout``."""
        self._add(lambda: self._client.touch_session(self._address))

    def ended(self, reason: str, ended_by: Party, at: float) -> None:
        """It ended. Nothing is to be said after this."""
        self._events.put_nowait(lambda: self._client.end_session(self._address, reason, ended_by=ended_by, at=at))
        self.no_more()

    def no_more(self) -> None:
        """Nothing is to be said after this: sessiond knows the end."""
        self._events.put_nowait(None)

    async def told(self) -> None:
        """Return when all is told, or when it is too late. The call has ended."""
        try:
            async with asyncio.timeout(LINGER):
                await self._teller
        except TimeoutError:
            logger.warning("Call %s: sessiond was not told all about it", self._address["external_id"])

    def _add(self, telling: _Telling) -> None:
        if self._events.qsize() < WAITING:
            self._events.put_nowait(telling)
        else:
            logger.warning("Call %s: too many events wait to be told", self._address["external_id"])

    async def _tell_all(self) -> None:
        while (telling := await self._events.get()) is not None:
            await self._tell(telling)

    async def _tell(self, telling: _Telling) -> None:
        while True:
            try:
                await telling()
            except errors.ServiceError as error:
                logger.debug("Call %s: to be told again: %s", self._address["external_id"], error)
                await asyncio.sleep(RETRY)
            except errors.SessiondError as error:
                logger.warning("Call %s: sessiond refuses: %s", self._address["external_id"], error)
                return
            else:
                return
