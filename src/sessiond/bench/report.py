"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sessiond.bench.histogram import Histogram
from sessiond.bench.measured import Load, Result
from sessiond.bench.workload import Step

__all__ = ["Report", "as_json", "as_table"]

PERCENTILES = (50, 90, 99, 99.9)
HEADROOM = 1.3
"""How much faster than the result a generator must be able to go, if the result is to be the service's own."""
NAMES = {step: step.method for step in Step} | {
    Step.RINGING: "update_session_state ringing",
    Step.ACTIVE: "update_session_state active",
}


@dataclass(frozen=True)
class Report:
    """A result and what belongs to it."""

    server: str
    load: Load
    result: Result
    ceiling: float | None
    """Requests per second of this generator against an echo server; None if it was not measured."""


def as_table(report: Report) -> str:
    """Several lines of text, with times in milliseconds."""
    return "\n".join([_headline(report), "", *_rows(report.result), "", *_remarks(report)])


def _headline(report: Report) -> str:
    load, result = report.load, report.result
    loop = "closed loop"
    if load.rate is not None:
        loop = f"open loop of {load.rate:,g} calls/s ({load.spacing})"
        if load.touches:
            loop += f" and {load.touches:,g} touches/s"
    parts = [
        _plural(load.connections, "connection"),
        _plural(load.pipeline, "request") + " under way on each",
        loop,
        *([_plural(load.resident, "resident session")] if load.resident else []),
        f"{result.seconds:.1f} s",
    ]
    return f"{report.server}: " + ", ".join(parts)


def _plural(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _rows(result: Result) -> Iterator[str]:
    yield _row("ms", "requests", "per s", *(f"p{percent:g}" for percent in PERCENTILES), "max", "errors")
    for step, histogram in _used(result):
        yield _step_row(NAMES[step], histogram, result.seconds, result.errors[step])
    yield _step_row("all", result.all, result.seconds, result.error_codes)


def _used(result: Result) -> Iterator[tuple[Step, Histogram]]:
    """The steps that there were."""
    return ((step, times) for step, times in result.steps.items() if times.count or result.errors[step])


def _step_row(name: str, times: Histogram, seconds: float, errors: Counter[str]) -> str:
    found = (*map(times.percentile, PERCENTILES), times.max) if times.count else ()
    columns = [f"{value * 1000:,.3f}" for value in found] or ["-"] * (len(PERCENTILES) + 1)
    return _row(name, f"{times.count:,}", f"{_rate(times.count, seconds):,.0f}", *columns, f"{errors.total():,}")


def _row(name: str, requests: str, rate: str, *columns: str) -> str:
    return f"{name:<28}{requests:>12}{rate:>10}" + "".join(f"{column:>10}" for column in columns)


def _rate(number: int, seconds: float) -> float:
    return number / seconds if seconds else 0.0


def _remarks(report: Report) -> Iterator[str]:
    result = report.result
    yield f"{result.calls:,} whole calls, {_rate(result.calls, result.seconds):,.0f} per s"
    for code, number in result.error_codes.most_common():
        yield f"{number:,} requests failed: {code}"
    if result.behind:
        yield f"{result.behind:,} were due and never begun: the service is too slow for this, or connections too few"
    if report.ceiling is not None:
        yield f"This generator could have made {report.ceiling:,.0f} requests/s: so many it makes to an echo server"
        if report.ceiling < HEADROOM * result.rate:
            yield "That is close to the result, which may say more of the generator than of the service"


def as_json(report: Report) -> dict[str, Any]:
    """The same for ``json.dumps``: times in milliseconds, rates per second."""
    result = report.result
    return {
        "server": report.server,
        "load": _load(report.load),
        "seconds": result.seconds,
        "calls": result.calls,
        "calls_rate": _rate(result.calls, result.seconds),
        "behind": result.behind,
        "ceiling_rate": report.ceiling,
        "lost": result.lost,
        "all": _figures(result.all, result.seconds, result.error_codes),
        "steps": {
            step.name.lower(): {"method": step.method} | _figures(times, result.seconds, result.errors[step])
            for step, times in _used(result)
        },
    }


def _load(load: Load) -> dict[str, Any]:
    steps = {"steps": [step.name.lower() for step in load.steps]}
    return {name: value for name, value in dataclasses.asdict(load).items() if not name.endswith("steps")} | steps


def _figures(times: Histogram, seconds: float, errors: Counter[str]) -> dict[str, Any]:
    percentiles = {f"p{percent:g}_ms": _milliseconds(times.percentile(percent)) for percent in PERCENTILES}
    return {
        "requests": times.count,
        "rate": _rate(times.count, seconds),
        **(
            percentiles | {"max_ms": _milliseconds(times.max)}
            if times.count
            else dict.fromkeys([*percentiles, "max_ms"])
        ),
        "errors": dict(errors),
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 4)
