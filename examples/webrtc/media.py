"""Media that can be held."""

from __future__ import annotations

from typing import Any

from aiortc import MediaStreamTrack
from av.frame import Frame
from av.packet import Packet

__all__ = ["HoldableTrack"]


class HoldableTrack(MediaStreamTrack):
    """Passes on what comes from another track, or nothing while it is on hold.

    Two things that aiortc leaves to its users: a direction that was renegotiated to ``inactive`` does not stop what is
    being sent, and what comes in piles up while nobody takes it. So this one goes on taking, and throws away.
    """

    def __init__(self, source: MediaStreamTrack) -> None:
        super().__init__()
        self.kind = source.kind
        self.is_held = False
        self._source = source

    async def recv(self) -> Frame | Packet[Any]:
        """The next frame of the source that comes while this is not on hold."""
        while True:
            frame = await self._source.recv()
            if not self.is_held:
                return frame
