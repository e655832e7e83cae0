"""A live session in bytes: everything that its actor has to know to go on where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sessiond.actors.record import Session

__all__ = ["Image", "Row", "pack", "unpack"]


class Row(Session, frozen=True, gc=False, array_like=True):
    """A record without the names of its fields, which are the same in all.

    Fields may be added at the end of ``Session``, with a default, which is what images from before have then.
    """


class Image(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is kept of a live session."""

    record: Session
    timeouts: tuple[float, float, float] | None
    """Its own, None for everybody's: those of the configuration may be others after a restart."""
    touched: float
    """The last activity, in seconds since the epoch."""
    request: tuple[str, bytes] | None
    """The ``request_id`` that it was created by, and the digest of the parameters."""
    is_held: bool
    """Whether an incarnation of its gateway holds it: that of the record's epoch."""
    timeline: bytes


class _Kept(msgspec.Struct, array_like=True):
    record: Row
    timeouts: tuple[float, float, float] | None
    touched: float
    request: tuple[str, bytes] | None
    is_held: bool
    timeline: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode
_values: Callable[[Any], tuple[Any, ...]] = msgspec.structs.astuple


def pack(
    record: Session,
    timeouts: tuple[float, float, float] | None,
    touched: float,
    request: tuple[str, bytes] | None,
    is_held: bool,
    timeline: bytes,
) -> bytes:
    """The ``Image`` of these in bytes."""
    return _encode((_values(record), timeouts, touched, request, is_held, timeline))


def unpack(data: bytes) -> Image:
    """What ``pack`` was given.

    Raises:
        msgspec.DecodeError: these are no bytes of an image.
    """
    kept = _decode(data)
    return Image(Session(*_values(kept.record)), kept.timeouts, kept.touched, kept.request, kept.is_held, kept.timeline)
