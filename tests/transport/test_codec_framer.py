"""Frames out of a stream: the same ones wherever it is split, at a cost that does not depend on the split."""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_msgpack import Refused, Unfinished, end_of

from sessiond.transport import codec
from sessiond.transport.codec import MAX_FRAME, Framer, NotAFrameError

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
FRAMES = st.lists(ANYTHING.map(msgpack.packb), max_size=20)
BYTES = st.binary() | st.lists(ANYTHING.map(msgpack.packb) | st.binary(max_size=4), max_size=10).map(b"".join)
PING = msgpack.packb([0, 1, "ping", []])


@st.composite
def split(draw, streams):
    """A stream as the pieces in which it arrives."""
    stream = draw(streams)
    places = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=10)))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


def cut_all(framer: Framer, most: int) -> tuple[list[bytes], bool]:
    """All frames that wait, and whether what comes after them is none."""
    frames = []
    try:
        while some := framer.cut(most):
            assert len(some) <= most
            frames += some
    except NotAFrameError:
        return frames, True
    return frames, False


def run(pieces: list[bytes], most: int = 3) -> tuple[list[bytes], bool]:
    """What comes out of a stream, cutting after each piece."""
    framer = Framer()
    frames = []
    for piece in pieces:
        framer.feed(piece)
        some, is_faulty = cut_all(framer, most)
        frames += some
        assert type(framer.is_faulty) is bool
        if is_faulty:
            assert framer.is_faulty
            return frames, True
    assert framer.frames == len(frames)
    assert framer.waiting == sum(map(len, pieces)) - sum(map(len, frames))
    return frames, False


def plain(stream: bytes, most: int) -> tuple[list[bytes], bool]:
    """As ``run``, by the plain reader; frames may have ``most`` bytes."""
    frames, start = [], 0
    while start < len(stream):
        try:
            end = end_of(stream, start)
        except Refused:
            return frames, True
        except Unfinished:
            return frames, len(stream) - start > most
        if end - start > most:
            return frames, True
        frames.append(stream[start:end])
        start = end
    return frames, False


@given(split(FRAMES.map(b"".join)), st.integers(1, 5))
def test_the_split_makes_no_difference(pieces, most):
    stream = b"".join(pieces)
    frames, is_faulty = run(pieces, most)
    assert (frames, is_faulty) == run([stream])
    assert b"".join(frames) == stream
    assert not is_faulty
    assert all(type(frame) is bytes for frame in frames)


@given(split(BYTES))
def test_of_any_bytes_the_frames_come_out_that_are_there(pieces):
    """What a plain reader finds, up to what can become no frame or is too long for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "MAX_FRAME", 40)
        assert run(pieces) == run([b"".join(pieces)]) == plain(b"".join(pieces), 40)


@given(split(BYTES), st.data())
def test_frames_can_be_left_waiting(pieces, data):
    """Whoever cuts only now and then, and a few at a time, gets the same frames."""
    framer = Framer()
    frames, is_faulty = [], False
    for piece in pieces:
        framer.feed(piece)
        for most in data.draw(st.lists(st.integers(1, 3), max_size=2)):
            try:
                frames += framer.cut(most)
            except NotAFrameError:
                break
    rest, is_faulty = cut_all(framer, 100)
    assert (frames + rest, is_faulty) == run([b"".join(pieces)])


def frame_of(size: int) -> bytes:
    """A frame of so many bytes, over 64 KiB."""
    head = b"\x94\x00\x01\xa4ping\x91\xdb"
    return head + (size - len(head) - 4).to_bytes(4) + b"x" * (size - len(head) - 4)


@pytest.mark.parametrize("piece", [MAX_FRAME + 1, 100_000, 4096])
def test_a_frame_may_have_256_kib_and_not_a_byte_more(piece):
    for excess in (0, 1):
        frame = frame_of(MAX_FRAME + excess)
        assert len(frame) == 262_144 + excess
        pieces = [frame[at : at + piece] for at in range(0, len(frame), piece)]
        assert run([PING, *pieces, PING]) == (([PING], True) if excess else ([PING, frame, PING], False))


def test_an_unfinished_frame_is_refused_when_it_is_too_long():
    """Whatever it claims to become, no more than a frame of it is kept."""
    framer = Framer()
    framer.feed(b"\xdd\xff\xff\xff\xff" + b"\xc0" * (MAX_FRAME - 5))
    assert framer.cut(1) == []
    framer.feed(b"\xc0")
    with pytest.raises(NotAFrameError, match="over 262144 bytes"):
        framer.cut(1)


def test_frames_before_a_fault_come_out_first():
    framer = Framer()
    framer.feed(PING * 5 + b"\xc1" + PING)
    assert framer.cut(2) == [PING] * 2
    assert framer.cut(100) == [PING] * 3
    assert framer.is_faulty
    for _ in range(2):
        with pytest.raises(NotAFrameError):
            framer.cut(100)


def test_a_stream_longer_than_any_buffer_is_cut():
    """A read may bring many frames, and many reads may wait before anybody cuts."""
    framer = Framer()
    for _ in range(8):
        framer.feed(PING * 100_000)
    assert len(framer.cut(10_000_000)) == 800_000


@pytest.mark.parametrize("size", [1, 7, 1000, 65_536])
def test_what_a_frame_costs_does_not_depend_on_its_pieces(size, monkeypatch):
    """Each byte is read once and copied a few times, however many pieces a frame of 256 KiB comes in."""
    fed = skipped = 0

    class Counting(msgpack.Unpacker):
        def feed(self, data):
            nonlocal fed
            fed += len(data)
            super().feed(data)

        def skip(self):
            nonlocal skipped
            skipped += 1
            super().skip()

    monkeypatch.setattr(codec.msgpack, "Unpacker", Counting)
    frame = frame_of(MAX_FRAME)
    framer = Framer()
    copied = 0
    buffer = framer._buffer
    frames = []
    for at in range(0, len(frame), size):
        framer.feed(frame[at : at + size])
        frames += framer.cut(10)
        if framer._buffer is not buffer:
            buffer = framer._buffer
            copied += len(buffer)
    assert frames == [frame]
    assert fed == len(frame)
    assert skipped <= -(-len(frame) // size)
    assert copied <= 4 * len(frame)


def test_an_idle_framer_holds_no_memory():
    """Thousands of connections that each had one busy moment must not hold a busy moment's memory each."""
    framer = Framer()
    framer.feed(PING)
    framer.cut(1)
    tracemalloc.start()
    try:
        for piece in (PING * 20_000, frame_of(MAX_FRAME)[:200_000], frame_of(MAX_FRAME)[200_000:]):
            framer.feed(piece)
            cut_all(framer, 256)
        del piece
        assert framer.waiting == 0
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "header", [b"\xdd\xff\xff\xff\xff", b"\xdd\x00\x10\x00\x00", b"\xdf\xff\xff\xff\xff", b"\xdc\xff\xff", b"\x91"]
)
def test_a_claim_costs_no_memory(header):
    """Headers of enormous arrays, nested: what they claim is not set aside, and soon they are too deep."""
    framer = Framer()
    tracemalloc.start()
    try:
        framer.feed(header * 1000)
        assert framer.cut(1) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
        framer.feed(header * 1000)
        with pytest.raises(NotAFrameError):
            framer.cut(1)
    finally:
        tracemalloc.stop()
