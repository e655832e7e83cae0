"""A directory that knows more sessions than are in memory: the records of passive ones are in a store.

A passive session is live, and has left memory until somebody needs it. It keeps its sequence number, and with it its
place in the sets of those of its state, type, gateway and direction; the values that are its own lead to it by their
digests. So whatever an index finds or counts, it finds and counts in passive sessions too. None of them ever changes:
before that, it is made a resident.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from sessiond.actors.bitmap import BIT, CHUNK_SHIFT, OFFSET_MASK, Bitmap, offsets
from sessiond.actors.compact import CompactIndex, digest
from sessiond.actors.directory import MAX_ADDRESSED, Directory, E
from sessiond.actors.index import FieldIndex, strict
from sessiond.actors.record import Session
from sessiond.actors.shards import SHARD_MASK
from sessiond.actors.states import ENDED
from sessiond.actors.twofold import TwofoldIndex

__all__ = ["NEVER", "PASSIVE", "PassiveDirectory"]

NEVER = (1 << 32) - 1
"""The tick of a session that no deadline waits for; of the wheel's ticks it comes after 13 years."""


class _Passive:
    """In the place of every passive session's entry."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PASSIVE"


PASSIVE: Final[Any] = _Passive()
"""What ``table`` and ``at`` have of a passive session. It is no entry: whoever may meet it looks for it first."""


class PassiveDirectory(Directory[E]):
    """Sessions that are in memory, and those that are not."""

    _changing_index: ClassVar[type[FieldIndex]] = TwofoldIndex

    if TYPE_CHECKING:
        _external_ids: TwofoldIndex

    def __init__(self, metadata_keys: Iterable[str] = (), counted: Iterable[str] = ()) -> None:
        """See ``Directory``."""
        super().__init__(metadata_keys, counted)
        self.passive = Bitmap()
        """The sequence numbers of all passive sessions; only to be read."""
        self._ids = CompactIndex()
        self._created: dict[int, tuple[float, float]] = {}
        """Of each chunk with passive sessions when they were created: no sooner than, no later than."""
        self._due: dict[int, array[int]] = {}
        """Of the same the ticks of the passive ones, in their order."""

    @property
    def resident_count(self) -> int:
        """Live sessions that are in memory."""
        return self.live_count - len(self.passive)

    def passivate(self, entry: E, due: int = NEVER) -> None:
        """A live session leaves memory: its place is kept, and its entry let go.

        ``due`` is the wheel's tick under which it is filed last, to be looked at: see ``due``. It may be one of before
        the machine started, when the clock began.
        """
        seq, record = entry.seq, entry.record
        del self.by_id.parts[hash(record.id) & SHARD_MASK][record.id]
        self.table.swap(seq, PASSIVE)
        for index, value in self._own(record):
            index.passivate(value, seq)
        self._note(seq, record, due)

    def add_passive(self, seq: int, record: Session, due: int = NEVER) -> None:
        """Take in a live session of before this run, which is not in memory; otherwise see ``add``, ``passivate``."""
        self._place_again(seq, record, record.state, PASSIVE)
        for index, value in self._own(record):
            index.add_passive(value, seq)
        if self._counted:
            self._count(record, seq)
        self._note(seq, record, due)

    def _note(self, seq: int, record: Session, due: int) -> None:
        """Keep what is known of a passive session beside the indexes."""
        self._ids.add(digest(record.id), seq)
        self.passive.add(seq)
        number, at = seq >> CHUNK_SHIFT, record.created_at
        earliest, latest = self._created.get(number, (at, at))
        self._created[number] = (min(earliest, at), max(latest, at))
        self._due.setdefault(number, array("I")).insert(self._place(seq), min(max(due, 0), NEVER))

    def revive(self, entry: E) -> None:
        """A passive session is in memory again, with the record that it had."""
        seq, record = entry.seq, entry.record
        self.by_id[record.id] = entry
        self._ids.remove(digest(record.id), seq)
        self.table.swap(seq, entry)
        self.passive.discard(seq)
        for index, value in self._own(record):
            index.revive(value, seq)
        number = seq >> CHUNK_SHIFT
        del self._due[number][self._place(seq)]
        if number not in self.passive.chunks:
            del self._created[number], self._due[number]

    def due(self, seq: int) -> int:
        """The tick at which a passive session is to be made a resident, and looked at; KeyError if it is none.

        The wheel may hold it under earlier ones, which are of no use any more.
        """
        if seq not in self.passive:
            raise KeyError(seq)
        return self._due[seq >> CHUNK_SHIFT][self._place(seq)]

    def named(self, session_id: str) -> list[int]:
        """The passive sessions that may have this id: hardly ever more than one, and none that has it is missing."""
        return self._ids.find(digest(session_id))

    def passive_at(self, gateway: str | None, external_id: str) -> list[int]:
        """The passive ones of the newest ``MAX_ADDRESSED`` live sessions of an address.

        What is addressed is told by ``addressed`` once these are in memory.
        """
        of_gateway, holders = self._gateways.get(gateway), self._external_ids.get(external_id)
        if of_gateway is None or holders is None:
            return []
        live: list[int] = []
        for number in sorted(holders.chunks, reverse=True):
            word = holders.chunks[number] & of_gateway.chunks.get(number, 0)
            word &= ~self.states[ENDED].chunks.get(number, 0)
            live += [number << CHUNK_SHIFT | offset for offset in offsets(word, descending=True)]
            if len(live) >= MAX_ADDRESSED:
                break
        return [seq for seq in live[:MAX_ADDRESSED] if seq in self.passive]

    def addressed(self, gateway: str | None, external_id: str) -> tuple[list[E], E | None]:
        """The same of those that are in memory: see ``passive_at``."""
        only = self._external_ids.only(external_id)
        if only is not None:
            return ([], None) if only in self.passive else super().addressed(gateway, external_id)
        live, ended = self._told_apart(self._gateways.get(gateway), self._external_ids.get(external_id))
        return [entry for entry in live if entry is not PASSIVE], ended

    def created_within(self, number: int, earliest: float | None, bound: float | None) -> bool | None:
        """Whether the passive sessions of a chunk were created at ``earliest`` or later, and before ``bound``.

        True if all were, False if none was; None if only their records tell. KeyError if the chunk has none.
        """
        first, last = self._created[number]
        if (earliest is not None and last < earliest) or (bound is not None and first >= bound):
            return False
        if (earliest is None or first >= earliest) and (bound is None or last < bound):
            return True
        return None

    def _place(self, seq: int) -> int:
        """How many passive sessions of the same chunk come before it."""
        return (self.passive.chunks.get(seq >> CHUNK_SHIFT, 0) & (BIT[seq & OFFSET_MASK] - 1)).bit_count()

    def _own(self, record: Session) -> Iterator[tuple[TwofoldIndex, Hashable]]:
        """The values by which a session is found, and the indexes that change by its leaving."""
        for index, field in self._changing:
            if (value := getattr(record, field)) is not None:
                yield cast("TwofoldIndex", index), value
        for key, index in self.metadata.items():
            if (value := record.metadata.get(key)) is not None:
                yield cast("TwofoldIndex", index), strict(value)
