"""What was measured, as data: written once as JSON, read whenever tables and plots are drawn."""

from __future__ import annotations

from pathlib import Path

import msgspec

__all__ = ["Machine", "Options", "Results", "Sample", "Size", "load", "save"]


class Machine(msgspec.Struct, frozen=True):
    """What it was measured on, and with."""

    cpu: str
    cores: int
    memory: int
    """Bytes."""
    kernel: str
    python: str
    """Of the servers."""
    python_build: str
    versions: dict[str, str]
    """Of everything else that takes part, by name."""


class Options(msgspec.Struct, frozen=True):
    """How it was measured."""

    rounds: int
    seconds: float
    server_core: int
    load_core: int


class Sample(msgspec.Struct, frozen=True):
    """One peer in one scenario, for one round."""

    scenario: str
    peer: str
    round: int
    rate: float
    """Requests, or a client's operations, per second."""
    cpu_us: float
    """Processor time that the server used per request."""
    busy: float
    """The part of its core that the server used, 0 to 1."""
    latencies: dict[str, float]
    """Milliseconds by percentile (``"50"``, ``"99.9"``) and ``"max"``; empty where none were taken."""
    errors: dict[str, int]
    """Requests that failed, by code."""
    behind: int = 0
    """Calls that were due by a fixed rate and could not even be begun: their times are missing among ``latencies``."""


class Size(msgspec.Struct, frozen=True):
    """The memory that a peer held with so many sessions, beyond what it held with none."""

    peer: str
    sessions: int
    bytes: int


class Results(msgspec.Struct, frozen=True):
    """One run."""

    date: str
    machine: Machine
    options: Options
    samples: list[Sample]
    sizes: list[Size]


def save(results: Results, path: Path) -> None:
    """Write a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def load(path: Path) -> Results:
    """Read a run."""
    return msgspec.json.decode(path.read_bytes(), type=Results)
