"""MessagePack by its specification, slow and plain: what the codec is compared with.

Nothing here knows the libraries that the service uses.
"""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["MAX_ARRAY", "MAX_DEPTH", "MAX_MAP", "Refused", "Unfinished", "end_of", "parse"]

MAX_DEPTH, MAX_ARRAY, MAX_MAP = 8, 256, 64

FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
NUMBERS = {
    0xCA: ">f", 0xCB: ">d",
    0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
SIZED = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4),
    0xC7: ("ext", 1), 0xC8: ("ext", 2), 0xC9: ("ext", 4),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4),
    0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip


class Unfinished(Exception):
    """More bytes are needed."""


class Refused(Exception):
    """It is no MessagePack, or breaks a limit."""


def _take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(data):
        raise Unfinished
    return data[at : at + size], at + size


def _header(data: bytes, at: int) -> tuple[str, Any, int]:
    """What begins at ``at``: its kind, its value or its length, and where its content begins."""
    (first,), at = _take(data, at, 1)
    if first in FIXED:
        return "value", FIXED[first], at
    if first < 0x80 or first >= 0xE0:
        return "value", first if first < 0x80 else first - 0x100, at
    for top, mask, kind in ((0x80, 0x0F, "map"), (0x90, 0x0F, "array"), (0xA0, 0x1F, "str")):
        if first & ~mask == top:
            return kind, first & mask, at
    if first in NUMBERS:
        content, at = _take(data, at, struct.calcsize(NUMBERS[first]))
        return "value", struct.unpack(NUMBERS[first], content)[0], at
    if first in SIZED:
        kind, width = SIZED[first]
        content, at = _take(data, at, width)
        return kind, int.from_bytes(content), at
    if 0xD4 <= first <= 0xD8:
        return "ext", 1 << (first - 0xD4), at
    raise Refused("no such type")


def end_of(data: bytes, at: int) -> int:
    """Where the object ends that begins at ``at``, whatever limits it breaks."""
    left = 1
    while left:
        kind, value, at = _header(data, at)
        left -= 1
        if kind in {"array", "map"}:
            left += value * (2 if kind == "map" else 1)
        elif kind != "value":
            _, at = _take(data, at, value + (kind == "ext"))
    return at


def parse(data: bytes, at: int = 0, depth: int = MAX_DEPTH) -> tuple[Any, int]:
    """The object that begins at ``at``, and its end. A map is a tuple of pairs."""
    kind, value, at = _header(data, at)
    if kind == "ext":
        raise Refused("an extension type")
    if kind in {"array", "map"}:
        return _parse_items(data, at, kind, value, depth - 1)
    if kind in {"str", "bin"}:
        content, at = _take(data, at, value)
        return (_text(content) if kind == "str" else content), at
    return value, at


def _parse_items(data: bytes, at: int, kind: str, count: int, depth: int) -> tuple[Any, int]:
    if depth < 0 or count > (MAX_ARRAY if kind == "array" else MAX_MAP):
        raise Refused("too deep, or too many")
    items = []
    for _ in range(count if kind == "array" else 2 * count):
        item, at = parse(data, at, depth)
        items.append(item)
    return (items if kind == "array" else tuple(zip(items[::2], items[1::2], strict=True))), at


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused("no UTF-8") from None
