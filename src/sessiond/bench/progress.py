"""How far the benchmark is, on standard error: one line that changes on a terminal, else a line per phase."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TextIO

from sessiond.bench.measured import Progress

__all__ = ["ProgressLine"]

CLEAR = "\r\x1b[K"


class ProgressLine:
    """Tells what happens."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = monotonic) -> None:
        """Write to ``stream``; rates are by ``clock``."""
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._clock = clock
        self._phase = ""
        self._last = (clock(), 0)

    def say(self, text: str) -> None:
        """Show ``text`` in place of what is shown."""
        self._stream.write(f"{CLEAR}{text}" if self._is_terminal else f"{text}\n")
        self._stream.flush()

    def show(self, progress: Progress) -> None:
        """Show ``progress``, if it is a terminal or the phase is new."""
        rate = self._rate(progress)
        is_new, self._phase = progress.phase != self._phase, progress.phase
        if self._is_terminal:
            share = f" {_amount(progress.done)} of {_amount(progress.total)}" if progress.total else ""
            self.say(f"{progress.phase}{share}, {rate:,.0f} requests/s")
        elif is_new:
            self.say(progress.phase)

    def clear(self) -> None:
        """Leave a terminal's line empty."""
        if self._is_terminal:
            self.say("")

    def _rate(self, progress: Progress) -> float:
        """Requests per second since the last time."""
        (then, before), (now, requests) = self._last, (self._clock(), progress.requests)
        self._last = (now, requests)
        return max(0, requests - before) / (now - then) if now > then else 0.0


def _amount(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:.1f}"
