"""A service for tests: on real sockets of this machine, its event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from sessiond.actors.registry import RegistryRef
from sessiond.config import Config
from sessiond.service import Service

__all__ = ["Served", "serving"]

PATIENCE = 20
"""Seconds after which a test that waits has failed. No test that passes waits for so long."""


@dataclass
class Served:
    """A service that serves."""

    service: Service
    loop: asyncio.AbstractEventLoop
    host: str = "127.0.0.1"

    @property
    def port(self) -> int:
        return self.service.port

    @property
    def registry(self) -> RegistryRef:
        return self.service.registry

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """The service does nothing at all until the block ends."""
        hangs, goes_on = threading.Event(), threading.Event()
        self.loop.call_soon_threadsafe(lambda: (hangs.set(), goes_on.wait(PATIENCE)))
        hangs.wait(PATIENCE)
        try:
            yield
        finally:
            goes_on.set()


@contextlib.contextmanager
def serving(
    config: Config | None = None,
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    **options: Any,
) -> Iterator[Served]:
    """Serve as ``config`` says, but on free ports of this machine, until the block ends.

    ``options`` are those of ``Service``, such as ``session_class``.
    """
    config = msgspec.structs.replace(config or Config(), listen="127.0.0.1:0", metrics="127.0.0.1:0")
    started: list[Served] = []
    is_started = threading.Event()
    stopping = asyncio.Event()

    async def serve() -> None:
        service = Service(config, **options)
        await service.start()
        started.append(Served(service, asyncio.get_running_loop()))
        is_started.set()
        await stopping.wait()
        await service.stop()

    def run() -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="serving")
    thread.start()
    assert is_started.wait(PATIENCE)
    try:
        yield started[0]
    finally:
        started[0].loop.call_soon_threadsafe(stopping.set)
        thread.join(PATIENCE)
