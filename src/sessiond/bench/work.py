"""Which call is begun next, and when. Pure: the time is handed in, in seconds of any clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

from sessiond.bench.workload import Call, Step

__all__ = ["Arrivals", "Calls", "Job", "OpenLoop", "Work"]


class Job:
    """A call on its way through its steps."""

    __slots__ = ("at", "call", "is_spoiled", "since", "steps")

    def __init__(self, call: Call, steps: tuple[Step, ...], since: float) -> None:
        """Begin ``call``, which was due at ``since``."""
        self.call = call
        self.steps = steps
        self.since = since
        """When the request under way was due."""
        self.at = 0
        """The index of the present step."""
        self.is_spoiled = False
        """Whether a step has failed."""

    def advance(self, error: str | None, now: float) -> bool:
        """The present step was answered; whether there is another one, which is due at once.

        A call that failed goes on with its end, so that no session is left behind.
        """
        self.since = now
        self.at += 1
        if error is not None:
            self.is_spoiled = True
            ends = self.call.session_id and Step.END in self.steps[self.at :]
            self.at = self.steps.index(Step.END) if ends else len(self.steps)
        return self.at < len(self.steps)


class Work(Protocol):
    """Where free slots get their jobs."""

    def take(self, now: float) -> Job | None:
        """The next job, if there is one that is due."""

    def due(self) -> float:
        """When there will be a job for whoever has got none; infinite if never."""


class Calls:
    """One call after the other, each as soon as a slot is free: a closed loop if they are endless."""

    def __init__(self, calls: Iterable[Call], steps: tuple[Step, ...]) -> None:
        """Take each of ``calls`` through ``steps``."""
        self._calls = iter(calls)
        self._steps = steps

    def take(self, now: float) -> Job | None:
        """The next one."""
        call = next(self._calls, None)
        return None if call is None else Job(call, self._steps, now)

    def due(self) -> float:
        """Never: whoever got none has seen the end."""
        return math.inf


class Arrivals:
    """Calls that are due at times of their own, whether or not anybody is ready for them."""

    def __init__(
        self, calls: Callable[[], Call], steps: tuple[Step, ...], gap: Callable[[], float], begin: float
    ) -> None:
        """Have ``calls()`` arrive with ``gap()`` seconds between them, from ``begin`` on."""
        self._calls = calls
        self._steps = steps
        self._gap = gap
        self.due = begin + gap()

    def next(self) -> Job:
        """The job that is due at ``due``; another one is due after it."""
        job = Job(self._calls(), self._steps, self.due)
        self.due += self._gap()
        return job

    def skip(self, end: float) -> int:
        """Pass over all that is due before ``end``; how many that were."""
        skipped = 0
        while self.due < end:
            self.due += self._gap()
            skipped += 1
        return skipped


class OpenLoop:
    """Several kinds of arrivals at once, each job due when it arrived and not when a slot was free for it."""

    def __init__(self, *arrivals: Arrivals) -> None:
        """Merge them by time."""
        self._arrivals = arrivals

    def take(self, now: float) -> Job | None:
        """The one that has been due for longest."""
        first = min(self._arrivals, key=_due)
        return first.next() if first.due <= now else None

    def due(self) -> float:
        """When the next one arrives."""
        return min(map(_due, self._arrivals))

    def skip(self, end: float) -> int:
        """Pass over all that is due before ``end``; how many that were."""
        return sum(arrivals.skip(end) for arrivals in self._arrivals)


def _due(arrivals: Arrivals) -> float:
    return arrivals.due
