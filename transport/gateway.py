"""A gateway for threads: ``AsyncGateway`` on a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from sessiond.actors.arguments import CreateArguments
from sessiond.actors.errors import SessiondError
from sessiond.actors.record import Scalar
from sessiond.transport.async_gateway import AsyncGateway
from sessiond.transport.client import Client
from sessiond.transport.registration import Registration

__all__ = ["Gateway"]

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 32
"""Functions of the gateway that are called at once, at most: commands that take their time, above all."""


class Gateway:
    """``AsyncGateway`` in ``with``, for gateways that use threads.

    What it is given are plain functions, which it calls on threads of its own; several commands may be carried out at
    once. What happens to calls is reported through ``client``, by any thread, best by a ``Reporter``.
    """

    client: Client
    """Speaks to the service as this gateway, over a connection of its own."""

    def __init__(
        self,
        name: str,
        *,
        sessions: Callable[[], Iterable[CreateArguments]],
        host: str = "127.0.0.1",
        port: int = 7600,
        timeout: float = 5.0,
        epoch: str | None = None,
        lease: float | None = None,
        metadata: Mapping[str, Scalar] | None = None,
        capabilities: Sequence[str] = (),
        commands: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None,
        on_ended: Callable[[str, str], object] | None = None,
        on_refused: Callable[[SessiondError], object] | None = None,
        on_replaced: Callable[[], object] | None = None,
    ) -> None:
        """See ``AsyncGateway``."""
        self._gateway = AsyncGateway(
            name,
            sessions=_threaded(sessions),
            host=host,
            port=port,
            timeout=timeout,
            epoch=epoch,
            lease=lease,
            metadata=metadata,
            capabilities=capabilities,
            commands={name: _threaded(command) for name, command in (commands or {}).items()},
            on_ended=on_ended and _threaded(on_ended),
            on_refused=on_refused and _threaded(on_refused),
            on_replaced=on_replaced and _threaded(on_replaced),
        )
        registration = Registration(
            name=name, epoch=self._gateway.epoch, capabilities=tuple(capabilities), lease=lease, metadata=metadata
        )
        self.client = Client(host, port, timeout=timeout, gateway=registration)
        self._thread = threading.Thread(target=self._run, name=f"gateway-{name}")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._is_up = threading.Event()
        self._failure: BaseException | None = None

    @property
    def name(self) -> str:
        """The gateway's name."""
        return self._gateway.name

    @property
    def epoch(self) -> str | None:
        """Tells this run of the gateway from others."""
        return self._gateway.epoch

    def __enter__(self) -> Self:
        """Register; see ``AsyncGateway``.

        Raises:
            CallerError: the service refuses it.
        """
        self._thread.start()
        self._is_up.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def synced(self, timeout: float | None = None) -> None:
        """Return once the gateway and the service have agreed since the gateway was last registered.

        Raises:
            TimeoutError: that took longer than ``timeout`` seconds.
            Conflict: another instance has taken the gateway's place.
        """
        assert self._loop is not None, "outside of its with block"
        asyncio.run_coroutine_threadsafe(self._gateway.synced(), self._loop).result(timeout)

    def sync_soon(self) -> None:
        """See ``AsyncGateway``."""
        assert self._loop is not None, "outside of its with block"
        self._loop.call_soon_threadsafe(self._gateway.sync_soon)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001  (the thread that waits raises it)
            self._failure = error
        finally:
            self._is_up.set()

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS, f"gateway-{self.name}"))
        async with self._gateway:
            self._loop = loop
            self._is_up.set()
            await self._stop.wait()


def _threaded(function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    async def run(*args: P.args, **options: P.kwargs) -> R:
        return await asyncio.to_thread(function, *args, **options)

    return run
