"""The metrics of a session manager inside a program, for whichever way that program shows its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pykka
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

__all__ = ["SessionCollector"]


class SessionCollector(Collector):
    """A collector for a ``prometheus_client.CollectorRegistry``; it may be used from any thread."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Give what ``collect`` gives, which looks in a turn and not for ever."""
        self._collect = collect

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not collect, or the first thing a program does at its start could be to wait."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All metrics; none once the session manager has stopped.

        Raises:
            pykka.Timeout: it did not come to a turn in time.
        """
        try:
            return self._collect()
        except pykka.ActorDeadError:
            return ()
