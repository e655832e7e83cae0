"""Deletes the records of calls that have been kept for long enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sessiond.actors.clock import Clock
from sessiond.actors.store import Post

__all__ = ["INTERVAL", "Purging", "Retention"]

INTERVAL = 60.0
"""Seconds between two looks."""


class Purging(Protocol):
    """What deletes records."""

    def purge(self, ended_before: float, up_to: int) -> Any:
        """Delete the records of calls that ended before then (epoch), with numbers up to ``up_to``."""
        ...


class Retention:
    """Has records deleted now and then, on the dispatcher's thread."""

    def __init__(
        self,
        keep: float,
        store: Purging,
        up_to: Callable[[], int],
        call_later: Callable[[float, Callable[[], None]], None],
        post: Post,
        clock: Clock,
    ) -> None:
        """Delete records ``keep`` seconds (0 is never) after the ends of their calls, with numbers ``up_to`` some."""
        self._keep = keep
        self._store = store
        self._up_to = up_to
        self._call_later = call_later
        self._post = post
        self._clock = clock
        self._is_over = False

    def start(self) -> None:
        """Begin, an interval from now."""
        if self._keep:
            self._call_later(INTERVAL, self._wake)

    def stop(self) -> None:
        """Delete nothing any more."""
        self._is_over = True

    def _wake(self) -> None:
        if not self._is_over:
            self._post(self._purge)
            self._call_later(INTERVAL, self._wake)

    def _purge(self) -> None:
        if not self._is_over:
            self._store.purge(self._clock.read().wall - self._keep, self._up_to())
