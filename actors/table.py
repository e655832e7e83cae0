"""Entries by creation sequence number, at the price of one pointer each."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any, Generic, Protocol, TypeVar

from sessiond.actors.bitmap import BIT, CHUNK_SHIFT, OFFSET_MASK

__all__ = ["Chunk", "SequenceTable"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

SHRINK_AT = frozenset({64, 16, 4})
"""A chunk that is down to so many entries is rebuilt to fit them."""


class Chunk(Protocol[T_co]):
    """The entries of one chunk by their offsets."""

    def __getitem__(self, offset: int, /) -> T_co: ...


class _Sparse(dict[int, Any]):
    """The few entries left in an old chunk, by offset."""

    __slots__ = ()

    def __missing__(self, offset: int) -> None:
        return None


class SequenceTable(Generic[T]):
    """Maps numbers handed out in ascending order to entries, most of which are removed in about the same order.

    A chunk is a list while many of its entries are left, and a dict once few are, so that a session that stays up
    for days does not keep 1,023 empty places with it.
    """

    __slots__ = ("_chunks", "_left", "numbers")

    def __init__(self) -> None:
        self.numbers: list[int] = []
        """The numbers of the chunks that have entries, ascending; only to be read."""
        self._chunks: dict[int, list[Any] | _Sparse] = {}
        self._left: dict[int, int] = {}

    def put(self, n: int, entry: T) -> None:
        """Have ``entry`` found under ``n``, instead of any other there."""
        number, offset = n >> CHUNK_SHIFT, n & OFFSET_MASK
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._open(number)
        if chunk[offset] is None:
            self._left[number] += 1
        chunk[offset] = entry

    def swap(self, n: int, entry: T) -> None:
        """Have ``entry`` found under ``n``, where another is."""
        self._chunks[n >> CHUNK_SHIFT][n & OFFSET_MASK] = entry

    def get(self, n: int) -> T | None:
        """The entry under ``n``, if any."""
        chunk = self._chunks.get(n >> CHUNK_SHIFT)
        if chunk is None:
            return None
        entry: T | None = chunk[n & OFFSET_MASK]
        return entry

    def remove(self, n: int) -> int | None:
        """Forget the entry under ``n``; KeyError if there is none.

        The word of the entries that are left in its chunk, if the chunk was rebuilt or closed, else None.
        """
        number, offset = n >> CHUNK_SHIFT, n & OFFSET_MASK
        chunk = self._chunks[number]
        if chunk[offset] is None:
            raise KeyError(n)
        chunk[offset] = None
        left = self._left[number] = self._left[number] - 1
        if left == 0:
            self._close(number)
            return 0
        if left not in SHRINK_AT:
            return None
        pairs = enumerate(chunk) if isinstance(chunk, list) else chunk.items()
        sparse = self._chunks[number] = _Sparse((offset, entry) for offset, entry in pairs if entry is not None)
        return sum(BIT[offset] for offset in sparse)

    def chunk(self, number: int) -> Chunk[T]:
        """The entries of one chunk, for reading at offsets that are known to have one; KeyError if none has."""
        return self._chunks[number]

    def __len__(self) -> int:
        return sum(self._left.values())

    def _open(self, number: int) -> list[Any]:
        insort(self.numbers, number)
        chunk = self._chunks[number] = [None] * len(BIT)
        self._left[number] = 0
        return chunk

    def _close(self, number: int) -> None:
        del self.numbers[bisect_left(self.numbers, number)]
        del self._chunks[number], self._left[number]
