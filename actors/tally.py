"""What has happened since the start, counted for the metrics. What *is* (how many live) is never counted by hand."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import cast

from sessiond.actors.params import SERVICE_REASONS
from sessiond.actors.record import Session

__all__ = ["DURATION_BOUNDS", "RING_BOUNDS", "Histogram", "Tally"]

RING_BOUNDS = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0)
DURATION_BOUNDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0)
"""Seconds, 1 s to 4 h."""

OTHER = "other"
GATEWAY_REASONS = ("normal", "canceled", "busy", "no_answer", "rejected", "failed")


class Histogram:
    """Observations counted by upper bound, as Prometheus wants them but not yet summed up."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Count into the ascending upper ``bounds``, and into one more bucket for what is above them all."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value``."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Tally:
    """Counts by type and reason. Types and reasons that nobody configured are ``other``: labels must stay few."""

    def __init__(self, types: Iterable[str] = (), reasons: Iterable[str] = ()) -> None:
        """Count the known and these further ``types`` and ``reasons`` under their own names."""
        self.types = {name: name for name in ("sip", "webrtc", *types)}
        """The types that have a label of their own."""
        self.reasons = {name: name for name in (*GATEWAY_REASONS, *SERVICE_REASONS, *reasons)}
        """The end reasons that have."""
        self.created: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.ended: Counter[tuple[str, str]] = Counter()
        self.ring = {kind: Histogram(RING_BOUNDS) for kind in (*self.types, OTHER)}
        self.duration = {kind: Histogram(DURATION_BOUNDS) for kind in (*self.types, OTHER)}
        self.refused: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.commands: Counter[tuple[str, str]] = Counter()
        """By command and outcome."""
        self.gateways: Counter[str] = Counter()
        """What happened to gateways: see ``registration.EVENTS``."""
        self.watchers = 0
        """Watches that there are now."""
        self.notifications = 0
        """Events that watchers were told."""
        self.watchers_dropped: Counter[str] = Counter()
        """Watches that the service ended, by the reason."""

    def type_label(self, kind: str) -> str:
        """The label of a session's type."""
        return self.types.get(kind, OTHER)

    def count_created(self, record: Session) -> None:
        """A session was created."""
        self.created[self.types.get(record.type, OTHER)] += 1
        if record.answered_at is not None:
            self.count_answered(record)

    def count_answered(self, record: Session) -> None:
        """A session was answered."""
        kind = self.types.get(record.type, OTHER)
        self.answered[kind] += 1
        rang_at = record.ringing_at or record.created_at
        self.ring[kind].observe(cast("float", record.answered_at) - rang_at)

    def count_ended(self, record: Session, duration: float) -> None:
        """A session ended after ``duration`` seconds."""
        kind = self.types.get(record.type, OTHER)
        self.ended[kind, self.reasons.get(record.end_reason or "", OTHER)] += 1
        self.duration[kind].observe(duration)

    def count_command(self, command: str, outcome: str) -> None:
        """A command to a gateway is over."""
        self.commands[command, outcome] += 1

    def count_refused(self, limit: str) -> None:
        """A session was not created because of the limit of that name."""
        self.refused[limit] += 1

    def count_gateway(self, event: str) -> None:
        """Something happened to an incarnation of a gateway."""
        self.gateways[event] += 1

    def count_restart(self, actor: str) -> None:
        """An actor of this kind was restarted after a crash."""
        self.restarts[actor] += 1
