"""The text that asks for the next page of a listing, opaque to those who hand it back."""

from __future__ import annotations

import struct
from base64 import b64decode, urlsafe_b64encode
from hashlib import blake2b

import msgspec

from sessiond.actors.errors import InvalidRequest
from sessiond.actors.params import ListQuery

__all__ = ["pack", "seal", "unpack"]

_LAYOUT = struct.Struct(">Q10s")


def seal(query: ListQuery, instance: str) -> bytes:
    """What a cursor is good for, in 10 bytes: these filters in this order, in this run of the service."""
    text = msgspec.msgpack.encode((instance, query.order, query.given), order="deterministic")
    return blake2b(text, digest_size=10).digest()


def pack(seq: int, seal: bytes) -> str:
    """The cursor that goes on with the sequence number ``seq``."""
    return urlsafe_b64encode(_LAYOUT.pack(seq, seal)).decode()


def unpack(cursor: str, seal: bytes) -> int:
    """The sequence number to go on with. Raises ``InvalidRequest`` for a cursor that is not under this seal."""
    try:
        seq, sealed = _LAYOUT.unpack(b64decode(cursor, altchars=b"-_", validate=True))
    except (ValueError, struct.error):
        sealed = None
    if sealed != seal:
        raise InvalidRequest("cursor: not one of this listing", field="cursor")
    return int(seq)
