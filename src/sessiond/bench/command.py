"""The command: the ceiling of the generator, then the service, then the report."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

from sessiond.actors.errors import Unavailable
from sessiond.bench.dialect import EchoedRpc, MessagePackRpc
from sessiond.bench.driver import drive
from sessiond.bench.echo import echo_server
from sessiond.bench.measured import Load
from sessiond.bench.progress import ProgressLine
from sessiond.bench.report import Report
from sessiond.call import server_address
from sessiond.serve import loop_factory
from sessiond.sources import ConfigError

__all__ = ["bench", "exit_code"]

CEILING_DURATION = 1.0
CEILING_WARM_UP = 0.3
"""Seconds."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def bench(server: str, load: Load, progress: ProgressLine, *, has_ceiling: bool) -> Report:
    """Do ``load`` to the service at ``server``; with the generator's ceiling if that is wanted.

    A signal ends the measurement, and the report tells of what was measured so far; a second one ends it at once.

    Raises:
        ConfigError: ``server`` is not HOST:PORT, or ``load`` does not fit together.
        Unavailable: the service cannot be reached.
        KeyboardInterrupt: the signal came before the measurement began, or twice.
    """
    host, port = server_address(server)
    if load.touches and not (load.rate and load.resident):
        raise ConfigError("--touches needs --rate, and sessions to touch: --resident")
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        try:
            return runner.run(_bench(host, port, load, progress, has_ceiling=has_ceiling))
        finally:
            progress.clear()


def exit_code(report: Report) -> int:
    """What a shell is told of a report: 0, 1 if requests failed, 3 if the service was lost."""
    if report.result.lost is not None:
        return 3
    return 1 if report.result.error_codes else 0


async def _bench(host: str, port: int, load: Load, progress: ProgressLine, *, has_ceiling: bool) -> Report:
    with _stop_on_signals() as stop:
        ceiling = await _ceiling(load, progress, stop) if has_ceiling else None
        if stop.is_set():
            raise KeyboardInterrupt
        try:
            result = await drive(host, port, MessagePackRpc, load, progress.show, stop)
        except OSError as error:
            raise Unavailable(f"{host}:{port} cannot be reached: {error.strerror or error or 'timed out'}") from None
        return Report(f"{host}:{port}", load, result, ceiling)


async def _ceiling(load: Load, progress: ProgressLine, stop: asyncio.Event) -> float:
    """Requests per second against an echo server, with as many connections and requests under way on each.

    Raises:
        Unavailable: that cannot be found out, for want of open files for one.
    """
    progress.say("measuring what this generator can do")
    alike = Load(
        connections=load.connections, pipeline=load.pipeline, duration=CEILING_DURATION, warm_up=CEILING_WARM_UP
    )
    try:
        async with echo_server() as port:
            result = await drive("127.0.0.1", port, EchoedRpc, alike, stop=stop)
    except OSError as error:
        raise Unavailable(f"The generator cannot be measured: {error.strerror or error}") from None
    if result.lost is not None:
        raise Unavailable(f"The generator cannot be measured: {result.lost}")
    return result.rate


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that the first signal sets; the second one finds no handler."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def handle() -> None:
        stop.set()
        forget()

    def forget() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, handle)
    try:
        yield stop
    finally:
        forget()
