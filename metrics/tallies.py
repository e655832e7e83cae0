"""What the metrics need of the other parts of a service: what these count, as far as it is not in the books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sessiond.actors.tally import Histogram

__all__ = [
    "FrontEndTallies",
    "KeepingTallies",
    "LoopTallies",
    "MethodTally",
    "SinkTallies",
    "StoreTallies",
]


class MethodTally(Protocol):
    """The requests of one method, as the front end counts them."""

    @property
    def buckets(self) -> Sequence[int]:
        """All requests by upper bound of their time, not summed up."""
        ...

    @property
    def seconds(self) -> float:
        """The time of all of them together."""
        ...

    @property
    def errors(self) -> Mapping[str, int]:
        """The failed ones by error code."""
        ...


class FrontEndTallies(Protocol):
    """What a front end has done."""

    @property
    def methods(self) -> Mapping[str, MethodTally]:
        """Requests by method, those of no known method under one name of their own."""
        ...

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        ...

    @property
    def closed_for(self) -> Mapping[str, int]:
        """Connections that the service closed, by the reason."""
        ...


class LoopTallies(Protocol):
    """How often and how long an event loop has stood still."""

    @property
    def stalls(self) -> Histogram:
        """How long timers had to wait."""
        ...

    @property
    def longest_stall(self) -> float:
        """The longest of late, in seconds."""
        ...

    @property
    def pauses(self) -> Histogram:
        """How long the garbage collector kept everything waiting."""
        ...


class SinkTallies(Protocol):
    """What became of the records of calls for one sink."""

    @property
    def name(self) -> str:
        """The sink's."""
        ...

    @property
    def delivered(self) -> int:
        """Records that it has had."""
        ...

    @property
    def failures(self) -> int:
        """Attempts of which nothing came."""
        ...

    @property
    def dead(self) -> int:
        """Records that were given up."""
        ...

    @property
    def behind(self) -> int:
        """Records that wait for it."""
        ...

    @property
    def oldest(self) -> float | None:
        """Since when the first of them has waited, in epoch seconds."""
        ...


class StoreTallies(Protocol):
    """What a store has done since the start; it goes on on a thread of its own."""

    @property
    def is_up(self) -> bool:
        """Whether it keeps what it is handed."""
        ...

    @property
    def commits(self) -> Histogram:
        """How long commits took, in seconds."""
        ...

    @property
    def failures(self) -> int:
        """How often it went down."""
        ...

    @property
    def kept(self) -> int:
        """Changes that it has kept."""
        ...

    @property
    def log_entries(self) -> int:
        """Changes that are in its log."""
        ...

    @property
    def log_bytes(self) -> int:
        """Bytes of these."""
        ...

    @property
    def folded(self) -> int:
        """Sessions that went from the log to where they stay."""
        ...


class KeepingTallies(Protocol):
    """What a service keeps beyond its own life."""

    @property
    def figures(self) -> StoreTallies:
        """What its store has done."""
        ...

    @property
    def unsettled_changes(self) -> int:
        """Changes that the store was handed and has not kept yet."""
        ...

    @property
    def sinks(self) -> Sequence[SinkTallies]:
        """Who takes the records of calls away."""
        ...

    @property
    def recovered_sessions(self) -> int:
        """Live sessions that were there at the start, as far as they have been taken in."""
        ...

    @property
    def recovery_seconds(self) -> float:
        """How long it took to take them in; 0 before that is over."""
        ...
