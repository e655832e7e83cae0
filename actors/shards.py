"""A dict in many small ones, none of which ever gets so big that its growing is felt."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, MutableMapping
from typing import TypeVar

__all__ = ["SHARD_MASK", "Shards"]

SHARD_MASK = 31
"""A dict moves all of its entries whenever it is full, which takes one of a million 70 to 140 ms. One of 32 that share
a million takes 1 ms, and each of them does so at its own time. That is short enough; the fewer they are, the less of
the processor's cache they take."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shards(MutableMapping[K, V]):
    """A mapping like a dict, but in no order.

    Whoever cannot afford a call does ``shards.parts[hash(key) & SHARD_MASK]`` and uses the dict that this is.
    """

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: tuple[dict[K, V], ...] = tuple({} for _ in range(SHARD_MASK + 1))
        """Each key is in the part of its hash."""

    def __getitem__(self, key: K) -> V:
        return self.parts[hash(key) & SHARD_MASK][key]

    def __setitem__(self, key: K, value: V) -> None:
        self.parts[hash(key) & SHARD_MASK][key] = value

    def __delitem__(self, key: K) -> None:
        del self.parts[hash(key) & SHARD_MASK][key]

    def __iter__(self) -> Iterator[K]:
        for part in self.parts:
            yield from part

    def __len__(self) -> int:
        return sum(map(len, self.parts))
