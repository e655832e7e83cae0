"""Which sequence numbers have a value, for values that nobody needs to know again: 16 bytes for each number."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Hashable

__all__ = ["CompactIndex", "digest"]

DIGEST_BITS = 64
SHARD_SHIFT = DIGEST_BITS - 13
"""A digest's first bits name its shard. Of five million numbers each of 8,192 has some 600, so that room for one more
is made by moving 5 KB, and none ever grows for longer than that takes."""

_MASK = (1 << DIGEST_BITS) - 1


def digest(value: Hashable) -> int:
    """64 bits of a value of a field, or of ``strict`` metadata; equal for equal values, and new in each process.

    That two values share one is no matter of bad luck (once in a million runs with five million values), and nobody
    can bring it about: Python keys the hashes of strings. Those of numbers it does not, so these are made strings.
    """
    if not isinstance(value, str):
        value = (repr(int(value) if isinstance(value, float) and value.is_integer() else value),)
    return hash(value) & _MASK


class CompactIndex:
    """Sequence numbers by the digest of a value; a number may have several, a digest any number."""

    __slots__ = ("_shards",)

    def __init__(self) -> None:
        self._shards: dict[int, tuple[array[int], array[int]]] = {}
        """The digests of each shard that has any, ascending, and whose they are, at the same places."""

    def add(self, key: int, n: int) -> bool:
        """Note that ``n`` has a value of digest ``key``; whether others have, too."""
        shard = self._shards.get(key >> SHARD_SHIFT)
        if shard is None:
            shard = self._shards[key >> SHARD_SHIFT] = (array("Q"), array("Q"))
        digests, numbers = shard
        place = bisect_right(digests, key)
        digests.insert(place, key)
        numbers.insert(place, n)
        return place > 0 and digests[place - 1] == key

    def remove(self, key: int, n: int) -> None:
        """Note that ``n`` no longer has it; KeyError if it had not."""
        digests, numbers = self._shards[key >> SHARD_SHIFT]
        place = bisect_left(digests, key)
        while place < len(digests) and digests[place] == key:
            if numbers[place] == n:
                del digests[place], numbers[place]
                return
            place += 1
        raise KeyError(n)

    def take(self, key: int) -> list[int]:
        """Note that nobody has it any more; who had, in the order in which they were added."""
        digests, numbers = self._shards.get(key >> SHARD_SHIFT, _NONE)
        first, last = _run(digests, key)
        taken = numbers[first:last].tolist()
        del digests[first:last], numbers[first:last]
        return taken

    def find(self, key: int) -> list[int]:
        """Who has a value of digest ``key``, in the order in which they were added."""
        digests, numbers = self._shards.get(key >> SHARD_SHIFT, _NONE)
        first, last = _run(digests, key)
        return numbers[first:last].tolist() if last > first else []

    def size(self, key: int) -> int:
        """How many have."""
        first, last = _run(self._shards.get(key >> SHARD_SHIFT, _NONE)[0], key)
        return last - first

    def __len__(self) -> int:
        return sum(len(numbers) for _, numbers in self._shards.values())


_NONE: tuple[array[int], array[int]] = (array("Q"), array("Q"))
"""A shard without digests, only to be read."""


def _run(digests: array[int], key: int) -> tuple[int, int]:
    """Where a digest begins and ends."""
    first = bisect_left(digests, key)
    if first == len(digests) or digests[first] != key:
        return first, first
    last = first + 1
    if last == len(digests) or digests[last] != key:
        return first, last
    return first, bisect_right(digests, key, last)
