"""The servers of a run. All stay up to its end, so that a round can go through them all; the idle ones cost nothing."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from benchmarks.contenders import CONTENDERS, Programs
from benchmarks.measuring import make_resident
from benchmarks.processes import Server

__all__ = ["Fleet"]


class Fleet:
    """Servers by their contender's name and the number of sessions resident on them, each started when first needed."""

    def __init__(self, programs: Programs, runner: asyncio.Runner) -> None:
        self._programs = programs
        self._runner = runner
        self._servers: dict[tuple[str, int], Server] = {}
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.close()

    def server(self, name: str, resident: int = 0) -> Server:
        """The server of ``name`` on which ``resident`` sessions are up."""
        if (name, resident) not in self._servers:
            contender = CONTENDERS[name]
            server = self._servers[name, resident] = self._running.enter_context(contender.run(self._programs))
            if resident:
                self._runner.run(make_resident(contender, server, resident))
        return self._servers[name, resident]
