"""How the steps of calls become bytes, and bytes answers: the interface, and MessagePack-RPC as sessiond speaks it.

A generator of load must not be slower than what it measures. So every frame is encoded once, before the first request,
with gaps for what differs between calls, and all answers of a read are decoded in one call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Generic, Literal, Protocol, TypeVar

import msgpack
import msgspec
from msgspec import Meta

from sessiond.bench.workload import CHANGED_METADATA, Call, Step
from sessiond.transport.codec import as_array

__all__ = ["MAX_PIPELINE", "Dialect", "EchoedRpc", "MessagePackRpc", "UnreadableError"]

MAX_PIPELINE = 1024
"""Requests that may be under way on one connection."""


class UnreadableError(ValueError):
    """What arrived is no answer in this dialect, and neither can be anything after it."""


class Dialect(Protocol):
    """One connection's way to say things. A slot, from 0 to the pipeline - 1, has one request under way at a time."""

    def encode(self, slot: int, step: Step, call: Call) -> bytes:
        """The request of ``slot``: ``step`` of ``call``."""

    def decode(self, data: bytes) -> Iterable[tuple[int, str | None]]:
        """The whole answers in what arrived, each as its slot and its error code, None if it succeeded.

        What is not whole yet is kept for the next time. The answer to a CREATE gives the call its ``session_id``.

        Raises:
            UnreadableError: the bytes are no answers.
        """


_encode = msgspec.msgpack.Encoder().encode
_MSGIDS = tuple(_encode(slot) for slot in range(MAX_PIPELINE))
"""The msgid of a request is its slot: one is under way at a time."""


# Requests: templates for the operator %, with the msgid and what the call has of its own to be filled in


def _template(step: Step, params: bytes) -> bytes:
    """The frame of ``step``; ``params`` is a template."""
    return b"\x94\x00%b" + _literal(_encode(step.method)) + params


def _literal(encoded: bytes) -> bytes:
    return encoded.replace(b"%", b"%%")


def _of_session(step: Step, *params: object) -> bytes:
    """The frame of a step whose first parameter is the session's id."""
    header = bytes([0x91 + len(params)])
    return _template(step, header + b"%b" + b"".join(_literal(_encode(each)) for each in params))


def _creation() -> bytes:
    call = Call(0)
    params = _literal(_encode([call.fields()]))
    for text in (call.gateway, call.external_id, call.caller, call.callee, call.account):
        assert params.count(text) == 1
        params = params.replace(text, b"%b")
    return _template(Step.CREATE, params)


_CREATION = _creation()
_FRAMES = (
    b"",
    _of_session(Step.RINGING, "ringing"),
    _of_session(Step.ACTIVE, "active"),
    _of_session(Step.METADATA, CHANGED_METADATA),
    _of_session(Step.GET),
    _of_session(Step.END, "normal"),
    _of_session(Step.TOUCH),
)
"""By step."""


# Answers


class _Result(msgspec.Struct, gc=False):
    """Whatever a method answers, of which only a new session's id matters."""

    id: str | None = None


class _Details(msgspec.Struct, gc=False):
    code: str = "unknown"


class _Error(msgspec.Struct, array_like=True, gc=False):
    fault: int
    text: str
    details: _Details


class _Answer(msgspec.Struct, array_like=True, gc=False):
    kind: Literal[1]
    msgid: Annotated[int, Meta(ge=0)]
    error: _Error | None
    result: _Result | None


class _Echo(msgspec.Struct, array_like=True, gc=False):
    """A request that came back."""

    kind: Literal[0]
    msgid: int
    method: str
    params: msgspec.Raw


_Frame = TypeVar("_Frame")


class _Frames(Generic[_Frame]):
    """Decodes all whole frames of a read in one call, and keeps what is not whole yet.

    With a header before them the frames are an array. Their number is guessed by what each begins with; the decoder
    refuses a wrong guess, as it does when the last frame is not whole, and only then they are counted.
    """

    def __init__(self, decoder: msgspec.msgpack.Decoder[list[_Frame]], begin: bytes) -> None:
        self._decode = decoder.decode
        self._begin = begin
        self._rest = b""

    def feed(self, data: bytes) -> list[_Frame]:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        try:
            return self._decode(as_array(data, data.count(self._begin)))
        except ValueError:  # msgspec's errors are values', as that of a wrong UTF-8 is
            return self._feed_counted(data)

    def _feed_counted(self, data: bytes) -> list[_Frame]:
        try:
            count, end = _count(data)
            self._rest = data[end:]
            return self._decode(as_array(data[:end], count))
        except (ValueError, msgpack.UnpackException) as error:
            raise UnreadableError(f"it begins with {data[:16]!r}: {error}") from None


def _count(data: bytes) -> tuple[int, int]:
    """How many whole objects ``data`` begins with, and where the last one ends."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(data)
    count = end = 0
    while True:
        try:
            unpacker.skip()
        except msgpack.OutOfData:
            return count, end
        count += 1
        end = unpacker.tell()


_answers = msgspec.msgpack.Decoder(list[_Answer])
_echoes = msgspec.msgpack.Decoder(list[_Echo])


class _Requests:
    """What both dialects below send."""

    def __init__(self) -> None:
        self._creating: dict[int, Call] = {}
        """The calls whose creation is under way, by slot."""

    def encode(self, slot: int, step: Step, call: Call) -> bytes:
        """See ``Dialect``."""
        if step is not Step.CREATE:
            return _FRAMES[step] % (_MSGIDS[slot], call.session_id)
        self._creating[slot] = call
        return _CREATION % (_MSGIDS[slot], call.gateway, call.external_id, call.caller, call.callee, call.account)


class MessagePackRpc(_Requests):
    """The protocol of sessiond (docs/wire.md)."""

    def __init__(self) -> None:
        super().__init__()
        self._frames = _Frames(_answers, b"\x94\x01")

    def decode(self, data: bytes) -> Iterable[tuple[int, str | None]]:
        """See ``Dialect``."""
        for answer in self._frames.feed(data):
            slot, error = answer.msgid, answer.error
            if slot in self._creating:
                call = self._creating.pop(slot)
                if error is None:
                    call.session_id = _created(answer.result)
            yield slot, None if error is None else error.details.code


def _created(result: _Result | None) -> bytes:
    if result is None or result.id is None:
        raise UnreadableError("a session was created, and its id is missing")
    return _encode(result.id)


class EchoedRpc(_Requests):
    """The same requests, to a server that answers each with itself. For the generator's own ceiling."""

    _ID = _encode("01890a5d-ac96-774b-bcce-b302099a8057")

    def __init__(self) -> None:
        super().__init__()
        self._frames = _Frames(_echoes, b"\x94\x00")

    def decode(self, data: bytes) -> Iterable[tuple[int, str | None]]:
        """See ``Dialect``."""
        for echo in self._frames.feed(data):
            slot = echo.msgid
            if slot in self._creating:
                self._creating.pop(slot).session_id = self._ID
            yield slot, None
