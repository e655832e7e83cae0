"""Which sessions have a given value in one field: an index for fields that change, and one for those that do not."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

from sessiond.actors.bitmap import Bitmap, Words
from sessiond.actors.shards import SHARD_MASK, Shards

__all__ = ["FieldIndex", "SteadyIndex", "strict"]

FEW = 8
"""Up to so many holders of a value are kept as bare numbers: a bitmap of its own costs more than all of them."""


class FieldIndex(Mapping[Hashable, Bitmap]):
    """Maps each value of a field that may change to the sequence numbers of its holders.

    Most values of some fields (a caller's number, a gateway's id of a call) have one holder, or two behind a
    back-to-back user agent. One holder is kept as an int, few as a tuple, more as a ``Bitmap``.
    """

    __slots__ = ("_holders",)

    def __init__(self) -> None:
        self._holders: Shards[Hashable, int | tuple[int, ...] | Bitmap] = Shards()

    def add(self, value: Hashable, n: int) -> None:
        """Note that ``n``, which had no value yet, has ``value``."""
        part = self._holders.parts[hash(value) & SHARD_MASK]
        held = part.setdefault(value, n)
        if held is n:
            return
        if isinstance(held, Bitmap):
            held.add(n)
        else:
            several = (held, n) if isinstance(held, int) else (*held, n)
            part[value] = several if len(several) <= FEW else Bitmap(several)

    def remove(self, value: Hashable, n: int) -> None:
        """Note that ``n``, which had ``value``, no longer has it; a value without holders is forgotten."""
        part = self._holders.parts[hash(value) & SHARD_MASK]
        held = part.pop(value)
        if isinstance(held, int):
            return
        if isinstance(held, Bitmap):
            held.discard(n)
            if held.chunks:
                part[value] = held
        else:
            left = tuple(other for other in held if other != n)
            part[value] = left if len(left) > 1 else left[0]

    def size(self, value: Hashable) -> int:
        """How many holders ``value`` has."""
        held = self._holders.parts[hash(value) & SHARD_MASK].get(value)
        return 0 if held is None else 1 if isinstance(held, int) else len(held)

    def only(self, value: Hashable) -> int | None:
        """The one holder of ``value``; None if there is none, or several."""
        held = self._holders.get(value)
        return held if isinstance(held, int) else None

    def __getitem__(self, value: Hashable) -> Bitmap:
        """The holders of ``value``, as they are now and only to be read; KeyError if there are none."""
        held = self._holders[value]
        if isinstance(held, Bitmap):
            return held
        return Bitmap((held,) if isinstance(held, int) else held)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._holders)

    def __len__(self) -> int:
        return len(self._holders)


class SteadyIndex(Mapping[Hashable, Words]):
    """Maps each value of a field that a session keeps for life to the sequence numbers of all that ever had it.

    Sessions come in the order of their numbers, so the words of the newest chunk are all that ever grow; they are
    kept apart in ``newest``, for the quickest of additions, and join the rest when somebody reads.

    Nothing is taken out when a session is forgotten; the word of a whole chunk is, once all of the chunk are
    forgotten. So the words must be intersected with those of sessions that are known (by state, which all are): every
    query does that anyhow, and it spares each session half the work on its indexes.
    """

    __slots__ = ("_holders", "_values", "newest", "number")

    def __init__(self) -> None:
        self.newest: dict[Hashable, int] = {}
        """The words of the newest chunk by value; to be added to by whoever adds a session."""
        self.number = 0
        """The number of the newest chunk; only to be read."""
        self._holders: dict[Hashable, Words] = {}
        self._values: dict[int, list[Hashable]] = {}
        """The values that have a word in each chunk."""

    def open(self, number: int) -> None:
        """Begin chunk ``number``: ``newest`` is about that from now on."""
        self._settle_all()
        self.newest = {}
        self.number = number

    def keep(self, number: int, word: int) -> None:
        """Of chunk ``number``, only the sessions of ``word`` are still known."""
        self._settle_all()
        if number == self.number:
            self.newest = {value: kept for value, each in self.newest.items() if (kept := each & word)}
        left = []
        for value in self._values.pop(number, ()):
            chunks = self._holders[value].chunks
            kept = chunks[number] & word
            if kept:
                chunks[number] = kept
                left.append(value)
            else:
                del chunks[number]
                if not chunks:
                    del self._holders[value]
        if left:
            self._values[number] = left

    def __getitem__(self, value: Hashable) -> Words:
        """The words of ``value``, only to be read and good until sessions are added; KeyError if it has none."""
        if value in self.newest:
            self._settle(value)
        return self._holders[value]

    def __iter__(self) -> Iterator[Hashable]:
        self._settle_all()
        return iter(self._holders)

    def __len__(self) -> int:
        self._settle_all()
        return len(self._holders)

    def _settle_all(self) -> None:
        """Let the newest words join the rest."""
        for value in self.newest:
            self._settle(value)

    def _settle(self, value: Hashable) -> None:
        held = self._holders.get(value)
        if held is None:
            held = self._holders[value] = Words()
        if self.number not in held.chunks:
            self._values.setdefault(self.number, []).append(value)
        held.chunks[self.number] = self.newest[value]


def strict(value: Hashable) -> Hashable:
    """A metadata value as a key: as on the wire, True is not 1 and False is not 0, while 1 is 1.0."""
    return (value,) if isinstance(value, bool) else value
