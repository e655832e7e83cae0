"""Session ids: UUIDv7 (RFC 9562, section 5.7), canonical text."""

from __future__ import annotations

import os

__all__ = ["IdSource"]

IDS_PER_DRAW = 256
TAIL = len("rrr-vrrr-rrrrrrrrrrrr")
"""The characters after the version: random digits, of which one carries the two bits of the variant."""
_VARIANTS = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)


class IdSource:
    """Makes ids from the time and the system's randomness.

    The tails are made for many ids at once: a system call, and putting nineteen digits in their places, would else
    cost each create more than most of what it does.
    """

    def __init__(self) -> None:
        self._tails = ""
        self._next = 0
        self._millisecond = -1
        self._head = ""

    def draw(self, wall: float) -> str:
        """An id for a session created at ``wall`` (seconds since the epoch)."""
        millisecond = int(wall * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._head = f"{millisecond >> 16 & 0xFFFFFFFF:08x}-{millisecond & 0xFFFF:04x}-7"
        start = self._next
        if start == len(self._tails):
            self._tails = _tails()
            start = 0
        self._next = end = start + TAIL
        return self._head + self._tails[start:end]


def _tails() -> str:
    """The tails of so many ids, end to end."""
    tails = bytearray(os.urandom(IDS_PER_DRAW * TAIL // 2).hex().encode())
    tails[3::TAIL] = tails[8::TAIL] = b"-" * IDS_PER_DRAW
    tails[4::TAIL] = tails[4::TAIL].translate(_VARIANTS)
    return tails.decode()
