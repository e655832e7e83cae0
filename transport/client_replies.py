"""What the service answers: from bytes to replies, and from errors on the wire to exceptions. No I/O, no clock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal

import msgpack
import msgspec
from msgspec import Meta

from sessiond.actors.errors import BY_CODE, Internal, InvalidRequest, SessiondError
from sessiond.transport.codec import (
    MAX_MSGID,
    Call,
    NotAFrameError,
    Notification,
    as_array,
    decode_call,
    decode_notification,
)

__all__ = ["MAX_REPLY", "UNREADABLE", "Reply", "ReplyStream", "error_from"]

MAX_REPLY = 16 * 1024 * 1024
"""Bytes of the longest reply that is taken in: as many as 500 sessions have that are each as large as may be. Services
end a page long before; this bounds what something else that listens there can make a client collect."""


class Reply(msgspec.Struct, array_like=True, gc=False):
    """The answer to one request, whose result is still encoded."""

    kind: Literal[1]
    msgid: Annotated[int, Meta(ge=0, le=MAX_MSGID)]
    error: Any
    result: msgspec.Raw


class _Error(msgspec.Struct, array_like=True):
    fault: int
    text: str
    details: dict[str, Any]


_decode = msgspec.msgpack.Decoder(Reply).decode
_decode_array = msgspec.msgpack.Decoder(list[Reply]).decode
_REPLY_BEGINS = b"\x94\x01"

UNREADABLE = (ValueError, OverflowError, RecursionError)
"""What decoding raises: msgspec's own errors and those of wrong UTF-8 are values', the rest come from its depths."""


class ReplyStream:
    """Cuts what arrives on one connection into replies, keeping what is not whole yet.

    A read of whole replies and nothing else, as most are, is decoded at once. Otherwise the ends of frames are found by
    an unpacker that skips over them and keeps its place in an unfinished one.
    """

    def __init__(self, told: Callable[[Call | Notification], object]) -> None:
        """Call ``told`` with what the service says of its own accord."""
        self._told = told
        self._buffer = bytearray()
        self._start = 0
        """Where in all the bytes that the unpacker was fed the buffer begins."""
        self._unpacker: msgpack.Unpacker | None = None

    def feed(self, data: bytes) -> Iterable[Reply]:
        """Take in what arrived; the replies that are whole by now.

        Requests and notifications of the service are told of in their place among the replies.

        Raises:
            NotAFrameError: the bytes are no replies; neither can be anything after them.
        """
        if not self._buffer:
            with contextlib.suppress(*UNREADABLE):
                return _decode_array(as_array(data, data.count(_REPLY_BEGINS)))
        return self._feed_frames(data)

    def _feed_frames(self, data: bytes) -> Iterator[Reply]:
        for frame in self._cut(data):
            message = _read(frame)
            if isinstance(message, Reply):
                yield message
            else:
                self._told(message)

    def _cut(self, data: bytes) -> Iterator[bytes]:
        unpacker = self._unpacker
        if unpacker is None:
            unpacker = self._unpacker = msgpack.Unpacker(max_buffer_size=MAX_REPLY)
        if not self._buffer:
            self._start = unpacker.tell()
        self._buffer += data
        begin = 0
        try:
            unpacker.feed(data)
            while True:
                unpacker.skip()
                end = unpacker.tell() - self._start
                yield bytes(memoryview(self._buffer)[begin:end])
                begin = end
        except msgpack.OutOfData:
            del self._buffer[:begin]
            self._start += begin
        except (msgpack.UnpackException, ValueError) as error:
            raise NotAFrameError(f"{type(error).__name__}: {error}") from None


_DECODERS: dict[bytes, Callable[[bytes], Reply | Call | Notification]] = {
    _REPLY_BEGINS: _decode,
    b"\x94\x00": decode_call,
    b"\x93\x02": decode_notification,
}
"""By what a message begins with, if it is encoded as short as can be."""


def _read(frame: bytes) -> Reply | Call | Notification:
    """The message in a whole frame."""
    likely = _DECODERS.get(frame[:2])
    for decode in [likely] if likely is not None else _DECODERS.values():
        with contextlib.suppress(*UNREADABLE):
            return decode(frame)
    raise NotAFrameError("neither a reply nor a request nor a notification")


def error_from(value: object) -> SessiondError:
    """The exception that an error on the wire, ``[fault, text, details]``, stands for.

    A code that this version does not know becomes ``InvalidRequest`` or ``Internal``, by who is at fault, and stays in
    ``details["code"]``.
    """
    try:
        wire = msgspec.convert(value, _Error)
    except msgspec.ValidationError:
        return Internal(f"An error that cannot be read: {value!r:.200}")
    known = BY_CODE.get(str(wire.details.get("code")))
    error = (known or (InvalidRequest if wire.fault == 1 else Internal))(wire.text)
    error.details = wire.details
    if known is not None:
        del error.details["code"]
    return error
