"""Sessions that are up before anything is measured, and stay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

from sessiond.bench.dialect import Dialect
from sessiond.bench.workload import Call, Step

__all__ = ["fill"]

PIPELINE = 64


async def fill(port: int, dialect: Dialect, calls: Iterator[Call], steps: tuple[Step, ...]) -> None:
    """Take ``calls`` through ``steps``, one connection's pipeline at a time.

    Raises:
        RuntimeError: the server refused a request, or closed the connection.
    """
    loop = asyncio.get_running_loop()
    transport, filler = await loop.create_connection(lambda: _Filler(dialect, calls, steps), "127.0.0.1", port)
    try:
        await filler.done
    finally:
        transport.close()


class _Filler(asyncio.Protocol):
    """The connection. Each slot has a call and the index of its present step."""

    def __init__(self, dialect: Dialect, calls: Iterator[Call], steps: tuple[Step, ...]) -> None:
        self._dialect = dialect
        self._calls = calls
        self._steps = steps
        self._slots: dict[int, tuple[Call, int]] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send(slot for slot in range(PIPELINE))

    def data_received(self, data: bytes) -> None:
        answered = []
        for slot, error in self._dialect.decode(data):
            if error is not None:
                self._give_up(f"a session could not be made: {error}")
            answered.append(slot)
        self._send(answered)

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up(f"the connection was lost: {exc}")

    def _send(self, slots: Iterator[int] | list[int]) -> None:
        """Send the next request of each slot that has one."""
        frames = []
        for slot in slots:
            job = self._advanced(slot)
            if job is not None:
                self._slots[slot] = job
                frames.append(self._dialect.encode(slot, self._steps[job[1]], job[0]))
        self._transport.write(b"".join(frames))
        if not self._slots and not self.done.done():
            self.done.set_result(None)

    def _advanced(self, slot: int) -> tuple[Call, int] | None:
        """What ``slot`` does next."""
        call, at = self._slots.pop(slot, (None, 0))
        if call is not None and at + 1 < len(self._steps):
            return call, at + 1
        call = next(self._calls, None)
        return None if call is None else (call, 0)

    def _give_up(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(reason))
