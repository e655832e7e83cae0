"""RESULTS.md and its plots, from what was measured."""

from __future__ import annotations

from pathlib import Path

from benchmarks import tables
from benchmarks.plots import plot_all
from benchmarks.results import Results, load
from benchmarks.scenarios import CLOSED, OPEN, STORED, STORED_OPEN, THREADS

__all__ = ["STORES", "draw", "page", "with_stores"]

STORES = "stores.json"
"""The raw results of what has a store."""


def draw(folder: Path) -> None:
    """Write RESULTS.md into ``folder``, and the plots beside the raw results that it holds.

    Raises:
        FileNotFoundError: nothing was measured with the default interpreter.
    """
    raw = folder / "results"
    default = load(raw / "default.json")
    others = [load(path) for path in sorted(raw.glob("*.json")) if path.name not in {"default.json", STORES}]
    stores = load(raw / STORES) if (raw / STORES).exists() else None
    plot_all(default, raw)
    (folder / "RESULTS.md").write_text(page(default, others, stores), encoding="utf-8")


def page(results: Results, others: list[Results], stores: Results | None = None) -> str:
    """RESULTS.md: ``results`` of the default interpreter, beside them ``others``, and what has ``stores``."""
    options = results.options
    return f"""\
# Results

Written by `scripts/benchmarks` on {results.date}; do not edit. [README.md](README.md) says what is measured, and how.

{tables.machine(results.machine)}

Servers ran on core {options.server_core}, the load on core {options.load_core}. Numbers are medians of \
{options.rounds} rounds of {options.seconds:g} s, in each of which all
peers took turns; "vs" is the median of the ratios within the rounds. {tables.errors(results)}

## As fast as they can

![Requests per second of each peer](results/throughput.svg)

A call is six requests: create, ringing, active, metadata, get, end. `≥` marks a peer whose core was busy for less than
nine tenths of the time: not it was at its limit, but the generator of load. Then the processor time says more.

### {CLOSED[0].title}

{tables.closed_loop(results, CLOSED[0])}

### {CLOSED[1].title}

{tables.closed_loop(results, CLOSED[1])}

### {THREADS.title}

{tables.threads(results)}

## At a fixed rate

{OPEN.title}, and answered in:

![Latency by percentile](results/latency.svg)

{tables.at_a_fixed_rate(results)}

Times count from the moment at which a call was to begin, whatever held the generator up.
{"" if stores is None else with_stores(stores)}
## Through client libraries

50 threads or tasks, each making one call after the other. Here the client is what takes the time.

{tables.clients(results)}

## Memory

Resident memory beyond that of the server without sessions, in bytes per session, right after their creation:

![Memory by number of sessions](results/memory.svg)

{tables.memory(results)}
{_beside(results, others)}"""


def with_stores(results: Results) -> str:
    """The chapter on stores, which are measured in a run of their own."""
    options = results.options
    return f"""
## With a store

Measured by `scripts/benchmarks --stores` on {results.date}: {options.rounds} rounds of \
{options.seconds:g} s, the rest as above.
All threads of a server share its one core. `commit` and `always` answer once a change is on the disk.
{tables.errors(results)}

### {STORED.title}

{tables.stores(results)}

### {STORED_OPEN.title}

{tables.stores_at_a_fixed_rate(results)}
"""


def _beside(results: Results, others: list[Results]) -> str:
    if not others:
        return ""
    return f"""
## On another Python

sessiond and the peers in Python on each interpreter; each compared within a run of its own.

{tables.beside([results, *others])}
"""
