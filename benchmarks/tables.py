"""The tables of RESULTS.md. Pure: from what was measured to Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.names import CLIENTS, IN_MEMORY, PEERS, RIVALS, SESSIOND, SHORT, STORES
from benchmarks.results import Machine, Results, Sample
from benchmarks.scenarios import CLIENT_CALLS, CLOSED, OPEN, STORED, STORED_OPEN, THREADS, Scenario
from benchmarks.summary import Value, cpu_us, latency, median, of, paired_difference, paired_ratio, rate, spread

__all__ = [
    "at_a_fixed_rate",
    "beside",
    "clients",
    "closed_loop",
    "errors",
    "machine",
    "memory",
    "stores",
    "stores_at_a_fixed_rate",
    "threads",
]

AT_ITS_LIMIT = 0.9
"""How busy a server's core is, at least, if the server is what limits the rate."""


@dataclass(frozen=True)
class Column:
    """A column of a table with a row for each peer."""

    title: str
    cell: Callable[[list[Sample]], str]
    """What it says of a peer's samples."""


def closed_loop(results: Results, scenario: Scenario) -> str:
    """Peers that answer as fast as they can."""
    return _of_peers(
        results,
        scenario,
        Column("requests/s", _rate),
        Column("least to most", _range),
        Column("server CPU, µs/request", _median(cpu_us, 1)),
        Column("core busy", _busy),
        Column("p50, ms", _median(latency("50"), 2)),
        Column("p99, ms", _median(latency("99"), 2)),
        *_ratios(results, scenario, rate),
    )


def threads(results: Results) -> str:
    """Event-driven actors and those that have threads."""
    return closed_loop(results, THREADS)


def at_a_fixed_rate(results: Results) -> str:
    """Latencies, where everybody does the same work."""
    percentiles = ("50", "90", "99", "99.9")
    return _of_peers(
        results,
        OPEN,
        Column("requests/s", _median(rate, 0)),
        *(Column(f"p{each}, ms", _median(latency(each), 2)) for each in percentiles),
        Column("max, ms", _median(latency("max"), 1)),
        Column("server CPU, µs/request", _median(cpu_us, 1)),
        *_ratios(results, OPEN, latency("99"), "p99"),
    )


def stores(results: Results) -> str:
    """Peers with a store and without, as fast as they can. One that waits for its disk is at its limit, too."""
    return _of_peers(
        results,
        STORED,
        Column("requests/s", _median(rate, 0)),
        Column("least to most", _range),
        Column("server CPU, µs/request", _median(cpu_us, 1)),
        Column("core busy", _busy),
        Column("p50, ms", _median(latency("50"), 1)),
        Column("p99, ms", _median(latency("99"), 1)),
        *_ratios(results, STORED, rate),
    )


def stores_at_a_fixed_rate(results: Results) -> str:
    """What a store adds to the times of requests."""

    def added(samples: list[Sample]) -> str:
        base = of(results.samples, STORED_OPEN.name, IN_MEMORY.get(samples[0].peer, ""))
        difference = paired_difference(samples, base, latency("99"))
        return "" if difference is None else f"{difference:.2f}"

    return _of_peers(
        results,
        STORED_OPEN,
        Column("requests/s", _median(rate, 0)),
        *(Column(f"p{each}, ms", _median(latency(each), 2)) for each in ("50", "90", "99", "99.9")),
        Column("max, ms", _median(latency("max"), 1)),
        Column("server CPU, µs/request", _median(cpu_us, 1)),
        Column("added to p99, ms", added),
    )


def clients(results: Results) -> str:
    """Client libraries."""
    rows = []
    for client, title in CLIENTS.items():
        samples = of(results.samples, CLIENT_CALLS, client)
        if samples:
            rival = of(results.samples, CLIENT_CALLS, RIVALS.get(client, ""))
            row = title, f"{median(samples, rate):,.0f}", _range(samples), _times(paired_ratio(samples, rival))
            rows.append(row)
    return _table(("", "operations/s", "least to most", "vs redis-py"), rows)


def memory(results: Results) -> str:
    """Bytes per session, by the number of sessions."""
    found = {(size.peer, size.sessions): size.bytes for size in results.sizes}
    peers = list(dict.fromkeys(size.peer for size in results.sizes))
    rows = [
        (f"{count:,}", *(_each(found.get((peer, count)), count) for peer in peers))
        for count in sorted({size.sessions for size in results.sizes})
    ]
    return _table(("sessions", *(STORES[peer] for peer in peers)), rows)


def beside(all_results: Iterable[Results]) -> str:
    """What each interpreter of the servers makes of sessiond."""
    rows = []
    for results in all_results:
        for scenario in CLOSED:
            samples = of(results.samples, scenario.name, SESSIOND)
            if samples:
                bases = [of(results.samples, scenario.name, base) for base in scenario.bases]
                ratios = [_times(paired_ratio(samples, base)) for base in bases]
                speed = f"{median(samples, rate):,.0f}", f"{median(samples, cpu_us):.1f}"
                rows.append((results.machine.python, results.machine.python_build, scenario.name, *speed, *ratios))
    titles = [f"vs {SHORT[base]}" for base in CLOSED[0].bases]
    return _table(("Python", "build", "load", "requests/s", "server CPU, µs/request", *titles), rows)


def machine(found: Machine) -> str:
    """What it was measured on and with."""
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    return _table(
        ("", ""),
        [
            ("processor", f"{found.cpu}, {found.cores} cores"),
            ("memory", f"{found.memory / 2**30:.0f} GiB"),
            ("kernel", found.kernel),
            ("Python of the servers", f"{found.python} ({found.python_build})"),
            ("versions", versions),
        ],
    )


def errors(results: Results) -> str:
    """What went wrong, as sentences."""
    failed = [
        f"{_where(sample)}: {number:,} times {code}"
        for sample in results.samples
        for code, number in sample.errors.items()
    ]
    late = [f"{_where(sample)}: {sample.behind:,}" for sample in results.samples if sample.behind]
    told = [f"**Requests failed** ({'; '.join(failed)})." if failed else "No request failed."]
    if late:
        told.append(f"**Calls were due and could not be begun**, so their times are missing ({'; '.join(late)}).")
    return " ".join(told)


def _where(sample: Sample) -> str:
    return f"{sample.peer} in {sample.scenario}, round {sample.round + 1}"


# Rows and cells


def _of_peers(results: Results, scenario: Scenario, *columns: Column) -> str:
    rows = []
    for peer in scenario.peers:
        samples = of(results.samples, scenario.name, peer)
        if samples:
            rows.append((PEERS[peer], *(column.cell(samples) for column in columns)))
    return _table(("", *(column.title for column in columns)), rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "Not measured."
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ratios(results: Results, scenario: Scenario, value: Value, of_what: str = "") -> list[Column]:
    """A column for each base of the scenario that was measured."""

    def column(base: str) -> Column:
        samples = of(results.samples, scenario.name, base)
        return Column(f"{of_what} vs {SHORT[base]}".strip(), lambda each: _times(paired_ratio(each, samples, value)))

    return [column(base) for base in scenario.bases]


def _median(value: Value, digits: int) -> Callable[[list[Sample]], str]:
    return lambda samples: f"{median(samples, value):,.{digits}f}"


def _rate(samples: list[Sample]) -> str:
    at_least = "" if median(samples, _busy_of) >= AT_ITS_LIMIT else "≥ "
    return f"{at_least}{median(samples, rate):,.0f}"


def _busy(samples: list[Sample]) -> str:
    return f"{median(samples, _busy_of):.0%}"


def _busy_of(sample: Sample) -> float:
    return sample.busy


def _range(samples: list[Sample]) -> str:
    least, most = spread(samples, rate)
    return f"{least:,.0f} to {most:,.0f}"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"  # noqa: PLR2004


def _each(size: int | None, count: int) -> str:
    return "" if size is None else f"{size / count:,.0f}"
