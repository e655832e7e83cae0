"""One measurement at a time: a load on a server, a client library, the memory of sessions."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator

from benchmarks.clients import OPERATIONS_OF_A_CALL, ClientPeer
from benchmarks.contenders import Contender
from benchmarks.filling import fill
from benchmarks.names import PEERS
from benchmarks.processes import Server
from benchmarks.results import Sample, Size
from benchmarks.scenarios import CLIENT_CALLS, Scenario
from sessiond.bench.driver import drive
from sessiond.bench.measured import Progress, Result
from sessiond.bench.workload import RESIDENT, Call, Step

__all__ = ["PERCENTILES", "make_resident", "measure", "measure_client", "sizes"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
LOCAL = "127.0.0.1"
FIRST_RESIDENT = 1_000_000_000
"""The number of the first call that stays up: far from those that come and go."""


class _Meter:
    """The processor time that a server uses while it is measured."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began: tuple[float, float] | None = None
        self._ended: tuple[float, float] | None = None

    def take(self, progress: Progress) -> None:
        """Note how things stand when the measured time begins, and when it ends."""
        if progress.phase == "measuring" and self._began is None:
            self._began = self._now()
        elif progress.phase == "ending" and self._ended is None:
            self._ended = self._now()

    def used(self) -> tuple[float, float]:
        """The seconds that were measured, and how many of these the processor was used."""
        began, ended = self._began, self._ended or self._now()  # with nothing left to end, nobody tells
        assert began is not None
        return ended[0] - began[0], ended[1] - began[1]

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), self._server.cpu_seconds


async def measure(contender: Contender, server: Server, scenario: Scenario, number: int, seconds: float) -> Sample:
    """Load ``server`` as ``scenario`` says, in round ``number``.

    Raises:
        RuntimeError: the server was lost.
    """
    meter = _Meter(server)
    load = scenario.load(seconds, warm_up=min(0.3, seconds / 2))
    result = await drive(LOCAL, server.port, contender.dialect, load, meter.take)
    if result.lost is not None:
        raise RuntimeError(f"{PEERS[contender.name]}: {result.lost}")
    passed, used = meter.used()
    return Sample(
        scenario=scenario.name,
        peer=contender.name,
        round=number,
        rate=result.rate,
        cpu_us=used / max(result.requests, 1) * 1e6,
        busy=used / passed,
        latencies=_latencies(result),
        errors=dict(result.error_codes),
        behind=result.behind,
    )


def _latencies(result: Result) -> dict[str, float]:
    times = result.all
    return {f"{percent:g}": times.percentile(percent) * 1e3 for percent in PERCENTILES} | {"max": times.max * 1e3}


def measure_client(peer: ClientPeer, server: Server, number: int, seconds: float) -> Sample:
    """Let a client library make calls against ``server``."""
    used = server.cpu_seconds
    begin = time.perf_counter()
    operations = peer.work(server.port, seconds) * OPERATIONS_OF_A_CALL
    passed = time.perf_counter() - begin
    used = server.cpu_seconds - used
    return Sample(
        scenario=CLIENT_CALLS,
        peer=peer.name,
        round=number,
        rate=operations / passed,
        cpu_us=used / operations * 1e6,
        busy=used / passed,
        latencies={},
        errors={},
    )


async def make_resident(contender: Contender, server: Server, count: int) -> None:
    """Have ``count`` calls up on ``server``, for good."""
    calls = map(Call, range(FIRST_RESIDENT, FIRST_RESIDENT + count))
    await fill(server.port, contender.dialect(), calls, RESIDENT)


async def sizes(contender: Contender, server: Server, counts: tuple[int, ...]) -> AsyncIterator[Size]:
    """The memory that ``server``, which is new, takes with each of ``counts`` sessions, which ascend."""
    calls = map(Call, itertools.count())
    empty, present = server.resident_bytes, 0
    for count in counts:
        await fill(server.port, contender.dialect(), itertools.islice(calls, count - present), (Step.CREATE,))
        present = count
        yield Size(contender.name, count, server.resident_bytes - empty)
