"""``python -m sessiond.bench.echo``: a server that writes back what it reads, as fast as this runtime can.

It listens on a free port of this machine, prints it, and ends when its standard input does: with whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import cast

from sessiond.serve import loop_factory

__all__ = ["echo_server"]

STARTS_WITHIN = 10.0
"""Seconds."""


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


def _make_room() -> None:
    """Leave the cores of a generator that is pinned to some, if there are others: its pinning is inherited."""
    if hasattr(os, "sched_setaffinity"):
        others = {*range(os.cpu_count() or 1)} - os.sched_getaffinity(0)
        with contextlib.suppress(OSError):  # none is left, or this process may not have them
            os.sched_setaffinity(0, others)


async def _serve() -> None:
    _make_room()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Echo, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """The port of an echo server, which runs in a process of its own until the block ends.

    Raises:
        OSError: it does not start.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sessiond.bench.echo",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(STARTS_WITHIN):
            line = await process.stdout.readline()
        if not line:
            raise OSError("the echo server does not start")
        yield int(line)
    finally:
        process.stdin.close()
        await process.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve())
