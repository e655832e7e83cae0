"""Collecting the metrics in steps, so that a million sessions are counted and nobody has to wait for that."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.core import Metric

from sessiond.actors.context import Context
from sessiond.actors.states import LIVE_STATES
from sessiond.actors.tally import OTHER
from sessiond.metrics.families import Live, families
from sessiond.metrics.tallies import FrontEndTallies, KeepingTallies, LoopTallies

__all__ = ["Collecting"]


class Collecting:
    """Collects once; a ``surveyor.Work`` whose steps are taken in turns.

    The live sessions of one state are counted together, those of the next state a step later.
    """

    def __init__(
        self,
        context: Context,
        front_end: FrontEndTallies | None = None,
        bounds: Sequence[float] = (),
        loop: LoopTallies | None = None,
        keeping: KeepingTallies | None = None,
    ) -> None:
        """Collect for ``families``, whose arguments these are."""
        self._context = context
        self._front_end = front_end
        self._bounds = bounds
        self._loop = loop
        self._keeping = keeping
        self._states = iter(LIVE_STATES)
        self._live: Live = {}

    def step(self) -> list[Metric] | None:
        """Count one state more; all metrics once every state is counted."""
        state = next(self._states, None)
        if state is None:
            return families(self._context, self._live, self._front_end, self._bounds, self._loop, self._keeping)
        self._live |= self._count(state)
        return None

    def _count(self, state: str) -> Live:
        known, others = self._context.directory.count_by_type(state, self._context.tally.types)
        return {(kind, state): count for kind, count in known.items()} | {(OTHER, state): others}
