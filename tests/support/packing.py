"""MessagePack as it may come: any of the encodings of a value, not only the shortest, and what is none at all."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

__all__ = ["POISONS", "Raw", "packed"]


class Raw(bytes):
    """Bytes that stand in a message as they are."""

    __slots__ = ()


POISONS = {
    "never used": b"\xc1",
    "extension": b"\xd4\x05\x00",
    "long extension": b"\xc7\x03\x05abc",
    "timestamp": b"\xd6\xff\x00\x00\x00\x00",
    "long timestamp": b"\xc7\x0c\xff" + bytes(12),
    "overlong UTF-8": b"\xa2\xc0\x80",
    "surrogate": b"\xa3\xed\xa0\x80",
    "beyond Unicode": b"\xa4\xf5\x80\x80\x80",
    "cut off UTF-8": b"\xa1\xe2",
    "array over 256": b"\xdc\x01\x01" + b"\xc0" * 257,
    "map over 64": b"\xde\x00\x41" + b"".join(b"\xcc%c\xc0" % number for number in range(65)),
    "depth over 8": b"\x91" * 9 + b"\xc0",
}
"""What no frame may hold, anywhere."""

STRING = ((0xD9, 1), (0xDA, 2), (0xDB, 4))
BINARY = ((0xC4, 1), (0xC5, 2), (0xC6, 4))
ARRAY = ((0xDC, 2), (0xDD, 4))
MAP = ((0xDE, 2), (0xDF, 4))
INTEGERS = (
    (0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q"),
    (0xD0, ">b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q"),
)  # fmt: skip


@st.composite
def packed(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> bytes:
    """The bytes of some encoding of one of ``values``."""
    return _pack(draw, draw(values))


def _pack(draw: st.DrawFn, value: Any) -> bytes:
    if isinstance(value, Mapping):
        header = draw(st.sampled_from(_headers(len(value), MAP, 0x80, 16)))
        return header + b"".join(_pack(draw, item) for pair in value.items() for item in pair)
    if isinstance(value, (list, tuple)):
        header = draw(st.sampled_from(_headers(len(value), ARRAY, 0x90, 16)))
        return header + b"".join(_pack(draw, item) for item in value)
    return draw(st.sampled_from(_scalars(value)))


def _scalars(value: Any) -> list[bytes]:
    """All encodings of what holds nothing else."""
    match value:
        case Raw():
            return [value]
        case None | bool():
            return [{None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]]
        case int():
            return _integers(value)
        case float():
            return [b"\xcb" + struct.pack(">d", value)]
        case str():
            content, forms = value.encode(), (STRING, 0xA0, 32)
        case _:
            content, forms = value, (BINARY,)
    return [header + content for header in _headers(len(content), *forms)]


def _integers(value: int) -> list[bytes]:
    forms = [struct.pack(">b", value)] if -32 <= value < 128 else []
    for first, form in INTEGERS:
        try:
            forms.append(bytes([first]) + struct.pack(form, value))
        except struct.error:
            continue
    return forms


def _headers(size: int, sized: tuple[tuple[int, int], ...], fixed: int = 0, below: int = 0) -> list[bytes]:
    forms = [bytes([fixed | size])] if size < below else []
    return forms + [bytes([first]) + size.to_bytes(width) for first, width in sized if size < 256**width]
