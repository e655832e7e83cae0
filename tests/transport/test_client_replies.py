"""What the clients make of the bytes that a service sends."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.actors.errors import BY_CODE, Internal, InvalidRequest, SessiondError
from sessiond.transport.client_replies import MAX_REPLY, Reply, ReplyStream, error_from
from sessiond.transport.codec import NotAFrameError, decode, encode_error, encode_result

encode = msgspec.msgpack.encode


def read(stream: ReplyStream, *reads: bytes) -> list[tuple[int, object]]:
    replies: list[Reply] = [reply for data in reads for reply in stream.feed(data)]
    return [(reply.msgid, msgspec.msgpack.decode(reply.result)) for reply in replies]


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=50)), max_size=20), st.data())
def test_replies_come_out_however_the_stream_is_cut(replies, data):
    """Every reply comes out once, in order, wherever the reads begin and end."""
    sent = b"".join(encode_result(msgid, result) for msgid, result in replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=10)))
    reads = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert read(ReplyStream(print), *filter(None, reads)) == replies


def test_a_long_reply_may_come_in_many_reads():
    """A page of long sessions is far longer than one read."""
    long = encode_result(7, "x" * 300_000)
    reads = [long[begin : begin + 1000] for begin in range(0, len(long), 1000)]
    assert read(ReplyStream(print), *reads, encode_result(8, 1)) == [(7, "x" * 300_000), (8, 1)]


@pytest.mark.parametrize("message", [[0, 1, "method", []], [2, "event", [1, {"a": None}]]])
@pytest.mark.parametrize("header", [b"", b"\xdc\x00"], ids=["short", "long"])
def test_what_the_service_says_of_its_own_accord_is_told(message, header):
    """Requests and notifications, in their place among the replies, however they are encoded."""
    sent = encode(message)
    if header:
        sent = header + bytes([sent[0] & 0x0F]) + sent[1:]
    seen = []
    stream = ReplyStream(seen.append)
    assert read(stream, sent) == []
    seen.extend(reply.msgid for reply in stream.feed(sent + encode_result(1, "a") + sent))
    told = decode(encode(message))
    assert seen == [told, told, 1, told]


@pytest.mark.parametrize(
    "malformed",
    [
        b"\xc1",
        b"\x00",
        b"\x94\x01\x01\xa1\xff\xc0",
        b"\x91\xd4\x01\x00",
        encode("text"),
        encode([]),
        encode([1]),
        encode([1, -1, None, 0]),
        encode([3, 1, None, 0]),
    ],
)
def test_whatever_else_comes_is_an_error(malformed):
    """After bytes that are no reply nothing can be understood any more; what came before them counts."""
    stream = ReplyStream(print)
    replies = stream.feed(encode_result(1, "a") + malformed)
    assert next(replies).msgid == 1
    with pytest.raises(NotAFrameError):
        next(replies)
    with pytest.raises(NotAFrameError):
        list(ReplyStream(print).feed(malformed))


@given(st.lists(st.binary(max_size=40), max_size=4), st.lists(st.binary(max_size=3), max_size=3))
def test_arbitrary_bytes_are_replies_or_an_error(reads, mixed):
    """And nothing else, also with whole replies in between."""
    stream = ReplyStream(print)
    for data in (*reads, *(encode_result(1, "text")[:5] + each + encode_result(2, [1.5, {}]) for each in mixed)):
        try:
            for reply in stream.feed(data):
                assert 0 <= reply.msgid < 2**32
        except NotAFrameError:
            return


def test_a_deeply_nested_reply_is_an_error():
    """It must not overflow the stack either."""
    with pytest.raises(NotAFrameError):
        list(ReplyStream(print).feed(b"\x91" * 100_000 + b"\xc0"))


def test_an_endless_reply_is_an_error():
    """A reply that claims to go on for ever is not collected for ever."""
    stream = ReplyStream(print)
    for data in (b"\xc6\xff\xff\xff\xff", bytes(MAX_REPLY // 2), bytes(MAX_REPLY // 4)):
        assert list(stream.feed(data)) == []
    with pytest.raises(NotAFrameError):
        list(stream.feed(bytes(MAX_REPLY // 2)))


@pytest.mark.parametrize("kind", BY_CODE.values(), ids=lambda kind: kind.code)
def test_every_error_comes_back_as_its_class(kind):
    """Class, text and details survive the wire."""
    [reply] = ReplyStream(print).feed(encode_error(1, kind("What happened", field="state", ids=["a", "b"])))
    error = error_from(reply.error)
    assert type(error) is kind
    assert (error.text, str(error), error.details) == (
        "What happened", "What happened", {"field": "state", "ids": ["a", "b"]},
    )  # fmt: skip


@pytest.mark.parametrize(("fault", "kind"), [(1, InvalidRequest), (0, Internal)])
def test_an_unknown_code_becomes_the_nearest_known(fault, kind):
    """A later service may have codes that this client does not know; who is at fault it can still tell."""
    error = error_from([fault, "No more ports", {"code": "no_ports", "left": 0}])
    assert type(error) is kind
    assert error.details == {"code": "no_ports", "left": 0}


@pytest.mark.parametrize("value", ["text", 108, [], [1], [1, "text"], [1, "text", None], {"code": "internal"}])
def test_an_error_of_another_shape_is_internal(value):
    """A stranger's error is told as it is."""
    error = error_from(value)
    assert type(error) is Internal
    assert isinstance(error, SessiondError)
    assert repr(value) in error.text
