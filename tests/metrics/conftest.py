"""What the tests of metrics share: tests that are coroutines, and a loop whose clock they move."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop with real sockets, whose clock also goes forward when a test says so: at once."""

    _stepped = 0.0

    def time(self) -> float:
        return super().time() + self._stepped

    def step(self, seconds: float) -> None:
        self._stepped += seconds


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, on a stepped loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Visitor:
    """An HTTP client that sends whatever bytes it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.send = writer.write
        self.end = writer.write_eof
        self.is_closed = reader.at_eof

    async def reply(self, *, with_body: bool = True) -> Reply:
        """The next answer."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines[1:])
        headers = {name.lower(): value for name, value in headers.items()}
        body = await self._reader.readexactly(int(headers["content-length"])) if with_body else b""
        return Reply(int(lines[0].split()[1]), headers, body.decode())

    async def get(self, path: str, *headers: str) -> Reply:
        self.send("\r\n".join((f"GET {path} HTTP/1.1", "Host: test", *headers, "", "")).encode())
        return await self.reply()

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        with contextlib.suppress(ConnectionResetError):
            return await self._reader.read()
        return b"reset"


@contextlib.asynccontextmanager
async def _visiting(port: int) -> AsyncIterator[Visitor]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Visitor(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
def visiting():
    """Connects a visitor to a port: ``async with visiting(port) as visitor``."""
    return _visiting
