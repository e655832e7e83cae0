"""A run of Kamailio, from the start of its processes to the death of the last one, as its sidecar can see it."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Run", "begin", "look"]

EPOCH, ALIVE = "epoch", "alive"


@dataclass(frozen=True)
class Run:
    """A run that a sidecar accompanies."""

    epoch: str
    alive: int
    """A descriptor that comes to its end when the last process of this run does. Whoever has it closes it."""

    @property
    def began_at(self) -> float:
        """When it began, in epoch seconds."""
        return float(self.epoch)


def begin(folder: Path) -> str:
    """Announce a new run in ``folder``; its epoch. Called before the first fork, by the father of all processes."""
    epoch = f"{time.time():.3f}"
    for name in (EPOCH, ALIVE):
        (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / ALIVE, 0o600)
    # All processes inherit this end, and none ever closes it or writes to it.
    os.open(folder / ALIVE, os.O_RDWR)
    draft = folder / f"{EPOCH}.draft"
    draft.write_text(epoch)
    draft.rename(folder / EPOCH)
    return epoch


def look(folder: Path) -> Run | None:
    """The run that is under way, if one is."""
    with contextlib.suppress(FileNotFoundError):
        epoch = (folder / EPOCH).read_text()
        alive = os.open(folder / ALIVE, os.O_RDONLY | os.O_NONBLOCK)
        if _has_writer(alive) and (folder / EPOCH).read_text() == epoch:
            return Run(epoch, alive)
        os.close(alive)
    return None


def _has_writer(alive: int) -> bool:
    try:
        os.read(alive, 1)
    except BlockingIOError:
        return True
    return False
