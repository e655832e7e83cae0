"""The text that asks for the next page of a listing, opaque to those who hand it back."""

from __future__ import annotations

import struct
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from sessiond.actors.errors import InvalidRequest

__all__ = ["pack", "seal", "unpack"]

_LAYOUT = struct.Struct(">Q10s")


class Query(Protocol):
    """What is listed, and in which order."""

    @property
    def order(self) -> str: ...
    @property
    def given(self) -> Mapping[str, Any]: ...


def seal(query: Query, instance: str) -> bytes:
    """What a cursor is good for, in 10 bytes: these filters in this order, of whatever ``instance`` names.

    What does not outlive the service is named by its run.
    """
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
