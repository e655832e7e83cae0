"""The page that Prometheus reads, made so that no number of readers can take the event loop for themselves."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import ProcessCollector, exposition
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from sessiond.actors.surveyor import Work

__all__ = ["OPENMETRICS", "TEXT", "Format", "Page"]

PAUSE = 0.1
"""Seconds between two makings, which cost some 5 ms of processor each. Who asks sooner waits, and never gets a page
that is older than the question."""


class Format(NamedTuple):
    """How metrics are written down."""

    content_type: str
    encode: Callable[[Collector], bytes]
    end: bytes
    """What comes after the last family, and which ``encode`` writes each time."""


TEXT = Format(exposition.CONTENT_TYPE_PLAIN_0_0_4, exposition.generate_latest, b"")
# All our names are plain. To say so takes half the time of having each looked at for what must be escaped.
OPENMETRICS = Format(
    openmetrics.CONTENT_TYPE_LATEST,
    functools.partial(openmetrics.generate_latest, escaping=openmetrics.ALLOWUTF8),
    b"# EOF\n",
)


class Page:
    """All metrics of a service and its process in one format. Use on the service's event loop."""

    def __init__(self, collecting: Callable[[], Work[list[Metric]]], form: Format) -> None:
        """Show what comes of the work that ``collecting`` begins."""
        self.content_type = form.content_type
        self._collecting = collecting
        self._form = form
        self._process = ProcessCollector(registry=None)
        self._lock = asyncio.Lock()
        self._asked = 0
        self._answered = 0
        self._not_before = 0.0
        self._text = b""

    async def text(self) -> bytes:
        """The page as of a moment after this call, shared with everybody who has called by that moment."""
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._answered < mine:
                await self._make()
        return self._text

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._not_before - loop.time())
        self._not_before = loop.time() + PAUSE
        asked = self._asked
        self._text = await self._written(await self._collected())
        self._answered = asked

    # What takes long is done in pieces, with a turn of the loop after each. A thread would not help: it would hold
    # the interpreter for as long, and nothing could interrupt it.

    async def _collected(self) -> list[Metric]:
        work = self._collecting()
        found = None
        while found is None:
            found = work.step()
            await asyncio.sleep(0)
        return [*found, *self._process.collect()]

    async def _written(self, families: Iterable[Metric]) -> bytes:
        parts = []
        for family in families:
            parts.append(self._form.encode(_Only(family)).removesuffix(self._form.end))
            await asyncio.sleep(0)
        return b"".join([*parts, self._form.end])


class _Only(Collector):
    """A collector of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)
