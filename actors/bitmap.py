"""Sets of creation sequence numbers, made to be intersected and walked in order.

The numbers are cut into chunks of 1,024 (``number`` is a chunk's number, ``offset`` a place in it), and the members
that a set has in one chunk are the bits of one int, its ``word``. Two sets are intersected by ``&`` of their words,
and a walk that stopped somewhere goes on from there, however much the sets have changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["BIT", "CHUNK_SHIFT", "OFFSET_MASK", "Bitmap", "Words", "offsets"]

CHUNK_SHIFT = 10
OFFSET_MASK = (1 << CHUNK_SHIFT) - 1

BIT = tuple(1 << offset for offset in range(1 << CHUNK_SHIFT))
"""The word of each offset alone."""


class Words:
    """A set of non-negative integers as the words of its chunks, for reading."""

    __slots__ = ("chunks",)

    def __init__(self) -> None:
        self.chunks: dict[int, int] = {}
        """The word of each chunk that has members, by chunk number, in no order; only to be read."""

    def common(self, other: Words) -> int:
        """How many members both have."""
        few, many = sorted((self.chunks, other.chunks), key=len)
        return sum((word & many.get(number, 0)).bit_count() for number, word in few.items())

    def __contains__(self, n: int) -> bool:
        return self.chunks.get(n >> CHUNK_SHIFT, 0) & BIT[n & OFFSET_MASK] != 0

    def __iter__(self) -> Iterator[int]:
        for number in sorted(self.chunks):
            for offset in offsets(self.chunks[number]):
                yield number << CHUNK_SHIFT | offset


class Bitmap(Words):
    """A set of non-negative integers that costs little where they lie close together, and knows its size."""

    __slots__ = ("_size",)

    def __init__(self, members: Iterable[int] = ()) -> None:
        super().__init__()
        self._size = 0
        for n in members:
            self.add(n)

    def add(self, n: int) -> None:
        """Make ``n`` a member."""
        chunks = self.chunks
        number = n >> CHUNK_SHIFT
        word = chunks.get(number, 0)
        grown = word | BIT[n & OFFSET_MASK]
        if grown != word:
            chunks[number] = grown
            self._size += 1

    def discard(self, n: int) -> None:
        """Make sure that ``n`` is no member."""
        chunks = self.chunks
        number = n >> CHUNK_SHIFT
        word = chunks.get(number, 0)
        flipped = word ^ BIT[n & OFFSET_MASK]
        if flipped > word:
            return
        if flipped:
            chunks[number] = flipped
        else:
            del chunks[number]
        self._size -= 1

    def move(self, n: int, target: Bitmap) -> None:
        """Make ``n``, a member of this, a member of ``target`` instead."""
        number = n >> CHUNK_SHIFT
        bit = BIT[n & OFFSET_MASK]
        word = self.chunks[number] ^ bit
        if word:
            self.chunks[number] = word
        else:
            del self.chunks[number]
        self._size -= 1
        target.chunks[number] = target.chunks.get(number, 0) | bit
        target._size += 1

    def __len__(self) -> int:
        return self._size


def offsets(word: int, descending: bool = False) -> Iterator[int]:
    """The offsets of the bits set in ``word``, in order."""
    while word:
        bit = BIT[word.bit_length() - 1] if descending else word & -word
        yield bit.bit_length() - 1
        word ^= bit
