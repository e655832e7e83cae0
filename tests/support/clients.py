"""Both clients with one face, so that one test holds for both."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self

from sessiond import AsyncClient, Client
from sessiond.transport.async_line import AsyncLine
from sessiond.transport.async_watch import AsyncWatch

__all__ = ["CLIENTS", "PATIENCE", "SOON", "asynchronous", "await_loss", "hurry", "line_of", "relax", "set_timeout"]

PATIENCE = 20
"""Seconds after which a test that waits has failed. No test that passes waits for so long."""


SOON = 0.05
"""Seconds in which no answer comes because none is sent."""


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine, as one that pytest can run."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


class _BlockingWatch:
    """An ``AsyncWatch`` as a ``ClientWatch``."""

    def __init__(self, watch: AsyncWatch, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._watch, self._run = watch, run

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return self._run(self._watch.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        self._run(self._watch.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Blocking:
    """An ``AsyncClient`` whose methods return when they are done, on whatever thread."""

    def __init__(self, client: AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **options: self._run(method(*args, **options))

    def sessions(self, **filters: Any) -> Iterator[Any]:
        async def collect() -> list[Any]:
            return [session async for session in self._client.sessions(**filters)]

        return iter(self._run(collect()))

    def records(self, **filters: Any) -> Iterator[Any]:
        async def collect() -> list[Any]:
            return [record async for record in self._client.records(**filters)]

        return iter(self._run(collect()))

    def watch(self, **filters: Any) -> _BlockingWatch:
        return _BlockingWatch(self._client.watch(**filters), self._run)

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)


@contextlib.contextmanager
def _blocking_async_client(port: int, **options: Any) -> Iterator[_Blocking]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="async-client")
    thread.start()
    client = _Blocking(AsyncClient(port=port, **options), loop)
    try:
        yield client
    finally:
        client.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


@contextlib.contextmanager
def _client(port: int, **options: Any) -> Iterator[Client]:
    with Client(port=port, **options) as client:
        yield client


CLIENTS = {"blocking": _client, "asyncio": _blocking_async_client}
"""What opens a client of each kind: ``CLIENTS[kind](port, timeout=...)``."""


def hurry(client: Client | _Blocking) -> None:
    """From now on requests of ``client``, which is connected, time out soon."""
    set_timeout(client, SOON)


def relax(client: Client | _Blocking) -> None:
    """From now on requests of ``client``, which is connected, have time."""
    set_timeout(client, PATIENCE)


def await_loss(client: Client | _Blocking) -> None:
    """Return when the end of the connection has arrived at ``client``."""
    link = line_of(client)._link
    if isinstance(client, Client):
        link._readable.poll(PATIENCE * 1000)
    elif link is not None:  # else it has arrived
        client._run(link.closed.wait())


def line_of(client: Client | _Blocking) -> Any:
    """What a client, which has been used, is made of."""
    return (client if isinstance(client, Client) else client._client)._line


def set_timeout(client: Client | _Blocking, seconds: float) -> None:
    """From now on requests of ``client``, which is connected, have so much time."""
    line = line_of(client)
    line._timeout = seconds
    if isinstance(client, _Blocking):
        client._run(_unset_timer(line))


async def _unset_timer(line: AsyncLine) -> None:
    """The timer that is set may be too late for a request with less time."""
    if line._timer is not None:
        line._timer.cancel()
        line._timer = None
