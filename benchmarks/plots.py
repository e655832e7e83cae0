"""The plots beside RESULTS.md, as SVG: the same file for the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.names import ECHO, PEERS, PLAIN_DICT, REDIS_LUA, REDIS_PLAIN, SESSIOND, STORES, THREADING_ACTORS
from benchmarks.results import Results
from benchmarks.scenarios import CLOSED, OPEN
from benchmarks.summary import latency, median, of, rate, spread

__all__ = ["plot_all"]

COLOURS = {
    SESSIOND: "#0b6e4f",
    REDIS_LUA: "#c8553d",
    REDIS_PLAIN: "#e6a15c",
    PLAIN_DICT: "#5b7db1",
    THREADING_ACTORS: "#8d6a9f",
    ECHO: "#9a9a9a",
}
"""Told apart by those, too, who see no red or no green."""
MARKERS = {SESSIOND: "o", REDIS_LUA: "s", REDIS_PLAIN: "D", PLAIN_DICT: "^", THREADING_ACTORS: "v"}
PERCENTILES = ("50", "90", "99", "99.9")
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "sessiond",  # else every drawing has other ids
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}


def plot_all(results: Results, folder: Path) -> None:
    """Draw every plot for which something was measured into ``folder``."""
    with mpl.rc_context(STYLE):
        for name, figure in (
            ("throughput", _throughput(results)),
            ("latency", _latency(results)),
            ("memory", _memory(results)),
        ):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _throughput(results: Results) -> Figure:
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    for axes, scenario in zip(figure.subplots(1, len(CLOSED), sharey=True), CLOSED, strict=True):
        peers = [peer for peer in reversed(scenario.peers) if of(results.samples, scenario.name, peer)]
        for peer in peers:
            _bar(axes, results, scenario.name, peer)
        axes.set_title(scenario.title)
        axes.set_xlabel("requests per second")
        axes.grid(visible=False, axis="y")
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.margins(x=0.18)
    return figure


def _bar(axes: Axes, results: Results, scenario: str, peer: str) -> None:
    """A bar as long as the median, with a whisker from the least to the most."""
    samples = of(results.samples, scenario, peer)
    middle, (least, most) = median(samples, rate), spread(samples, rate)
    title = PEERS[peer]
    axes.barh(title, middle, color=COLOURS[peer], height=0.7)
    axes.errorbar(middle, title, xerr=[[middle - least], [most - middle]], color="#333333", capsize=3, linewidth=1)
    axes.annotate(
        f"{middle:,.0f}", (most, title), xytext=(6, 0), textcoords="offset points", verticalalignment="center"
    )


def _latency(results: Results) -> Figure:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for peer in OPEN.peers:
        samples = of(results.samples, OPEN.name, peer)
        if samples:
            values = [median(samples, latency(each)) for each in PERCENTILES]
            axes.plot(PERCENTILES, values, label=PEERS[peer], color=COLOURS[peer], marker=MARKERS[peer])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("percentile")
    axes.set_ylabel("milliseconds")
    axes.set_title(OPEN.title)
    _legend(axes)
    return figure


def _memory(results: Results) -> Figure:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for peer in dict.fromkeys(size.peer for size in results.sizes):
        sizes = [size for size in results.sizes if size.peer == peer]
        axes.plot(
            [size.sessions for size in sizes],
            [size.bytes / 2**20 for size in sizes],
            label=STORES[peer],
            color=COLOURS[peer],
            marker=MARKERS[peer],
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_xlabel("sessions")
    axes.set_ylabel("MiB")
    axes.set_title("Memory beyond that of a server without sessions")
    _legend(axes)
    return figure


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
