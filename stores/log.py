"""The log: what one commit keeps, in bytes.

An entry is a kind, the number of a session and what there is to say of it. Its position is not written: entries are in
order, and the row of the log says the position of its last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

__all__ = ["AUTHOR", "END", "LIVE", "PUT", "TOUCH", "Entry", "decode", "encode", "latest"]

LIVE, TOUCH, END, PUT, AUTHOR = range(5)
"""A session is as an image says; there was activity at a time; a session has ended. The other two have tables of their
own: of them the log has but the kind, so that entries can be counted."""

Entry: TypeAlias = tuple[Any, ...]
"""``(LIVE, seq, image)``, ``(TOUCH, seq, at)``, ``(END, seq, ending)``, ``(PUT, name, value)`` or
``(AUTHOR, number, gateway, epoch)``."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[list[Any]]).decode
_values: Callable[[Any], tuple[Any, ...]] = msgspec.structs.astuple


def encode(entries: Iterable[Entry]) -> bytes:
    """What the log says of ``entries``."""
    return _encode([entry if entry[0] < END else _end(*entry) if entry[0] == END else entry[:1] for entry in entries])


def _end(kind: int, seq: int, ending: tuple[Any, ...]) -> Entry:
    _, final, *others = ending
    return (kind, seq, _values(final), *others)


def latest(entries: Sequence[Entry]) -> list[Entry]:
    """What of ``entries`` still counts once all of them are kept: all ends, and of anything else what came last."""
    found: list[Entry] = []
    said: set[tuple[int, Any]] = set()
    for entry in reversed(entries):
        kind, what = entry[:2]
        if kind == END:
            said |= {(LIVE, what), (TOUCH, what)}
        elif (kind, what) in said:
            continue
        said.add((kind, what))
        found.append(entry)
    found.reverse()
    return found


def decode(body: bytes) -> list[list[Any]]:
    """The entries of the log as they are written; see ``rows.endings`` for what has ended.

    Raises:
        msgspec.DecodeError: these are no bytes of a log.
    """
    return _decode(body)
