"""What a sink is: where records go, one after the other, each as a JSON object in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Failed", "Interrupted", "Refused", "Sink", "SinkError"]


class SinkError(Exception):
    """A sink cannot be used as it is configured; the text says why."""


class Failed(Exception):
    """Records could not be delivered now, and can be later."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        """Say why in ``reason``; ``pause`` is how many seconds to wait before the next attempt, at least."""
        super().__init__(reason)
        self.pause = pause


class Refused(Exception):
    """One of the records, or all of them, will never be taken; the text says why."""


class Interrupted(Exception):
    """The delivery was broken off since everything stops."""


class Sink(Protocol):
    """Where records go. All but ``interrupt`` is called on one thread, and may block."""

    batch: int
    """As many records are delivered at once, at most."""
    patience: float
    """Seconds that a delivery may take."""

    def prepare(self) -> None:
        """Look whether records can be delivered, once, before anything else. On the thread that starts everything.

        Raises:
            SinkError: they never could.
        """

    def deliver(self, records: Sequence[bytes]) -> None:
        """Deliver ``records``; they are safe there once this returns.

        Raises:
            Failed: none of them may be; some may.
            Refused: the same, and it would be no other next time.
            Interrupted: see ``interrupt``.
        """

    def interrupt(self) -> None:
        """Have the delivery that is under way, and any later one, soon raise ``Interrupted``. From any thread."""

    def close(self) -> None:
        """Let go of everything."""
