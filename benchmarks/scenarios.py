"""What they are compared in."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from benchmarks.names import (
    ECHO,
    PLAIN_DICT,
    REDIS_ALWAYS,
    REDIS_EVERYSEC,
    REDIS_LUA,
    REDIS_PLAIN,
    SESSIOND,
    SESSIOND_COMMIT,
    SESSIOND_RELAXED,
    THREADING_ACTORS,
)
from sessiond.bench.measured import Load

__all__ = [
    "ALL_SIZES",
    "CLIENT_CALLS",
    "CLOSED",
    "OPEN",
    "SCENARIOS",
    "SIZES",
    "STORED",
    "STORED_OPEN",
    "STORED_SCENARIOS",
    "THREADS",
    "Scenario",
]

ALL = (SESSIOND, REDIS_LUA, REDIS_PLAIN, PLAIN_DICT, ECHO)


@dataclass(frozen=True)
class Scenario:
    """One way to load servers."""

    name: str
    title: str
    peers: tuple[str, ...]
    connections: int
    pipeline: int
    rate: float | None = None
    """Calls per second; None is as fast as the server answers."""
    resident: int = 0
    """Sessions that are up all the time."""
    bases: tuple[str, ...] = (REDIS_LUA, REDIS_PLAIN, ECHO)
    """Those of the peers that all are compared with."""

    def load(self, seconds: float, warm_up: float) -> Load:
        """It as the generator of load takes it."""
        return Load(
            connections=self.connections,
            pipeline=self.pipeline,
            rate=self.rate,
            duration=seconds,
            warm_up=warm_up,
        )


CLOSED = (
    Scenario("50x1", "50 connections, one request in flight on each", ALL, 50, 1),
    Scenario("1x64", "1 connection, 64 requests in flight", ALL, 1, 64),
)
OPEN = Scenario(
    "4000-calls",
    "4,000 calls (24,000 requests) begun per second, 100,000 sessions resident",
    (SESSIOND, REDIS_LUA, REDIS_PLAIN),
    connections=50,
    pipeline=16,  # far more than are ever under way, so that no call waits in the generator
    rate=4000,
    resident=100_000,
    bases=(REDIS_LUA, REDIS_PLAIN),
)
THREADS = Scenario(
    "10000-resident",
    "50 connections, one request in flight on each, 10,000 sessions resident",
    (SESSIOND, THREADING_ACTORS),
    connections=50,
    pipeline=1,
    resident=10_000,
    bases=(THREADING_ACTORS,),
)
CLIENT_CALLS = "clients"
"""The name under which client libraries are measured, which are no servers: see clients.py."""
SCENARIOS = (*CLOSED, THREADS, OPEN)

_STORES = (SESSIOND, SESSIOND_COMMIT, SESSIOND_RELAXED, REDIS_LUA, REDIS_EVERYSEC, REDIS_ALWAYS)
STORED = Scenario(
    "16x64",
    "16 connections, 64 requests in flight on each",
    _STORES,
    connections=16,
    pipeline=64,
    bases=(SESSIOND, REDIS_EVERYSEC, REDIS_ALWAYS),
)
STORED_OPEN = dataclasses.replace(OPEN, peers=_STORES, bases=())
STORED_SCENARIOS = (STORED, STORED_OPEN)
"""With ``--stores``."""

SIZES = {
    SESSIOND: (1_000, 3_000, 10_000, 30_000, 100_000),
    REDIS_LUA: (1_000, 3_000, 10_000, 30_000, 100_000),
    PLAIN_DICT: (1_000, 3_000, 10_000, 30_000, 100_000),
    THREADING_ACTORS: (1_000, 3_000, 10_000),
}
"""Numbers of sessions at which each one's memory is measured."""
ALL_SIZES = {name: (*SIZES[name], 300_000, 1_000_000) for name in (SESSIOND, REDIS_LUA)}
"""The same with ``--full``, where it differs."""
