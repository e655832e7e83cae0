"""All the sessions that the service knows, live ones and ended ones still retained, and the ways to find them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import ClassVar, Generic, Protocol, TypeVar

from sessiond.actors.bitmap import BIT, CHUNK_SHIFT, OFFSET_MASK, Bitmap, Words, offsets
from sessiond.actors.index import FieldIndex, SteadyIndex, strict
from sessiond.actors.record import Session
from sessiond.actors.shards import SHARD_MASK, Shards
from sessiond.actors.states import ENDED, STATES
from sessiond.actors.table import SequenceTable

__all__ = ["MAX_ADDRESSED", "Directory", "Entry"]

MAX_ADDRESSED = 16
"""So many live sessions of one address are told apart; a conflict needs two."""

MAX_NAMES = 4096
"""With so many names the pool starts anew at the next chunk, for a gateway that makes names up."""


class Entry(Protocol):
    """What the directory needs to know of a session, be it an actor or what is left of one."""

    @property
    def seq(self) -> int:
        """The session's place in the order of creation, as given by ``Directory.next_seq``."""
        ...

    @property
    def record(self) -> Session:
        """The session's present record."""
        ...


E = TypeVar("E", bound=Entry)


class Directory(Generic[E]):
    """Sessions by id, by creation sequence, by address, and by the values of their fields.

    It is told of every change by the method for it; it never looks at an entry's record to see what has changed.
    """

    _changing_index: ClassVar[type[FieldIndex]] = FieldIndex

    def __init__(self, metadata_keys: Iterable[str] = (), counted: Iterable[str] = ()) -> None:
        """Index the fields of the contract and, beyond them, the metadata under ``metadata_keys``.

        Of the fields ``counted``, which a session keeps for life, it is also kept who lives, so that these need not be
        found among all that ever had a value.
        """
        self.by_id: Shards[str, E] = Shards()
        """Every entry by its session's id; only to be read."""
        self.table: SequenceTable[E] = SequenceTable()
        """Every entry by its sequence number; only to be read."""
        self.states: dict[Hashable, Bitmap] = {state: Bitmap() for state in STATES}
        """Sequence numbers by state, every known session in one of them; only to be read."""
        new_index = self._changing_index
        self.metadata: dict[str, FieldIndex] = {key: new_index() for key in metadata_keys}
        """The indexes of metadata, by key, then by ``strict`` value; only to be read."""
        self._types, self._gateways, self._directions = SteadyIndex(), SteadyIndex(), SteadyIndex()
        self._external_ids, self._callers, self._callees = new_index(), new_index(), new_index()
        self._parents, self._groups = new_index(), new_index()
        self._changing = (
            (self._external_ids, "external_id"),
            (self._callers, "caller"),
            (self._callees, "callee"),
            (self._parents, "parent"),
            (self._groups, "group"),
        )
        self.fields: dict[str, Mapping[Hashable, Words]] = {
            "state": self.states,
            "type": self._types,
            "gateway": self._gateways,
            "direction": self._directions,
            **{field: index for index, field in self._changing},
        }
        """The indexes of fields, by the field's name; only to be read."""
        leaving = (self._callers, self._callees, self._parents, self._groups, *self.metadata.values())
        self.live_only = frozenset(map(id, leaving))
        """The indexes, by identity, in which ended sessions are not."""
        self._counted = tuple((FieldIndex(), field) for field in counted)
        self.live: dict[str, FieldIndex] = {
            "caller": self._callers,
            "callee": self._callees,
            "group": self._groups,
            **{field: index for index, field in self._counted},
        }
        """The indexes of fields in which none but live sessions are, by the field's name; only to be read."""
        self.suspects: dict[int, Bitmap] = {}
        """The sessions of each lost incarnation, by their identity; kept by ``Incarnations``."""
        self.names: dict[str, str] = {}
        """The one copy of each string that many records hold, such as the name of a gateway: for ``setdefault``."""
        self._last_seq = 0
        self._size = 0

    def __len__(self) -> int:
        """Sessions that are known, live or retained."""
        return self._size

    def next_seq(self) -> int:
        """A sequence number for the next entry: from 1, ascending, never given twice."""
        self._last_seq += 1
        return self._last_seq

    def go_on_after(self, seq: int) -> None:
        """Give greater numbers than ``seq`` only."""
        self._last_seq = max(self._last_seq, seq)

    @property
    def last_seq(self) -> int:
        """The number that was given last."""
        return self._last_seq

    def add(self, entry: E) -> None:
        """Take in a session that was not known."""
        seq, record = entry.seq, entry.record
        self.by_id.parts[hash(record.id) & SHARD_MASK][record.id] = entry
        self._size += 1
        self.table.put(seq, entry)
        self.states[record.state].add(seq)
        if seq >> CHUNK_SHIFT != self._types.number:
            self._open_chunk(seq >> CHUNK_SHIFT)
        bit = BIT[seq & OFFSET_MASK]
        words = self._types.newest
        words[record.type] = words.get(record.type, 0) | bit
        words = self._gateways.newest
        words[record.gateway] = words.get(record.gateway, 0) | bit
        words = self._directions.newest
        words[record.direction] = words.get(record.direction, 0) | bit
        if record.external_id is not None:
            self._external_ids.add(record.external_id, seq)
        if record.caller is not None:
            self._callers.add(record.caller, seq)
        if record.callee is not None:
            self._callees.add(record.callee, seq)
        if record.parent is not None:
            self._parents.add(record.parent, seq)
        if record.group is not None:
            self._groups.add(record.group, seq)
        if self._counted:
            self._count(record, seq)
        for key, index in self.metadata.items():
            if (value := record.metadata.get(key)) is not None:
                index.add(strict(value), seq)

    def add_ended(self, entry: E) -> None:
        """Take in what is left of a session that has ended before this run of the service."""
        seq, record = entry.seq, entry.record
        self.by_id[record.id] = entry
        self._place_again(seq, record, ENDED, entry)
        if record.external_id is not None:
            self._external_ids.add(record.external_id, seq)

    def _place_again(self, seq: int, record: Session, state: str, entry: E) -> None:
        """Give a session of before this run its place in what is kept by number alone."""
        self._size += 1
        self.table.put(seq, entry)
        self.states[state].add(seq)
        if seq >> CHUNK_SHIFT != self._types.number:
            self._open_chunk(seq >> CHUNK_SHIFT)
        bit = BIT[seq & OFFSET_MASK]
        for index, value in (
            (self._types, record.type),
            (self._gateways, record.gateway),
            (self._directions, record.direction),
        ):
            index.newest[value] = index.newest.get(value, 0) | bit

    def _count(self, record: Session, seq: int) -> None:
        for index, field in self._counted:
            if (value := getattr(record, field)) is not None:
                index.add(value, seq)

    def _discount(self, record: Session, seq: int) -> None:
        for index, field in self._counted:
            if (value := getattr(record, field)) is not None:
                index.remove(value, seq)

    def _open_chunk(self, number: int) -> None:
        if len(self.names) >= MAX_NAMES:
            self.names.clear()
        for index in (self._types, self._gateways, self._directions):
            index.open(number)

    def replace(self, entry: E) -> None:
        """Have ``entry`` stand for the session whose id and sequence number it has, with an equal record."""
        self.by_id[entry.record.id] = entry
        self.table.swap(entry.seq, entry)

    def end(self, entry: E, old: Session) -> None:
        """``replace`` an actor, whose last live record was ``old``, by what is left of it.

        What is left has its place in the indexes that cost nothing to keep. It leaves those of callers, callees,
        links and metadata now, while all of that is at hand, and not when it is forgotten: with the ended sessions of
        a minute in them, these would be several times as large, and every look-up as much slower.
        """
        seq = entry.seq
        self.by_id.parts[hash(old.id) & SHARD_MASK][old.id] = entry
        self.table.swap(seq, entry)
        self.states[old.state].move(seq, self.states[ENDED])
        if old.caller is not None:
            self._callers.remove(old.caller, seq)
        if old.callee is not None:
            self._callees.remove(old.callee, seq)
        if old.parent is not None:
            self._parents.remove(old.parent, seq)
        if old.group is not None:
            self._groups.remove(old.group, seq)
        if self._counted:
            self._discount(old, seq)
        for key, index in self.metadata.items():
            if (value := old.metadata.get(key)) is not None:
                index.remove(strict(value), seq)

    def state_changed(self, seq: int, old: str, new: str) -> None:
        """Note a change of state."""
        self.states[old].move(seq, self.states[new])

    def changed(self, seq: int, old: Session, new: Session) -> None:
        """Note a change of a field that may change, or of metadata: ``new`` takes the place of ``old``."""
        for index, field in self._changing:
            _moved(index, seq, getattr(old, field), getattr(new, field))
        for key, index in self.metadata.items():
            _moved(index, seq, strict(old.metadata.get(key)), strict(new.metadata.get(key)))

    def forget(self, seq: int, session_id: str, external_id: str | None) -> None:
        """Let go of what is left of a session that has ended."""
        del self.by_id.parts[hash(session_id) & SHARD_MASK][session_id]
        self._size -= 1
        self.states[ENDED].discard(seq)
        if external_id is not None:
            self._external_ids.remove(external_id, seq)
        left = self.table.remove(seq)
        if left is not None:
            for steady in (self._types, self._gateways, self._directions):
                steady.keep(seq >> CHUNK_SHIFT, left)

    def at(self, seq: int) -> E | None:
        """The session with that sequence number."""
        return self.table.get(seq)

    def addressed(self, gateway: str | None, external_id: str) -> tuple[list[E], E | None]:
        """The live sessions of an address, newest first and at most ``MAX_ADDRESSED``, and else the newest ended one.

        A ``gateway`` of None is the address of sessions without one.
        """
        only = self._external_ids.only(external_id)
        if only is not None:
            entry = self.table.chunk(only >> CHUNK_SHIFT)[only & OFFSET_MASK]
            if entry.record.gateway != gateway:
                return [], None
            return ([], entry) if entry.record.state == ENDED else ([entry], None)
        return self._told_apart(self._gateways.get(gateway), self._external_ids.get(external_id))

    def _told_apart(self, of_gateway: Words | None, holders: Bitmap | None) -> tuple[list[E], E | None]:
        live: list[E] = []
        newest_ended: E | None = None
        if of_gateway is None or holders is None:
            return live, newest_ended
        for number in sorted(holders.chunks, reverse=True):
            word = holders.chunks[number] & of_gateway.chunks.get(number, 0)
            ended = word & self.states[ENDED].chunks.get(number, 0)
            chunk = self.table.chunk(number)
            live += [chunk[offset] for offset in offsets(word ^ ended, descending=True)]
            if ended and newest_ended is None:
                newest_ended = chunk[ended.bit_length() - 1]
            if len(live) >= MAX_ADDRESSED:
                break
        return live[:MAX_ADDRESSED], newest_ended

    def count_by_type(self, state: str, types: Iterable[str]) -> tuple[dict[str, int], int]:
        """How many sessions are in ``state``: of each of ``types``, and of all others together.

        Counted from the indexes at each call, some 0.25 ms for each type at a million sessions.
        """
        holders = self.states[state]
        counts = {kind: holders.common(words) if (words := self._types.get(kind)) else 0 for kind in types}
        return counts, len(holders) - sum(counts.values())

    @property
    def live_count(self) -> int:
        """Sessions that have not ended."""
        return self._size - self.retained_count

    @property
    def retained_count(self) -> int:
        """Sessions that have ended and are not forgotten."""
        return len(self.states[ENDED])


def _moved(index: FieldIndex, seq: int, before: Hashable, after: Hashable) -> None:
    if before == after:
        return
    if before is not None:
        index.remove(before, seq)
    if after is not None:
        index.add(after, seq)
