"""What a store counts for the metrics."""

from __future__ import annotations

from sessiond.actors.tally import Histogram

__all__ = ["COMMIT_BOUNDS", "Figures"]

COMMIT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds, from what a fast disk takes for an fsync."""


class Figures:
    """Counts since the start; read by any thread, written by the writer's."""

    def __init__(self) -> None:
        self.is_up = True
        """Whether the store keeps what it is handed."""
        self.commits = Histogram(COMMIT_BOUNDS)
        """How long commits took."""
        self.failures = 0
        """How often the store went down."""
        self.kept = 0
        """Entries that were committed."""
        self.log_entries = 0
        """Entries that the log has now."""
        self.log_bytes = 0
        self.folded = 0
        """Sessions written to their table, or deleted from it."""

    def committed(self, seconds: float, entries: int, size: int) -> None:
        """Count a commit of ``entries`` that are ``size`` bytes of the log."""
        self.commits.observe(seconds)
        self.kept += entries
        self.log_entries += entries
        self.log_bytes += size
