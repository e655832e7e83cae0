"""What the log says that the table of sessions does not have yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sessiond.stores.log import END, LIVE, TOUCH

__all__ = ["Unfolded"]


class Unfolded:
    """The latest of each session that a stretch of the log is about.

    Applying the same stretch once more changes nothing, and of two stretches only the later one counts: so it does no
    harm that a session has been folded already when its entries are read again.
    """

    def __init__(self, highest: int) -> None:
        """Of an empty stretch. The table has had no session with a number above ``highest``."""
        self.images: dict[int, bytes] = {}
        """Live sessions by number: what the table's row is to be."""
        self.touches: dict[int, float] = {}
        """Their last activity, or that of sessions whose row is in the table (seconds since the epoch)."""
        self.gone: set[int] = set()
        """Sessions that have ended and may have a row."""
        self.highest = highest

    def apply(self, entries: Iterable[Sequence[Any]]) -> None:
        """Go on by ``entries`` (see ``log``)."""
        images, touches, highest = self.images, self.touches, self.highest
        for entry in entries:
            kind = entry[0]
            if kind == LIVE:
                images[entry[1]] = entry[2]
            elif kind == TOUCH:
                touches[entry[1]] = entry[2]
            elif kind == END:
                seq = entry[1]
                images.pop(seq, None)
                touches.pop(seq, None)
                if seq <= highest:
                    self.gone.add(seq)

    def drop(self, seq: int) -> None:
        """Leave out a session of which a later stretch tells."""
        self.images.pop(seq, None)
        self.touches.pop(seq, None)
