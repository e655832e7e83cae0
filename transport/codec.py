"""MessagePack-RPC frames: from bytes to calls and from answers to bytes. No I/O, no clock.

A frame is decoded twice at most. The fast way decodes straight into typed structures, and what it accepts is right by
construction. Whatever it refuses is decoded again by ``inspect``, strictly and under the limits below, which decides
what the refusal means: a frame that is wrong inside is answered with a typed error, and what is no frame at all
closes its connection.

Source of the limits: an empty array header may claim four billion elements and a nested one multiplies that, so
lengths are bounded before anything is allocated; extension types have no meaning here and the timestamp among them
would be decoded before any hook sees it, so ``max_ext_len`` is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgpack
import msgspec
from msgspec import Meta

from sessiond.actors.errors import SessiondError

__all__ = [
    "MAX_CALLS",
    "MAX_FRAME",
    "MAX_MSGID",
    "NOTIFICATION",
    "REQUEST",
    "RESPONSE",
    "Call",
    "Framer",
    "NotAFrameError",
    "Notification",
    "Response",
    "as_array",
    "decode",
    "decode_call",
    "decode_calls",
    "decode_notification",
    "encode",
    "encode_call",
    "encode_error",
    "encode_result",
    "inspect",
]

MAX_FRAME = 256 * 1024
MAX_ARRAY = 256
MAX_MAP = 64
MAX_DEPTH = 8
MAX_MSGID = 2**32 - 1
MAX_CALLS = 256
"""The requests that ``decode_calls`` takes at once."""

REQUEST, RESPONSE, NOTIFICATION = 0, 1, 2


class NotAFrameError(Exception):
    """The bytes are no frame of this protocol; the text says why, for the log."""


class Call(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A request, whose parameters are still encoded."""

    kind: Literal[0]
    msgid: Annotated[int, Meta(ge=0, le=MAX_MSGID)]
    method: str
    params: msgspec.Raw


class Notification(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A request that wants no answer."""

    kind: Literal[2]
    method: str
    params: msgspec.Raw
    msgid: ClassVar[None] = None


class Response(NamedTuple):
    """A client's answer to a request of the service, as plain data."""

    msgid: int
    error: Any
    result: Any


class _BinaryCall(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A request by a client that knows no difference between text and bytes, as pynvim is at times."""

    kind: Literal[0]
    msgid: Annotated[int, Meta(ge=0, le=MAX_MSGID)]
    method: bytes
    params: msgspec.Raw

    def as_text(self) -> Call:
        return Call(0, self.msgid, self.method.decode(), self.params)


class _BinaryNotification(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """As ``_BinaryCall``, wanting no answer."""

    kind: Literal[2]
    method: bytes
    params: msgspec.Raw

    def as_text(self) -> Notification:
        return Notification(2, self.method.decode(), self.params)


decode_call = msgspec.msgpack.Decoder(Call).decode
"""The fast way, for what is exactly one request; raises anything for whatever is not. See ``decode``."""
_decode_array_of_calls = msgspec.msgpack.Decoder(list[Call]).decode
_CALL_BEGINS = b"\x94\x00"
decode_notification = msgspec.msgpack.Decoder(Notification).decode
_decode_binary_call = msgspec.msgpack.Decoder(_BinaryCall).decode
_decode_binary_notification = msgspec.msgpack.Decoder(_BinaryNotification).decode
encode = msgspec.msgpack.Encoder().encode

_ATTEMPTS: tuple[Callable[[bytes], Call | Notification], ...] = (
    decode_call,
    decode_notification,
    lambda frame: _decode_binary_call(frame).as_text(),
    lambda frame: _decode_binary_notification(frame).as_text(),
)


def decode_calls(data: bytes) -> list[Call]:
    """The fast way, for what is nothing but whole requests; raises anything for whatever is not, see ``decode``.

    Their number is guessed by what each of them begins with; the decoder refuses a wrong guess.
    """
    count = data.count(_CALL_BEGINS)
    if count > MAX_CALLS:
        raise msgspec.DecodeError("more than may be decoded at once")
    return _decode_array_of_calls(as_array(data, count))


def as_array(messages: bytes, count: int) -> bytes:
    """So many messages as the one array that they are with a header before them: a decoder takes it in one call."""
    return b"\xdd" + count.to_bytes(4, "big") + messages


def decode(frame: bytes) -> Call | Notification | Response | None:
    """What a whole frame says; None for a response that can be to no request, which is to be ignored.

    Raises:
        NotAFrameError: the bytes are no frame, or more than one.
    """
    for attempt in _ATTEMPTS:
        try:
            return attempt(frame)
        except Exception:  # noqa: BLE001, S112  (whatever a decoder raises, ``inspect`` has the last word)
            continue
    message = inspect(frame)
    if message[0] == RESPONSE:
        return _response(message)
    raise NotAFrameError("neither a request nor a notification")


def _response(message: list[Any]) -> Response | None:
    match message:
        case [_, int() as msgid, error, result] if type(msgid) is int:
            return Response(msgid, _plain(error), _plain(result))
    return None


def _plain(value: Any) -> Any:
    """A decoded value with maps as dicts and bytes as text, for whoever knows no difference; odd keys are left out."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, _Map):
        named = ((_plain(key), item) for key, item in value if isinstance(key, (str, bytes)))
        return {key: _plain(item) for key, item in named}
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def inspect(frame: bytes) -> list[Any]:
    """The message in a whole frame, decoded under every limit; maps come as ``_Map`` of pairs.

    Raises:
        NotAFrameError: it breaks a limit, is not MessagePack, or no array as the protocol wants it.
    """
    unpacker = msgpack.Unpacker(
        use_list=True,
        strict_map_key=False,
        object_pairs_hook=_Map,
        max_buffer_size=MAX_FRAME,
        max_str_len=MAX_FRAME,
        max_bin_len=MAX_FRAME,
        max_array_len=MAX_ARRAY,
        max_map_len=MAX_MAP,
        max_ext_len=0,
    )
    try:
        unpacker.feed(frame)
        message = unpacker.unpack()
    except Exception as error:  # noqa: BLE001  (msgpack raises more than its documented classes)
        raise NotAFrameError(f"{type(error).__name__}: {error}") from None
    if unpacker.tell() != len(frame):
        raise NotAFrameError("more than one object")
    _check_depth(message, MAX_DEPTH)
    if not isinstance(message, list) or not message or type(message[0]) is not int:
        raise NotAFrameError("not an array that begins with the kind of message")
    return message


class _Map(tuple[tuple[Any, Any], ...]):
    """A decoded map as its pairs: keys of any type and twice the same are seen, and nothing is hashed."""

    __slots__ = ()


def _check_depth(value: object, left: int) -> None:
    if not isinstance(value, (list, _Map)):
        return
    if left == 0:
        raise NotAFrameError(f"nested deeper than {MAX_DEPTH}")
    for item in _children(value):
        _check_depth(item, left - 1)


def _children(value: list[Any] | _Map) -> Iterator[object]:
    if isinstance(value, list):
        yield from value
    else:
        for key, item in value:
            yield key
            yield item


def encode_call(call: Call) -> bytes:
    """The frame that ``call`` was decoded from, or one that says the same."""
    return encode(call)


def encode_result(msgid: int, result: object) -> bytes:
    """The response to a call that succeeded."""
    return encode((RESPONSE, msgid, None, result))


def encode_error(msgid: int, error: SessiondError) -> bytes:
    """The response to a call that failed: ``[fault, text, details]``."""
    fault = 1 if error.caller_at_fault else 0
    return encode((RESPONSE, msgid, (fault, error.text, {"code": error.code, **error.details}), None))


class Framer:
    """Cuts what arrives into frames, keeping what is not whole yet.

    Frames have no length prefix, so their ends are found by skipping over them. The unpacker that skips keeps its
    place in an unfinished frame: one that arrives byte by byte is neither read nor copied over and over.
    """

    READ_SIZE = 4096
    """Bytes that the unpacker's buffer begins with: there is one for each connection that pipelines."""
    KEPT_SIZE = 65_536
    """An unpacker that has held more is let go of, since its buffer only grows."""

    def __init__(self) -> None:
        self._buffer: bytes | bytearray = b""
        """What waits, from ``_start`` on; growable once more of a frame waits than arrives."""
        self._start = 0
        self._unpacker: msgpack.Unpacker | None = None
        self._is_fed = False
        self._offset = 0
        self._fault = ""
        """What is wrong with what waits. A text: the exception would hold frames, and these the connection."""
        self.is_empty = True
        """Whether nothing waits."""
        self.frames = 0
        """How many frames have been cut off; tells whether an unfinished frame is still the same one."""

    @property
    def waiting(self) -> int:
        """How many bytes have arrived and were not handed out."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """Take in what arrived."""
        self.is_empty = self.is_empty and not data
        if self._is_fed:
            assert self._unpacker is not None
            self._unpacker.feed(data)
            self._offset += self._start
        if not self.waiting:
            self._buffer = data
        elif self.waiting < len(data):
            self._buffer = bytes(self._buffer[self._start :]) + data
        else:
            self._grow(data)
        self._start = 0

    def _grow(self, data: bytes) -> None:
        """Append to the buffer without a copy of all that waits."""
        if not isinstance(self._buffer, bytearray):
            self._buffer = bytearray(self._buffer)
        del self._buffer[: self._start]
        self._buffer += data

    def cut(self, most: int) -> list[bytes]:
        """The whole frames that wait, at most ``most`` of them.

        Raises:
            NotAFrameError: what waits cannot become a frame; neither can anything after it. Frames before it are
                handed out first.
        """
        frames: list[bytes] = []
        is_bytes = isinstance(self._buffer, bytes)
        try:
            self._cut(frames, most)
        except msgpack.OutOfData:
            if self.waiting > MAX_FRAME:
                self._fault = f"over {MAX_FRAME} bytes"
        except Exception as error:  # noqa: BLE001  (msgpack raises more than its documented classes)
            self._fault = f"{type(error).__name__} {error}"
        self.frames += len(frames)
        if self._fault and not frames:
            raise NotAFrameError(self._fault)
        return frames if is_bytes else [bytes(frame) for frame in frames]

    @property
    def is_faulty(self) -> bool:
        """Whether the next ``cut`` will raise."""
        return bool(self._fault)

    def _cut(self, frames: list[bytes], most: int) -> None:
        if not self.waiting or self._fault:
            return
        buffer = self._buffer
        unpacker, offset = self._fed()
        skip, tell = unpacker.skip, unpacker.tell
        while len(frames) < most:
            skip()
            end = tell() - offset
            if end - self._start > MAX_FRAME:
                raise NotAFrameError(f"over {MAX_FRAME} bytes")
            frames.append(buffer[self._start : end])  # type: ignore[arg-type]  # a bytearray's: see ``cut``
            self._start = end
            if end == len(buffer):
                self._clear()
                return

    def _fed(self) -> tuple[msgpack.Unpacker, int]:
        """The unpacker, fed with what waits, and how far its places are from those in the buffer."""
        unpacker = self._unpacker
        if unpacker is None:
            unpacker = self._unpacker = msgpack.Unpacker(read_size=self.READ_SIZE, max_buffer_size=0)  # 0: no limit
        if not self._is_fed:
            self._offset = unpacker.tell() - self._start
            unpacker.feed(memoryview(self._buffer)[self._start :])
            self._is_fed = True
        return unpacker, self._offset

    def _clear(self) -> None:
        """Hold no memory between frames, however big the last read was."""
        if len(self._buffer) > self.KEPT_SIZE:
            self._unpacker = None
        self._buffer, self._start, self._is_fed = b"", 0, False
        self.is_empty = True
