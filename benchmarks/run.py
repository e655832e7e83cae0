"""A whole run: round by round each peer in each scenario, and then the memory of sessions."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import uvloop

from benchmarks.clients import CLIENTS, ClientPeer
from benchmarks.contenders import CONTENDERS, Programs
from benchmarks.fleet import Fleet
from benchmarks.measuring import measure, measure_client, sizes
from benchmarks.processes import pinned
from benchmarks.results import Machine, Options, Results, Sample, Size
from benchmarks.scenarios import ALL_SIZES, SCENARIOS, SIZES, STORED_SCENARIOS, Scenario

__all__ = ["measure_all"]

T = TypeVar("T")


def measure_all(
    programs: Programs,
    machine: Machine,
    options: Options,
    only: Collection[str],
    *,
    is_full: bool = False,
    has_stores: bool = False,
) -> Results:
    """Measure the peers named in ``only``; with ``is_full`` up to a million sessions, or what concerns stores alone.

    Raises:
        RuntimeError: a server could not be started, or was lost.
    """
    date = datetime.now(UTC).date().isoformat()
    with pinned(options.load_core), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if has_stores:
            samples = list(_told(_rounds(programs, options, only, runner, STORED_SCENARIOS)))
            return Results(date, machine, options, samples, [])
        samples = list(_told(_rounds(programs, options, only, runner, SCENARIOS, CLIENTS)))
        counts = SIZES | ALL_SIZES if is_full else SIZES
        chosen = {name: each for name, each in counts.items() if name in only}
        found = [size for name, each in chosen.items() for size in runner.run(_sizes(programs, name, each))]
    return Results(date, machine, options, samples, found)


def _rounds(
    programs: Programs,
    options: Options,
    only: Collection[str],
    runner: asyncio.Runner,
    scenarios: Sequence[Scenario],
    clients: Sequence[ClientPeer] = (),
) -> Iterator[Sample]:
    """All samples. Peers take turns within a scenario, and in each round another one begins."""
    with Fleet(programs, runner) as fleet:
        for number in range(options.rounds):
            for scenario in scenarios:
                for name in _turned([name for name in scenario.peers if name in only], number):
                    server = fleet.server(name, scenario.resident)
                    yield runner.run(measure(CONTENDERS[name], server, scenario, number, options.seconds))
            for client in _turned([client for client in clients if client.name in only], number):
                yield measure_client(client, fleet.server(client.server), number, options.seconds)


def _turned(items: list[T], by: int) -> list[T]:
    by %= len(items) or 1
    return items[by:] + items[:by]


async def _sizes(programs: Programs, name: str, counts: tuple[int, ...]) -> list[Size]:
    """The memory of one peer with each number of sessions."""
    with CONTENDERS[name].run(programs) as server:
        found = []
        async for size in sizes(CONTENDERS[name], server, counts):
            _say(f"{name:18} {size.sessions:>9,} sessions {size.bytes / size.sessions:>9,.0f} bytes each")
            found.append(size)
        return found


def _told(samples: Iterator[Sample]) -> Iterator[Sample]:
    """The same samples, each told when it is there."""
    for sample in samples:
        _say(
            f"round {sample.round + 1}  {sample.scenario:15} {sample.peer:18} {sample.rate:>9,.0f}/s "
            f"{sample.cpu_us:>8.1f} us {sample.busy:>5.0%}  {'' if not sample.errors else sample.errors}"
        )
        yield sample


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
