"""The index of a field of which most holders are not in memory."""

from __future__ import annotations

from collections.abc import Hashable

from sessiond.actors.bitmap import Bitmap
from sessiond.actors.compact import CompactIndex, digest
from sessiond.actors.index import FieldIndex
from sessiond.actors.shards import SHARD_MASK

__all__ = ["TwofoldIndex"]

MANY = 1024
"""A value with more passive holders has a bitmap, which costs less then, and which takes no time to make for a query:
250 us for so many."""


class TwofoldIndex(FieldIndex):
    """Maps each value to its holders: those in memory by the value itself, passive ones by its digest.

    What iterates over the values meets those alone that somebody in memory has, or more than ``MANY`` in all.
    """

    __slots__ = ("passive",)

    def __init__(self) -> None:
        super().__init__()
        self.passive = CompactIndex()
        """The passive holders, but for those of a value that has a bitmap of more than ``MANY``."""

    def passivate(self, value: Hashable, n: int) -> None:
        """Note that ``n``, which has ``value``, has left memory."""
        held = self._holders.parts[hash(value) & SHARD_MASK][value]
        if isinstance(held, Bitmap) and len(held) > MANY:
            return
        self.remove(value, n)
        self._add_digest(value, n)

    def add_passive(self, value: Hashable, n: int) -> None:
        """Note that ``n``, which has ``value`` and was not known, is not in memory."""
        held = self._holders.parts[hash(value) & SHARD_MASK].get(value)
        if isinstance(held, Bitmap) and len(held) > MANY:
            held.add(n)
        else:
            self._add_digest(value, n)

    def _add_digest(self, value: Hashable, n: int) -> None:
        key = digest(value)
        if self.passive.add(key, n) and self.passive.size(key) > MANY:
            self._holders[value] = self[value]
            self.passive.take(key)

    def revive(self, value: Hashable, n: int) -> None:
        """Note that ``n``, which has ``value``, is in memory again."""
        held = self._holders.parts[hash(value) & SHARD_MASK].get(value)
        if isinstance(held, Bitmap) and n in held:
            return
        self.passive.remove(digest(value), n)
        self.add(value, n)

    def size(self, value: Hashable) -> int:
        """How many holders ``value`` has."""
        return super().size(value) + self.passive.size(digest(value))

    def only(self, value: Hashable) -> int | None:
        """The one holder of ``value``; None if there is none, or several."""
        passive = self.passive.find(digest(value))
        if not passive:
            return super().only(value)
        return passive[0] if len(passive) == 1 and value not in self._holders else None

    def __getitem__(self, value: Hashable) -> Bitmap:
        """The holders of ``value``, as they are now and only to be read; KeyError if there are none."""
        passive = self.passive.find(digest(value))
        if not passive:
            return super().__getitem__(value)
        holders = Bitmap(passive)
        for n in super().__getitem__(value) if value in self._holders else ():
            holders.add(n)
        return holders
