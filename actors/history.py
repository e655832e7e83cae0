"""The timeline of a session: when what changed and by whom, packed into a few bytes for each change.

An entry is its time, the number of its author, what changed and a few bytes of detail; a state takes 12 bytes in all.
A session's history is one object of all its entries, so that a million sessions keep theirs without a million lists.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

from sessiond.actors.results import Author, HistoryEntry
from sessiond.actors.states import STATES

__all__ = [
    "CLAIMED",
    "COMMAND",
    "CREATED",
    "ENDED_FOR",
    "FIELDS",
    "MAX_BYTES",
    "METADATA",
    "STATE",
    "begun",
    "named",
    "noted",
    "read",
]

_ENTRY = struct.Struct("<dHBB")
"""Time in seconds since the epoch, number of the author, code, bytes of detail."""
_pack = _ENTRY.pack

MAX_BYTES = 1024
"""A history that gets longer loses its middle: how a call began and what happened lately are asked for most."""
_FIRST = 8
"""So many of the oldest entries always stay."""
_LAST_BYTES = MAX_BYTES // 2
"""So many bytes of the newest stay when the middle goes."""

_MAX_DETAIL = 96
"""Bytes of detail: some eight names of metadata keys."""
_SEPARATOR = "\x1f"

CREATED = {state: number for number, state in enumerate(STATES)}
"""The codes of a creation, by the first state."""
STATE = {state: 8 + number for number, state in enumerate(STATES)}
"""Those of a change of state."""
FIELDS, METADATA, CLAIMED, COMMAND, ENDED_FOR, _LOST = 16, 17, 18, 19, 20, 21
"""Changes of fields and of metadata (detail: their names), of the incarnation that holds the session, a command to the
gateway (detail: its name, what came of it, and the reason if it has one), the end (detail: the reason); and entries
that were let go (detail: how many)."""

_KINDS = {FIELDS: "fields", METADATA: "metadata", CLAIMED: "claimed", COMMAND: "command", ENDED_FOR: "ended"}
_STATES = {code: state for codes in (CREATED, STATE) for state, code in codes.items()}


def begun(state: str, author: int, at: float) -> bytes:
    """The history of a session that began in ``state``."""
    return _pack(at, author, CREATED[state], 0)


def noted(history: bytes, code: int, author: int, at: float, detail: bytes = b"") -> bytes:
    """``history`` with one more entry: ``code`` is one of this module's, ``at`` epoch seconds."""
    history += _pack(at, author, code, len(detail)) + detail if detail else _pack(at, author, code, 0)
    return history if len(history) <= MAX_BYTES else _without_middle(history)


def named(names: Iterable[str]) -> bytes:
    """The detail that tells ``names``, as much of them as fits."""
    return _SEPARATOR.join(names).encode()[:_MAX_DETAIL]


def read(history: bytes, author: Callable[[int], Author]) -> tuple[list[HistoryEntry], int]:
    """The entries in the order in which they were noted, and how many were let go; ``author`` tells who a number is."""
    entries: list[HistoryEntry] = []
    dropped = 0
    for at, who, code, detail in _entries(history):
        if code == _LOST:
            dropped += int(detail)
        else:
            entries.append(_readable(at, author(who), code, detail.decode(errors="ignore")))
    return entries, dropped


def _readable(at: float, author: Author, code: int, detail: str) -> HistoryEntry:
    if code in _STATES:
        return HistoryEntry(at, author, "created" if code in CREATED.values() else "state", state=_STATES[code])
    parts = detail.split(_SEPARATOR) if detail else []
    if code == ENDED_FOR:
        return HistoryEntry(at, author, "ended", reason=detail)
    if code == COMMAND:
        command, outcome, *given = parts
        return HistoryEntry(at, author, "command", command=command, outcome=outcome, reason=given[0] if given else None)
    return HistoryEntry(at, author, _KINDS[code], names=parts or None)


def _entries(history: bytes) -> Iterator[tuple[float, int, int, bytes]]:
    place = 0
    while place < len(history):
        at, author, code, size = _ENTRY.unpack_from(history, place)
        place += _ENTRY.size
        yield at, author, code, history[place : place + size]
        place += size


def _without_middle(history: bytes) -> bytes:
    entries = list(_entries(history))
    dropped = sum(int(detail) for _, _, code, detail in entries if code == _LOST)
    kept = [entry for entry in entries if entry[2] != _LOST]
    first, rest = kept[:_FIRST], kept[_FIRST:]
    while sum(_ENTRY.size + len(entry[3]) for entry in rest) > _LAST_BYTES:
        rest = rest[1 + len(rest) // 8 :]
    dropped += len(kept) - len(first) - len(rest)
    lost = (first[-1][0], 0, _LOST, str(dropped).encode())
    return b"".join(_pack(*entry[:3], len(entry[3])) + entry[3] for entry in (*first, lost, *rest))
