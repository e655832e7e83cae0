"""What is a frame and what is none: every limit at its boundary, and any bytes at all."""

from __future__ import annotations

import contextlib
import math
import tracemalloc

import msgpack
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packing import POISONS, Raw, packed
from plain_msgpack import Refused, Unfinished, parse

from sessiond.actors.errors import Internal, InvalidRequest, VersionConflict
from sessiond.transport.codec import (
    MAX_CALLS,
    MAX_FRAME,
    Call,
    NotAFrameError,
    Notification,
    Response,
    decode,
    decode_call,
    decode_calls,
    encode_call,
    encode_error,
    encode_result,
    inspect,
)

pack = msgpack.packb

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
    | st.sampled_from(sorted(POISONS.values())).map(Raw)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(LEAVES, inner),
    max_leaves=15,
)
MESSAGES = st.one_of(
    st.tuples(st.just(0), st.integers(-1, 2**32), st.text(max_size=10) | st.binary(max_size=4), VALUES),
    st.tuples(st.just(2), st.text(max_size=10) | st.binary(max_size=4), VALUES),
    st.tuples(st.sampled_from([0, 1, 2, 3, -1, True, 0.0, None]), VALUES, VALUES, VALUES),
    st.lists(st.integers(0, 2) | VALUES, max_size=5),
    VALUES,
)
"""Any message, most of them none of this protocol."""


def is_strictly_a_frame(data: bytes) -> bool:
    try:
        message, end = parse(data)
    except (Refused, Unfinished):
        return False
    if end != len(data) or type(message) is not list or not message or type(message[0]) is not int:
        return False
    match message:
        case [1, *_]:
            return True
        case [0, int() as msgid, method, list()]:
            return type(msgid) is int and 0 <= msgid < 2**32 and is_text(method)
        case [2, method, list()]:
            return is_text(method)
    return False


def is_text(value: object) -> bool:
    """A method's name may come as bytes, as pynvim sends it."""
    if type(value) is bytes:
        with contextlib.suppress(UnicodeDecodeError):
            value = value.decode()
    return type(value) is str


def is_taken_for_a_frame(data: bytes) -> bool:
    """As a server takes it that does not know the method: the parameters are looked at as well."""
    try:
        call = decode(data)
        return call is None or isinstance(call, Response) or isinstance(inspect(data)[-1], list)
    except NotAFrameError:
        return False


@given(st.binary())
@example(b"")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x94\x00\x01\xa1m\x90\x90")
def test_any_bytes_are_a_frame_or_a_typed_error(data):
    assert is_taken_for_a_frame(data) == is_strictly_a_frame(data)


@given(packed(MESSAGES))
def test_any_message_is_a_frame_or_a_typed_error(data):
    assert is_taken_for_a_frame(data) == is_strictly_a_frame(data)


@given(packed(MESSAGES), st.data())
def test_a_message_with_a_wrong_byte_is_a_frame_or_a_typed_error(data, places):
    broken = bytearray(data)
    for place in places.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=3)):
        broken[place] = places.draw(st.integers(0, 255))
    assert is_taken_for_a_frame(bytes(broken)) == is_strictly_a_frame(bytes(broken))


@given(packed(MESSAGES.filter(lambda message: isinstance(message, tuple) and len(message) > 2)), st.data())
def test_a_message_that_is_cut_off_is_no_frame(data, places):
    assert not is_taken_for_a_frame(data[: places.draw(st.integers(0, len(data) - 1))])


# Kinds of messages


@pytest.mark.parametrize("msgid", [0, 1, 2**31, 2**32 - 1])
def test_a_request(msgid):
    call = decode(pack([0, msgid, "touch_session", ["id"]]))
    assert isinstance(call, Call)
    assert (call.msgid, call.method, bytes(call.params)) == (msgid, "touch_session", pack(["id"]))


def test_a_method_may_come_as_bytes():
    """pynvim says so who it is."""
    call = decode(pack([0, 7, b"touch_session", ["id"]]))
    assert isinstance(call, Call)
    assert (call.msgid, call.method, bytes(call.params)) == (7, "touch_session", pack(["id"]))
    call = decode(pack([2, b"touch_session", ["id"]]))
    assert isinstance(call, Notification)
    assert (call.method, bytes(call.params)) == ("touch_session", pack(["id"]))


def test_a_notification():
    call = decode(pack([2, "touch_session", ["id"]]))
    assert isinstance(call, Notification)
    assert (call.msgid, call.method, bytes(call.params)) == (None, "touch_session", pack(["id"]))


@pytest.mark.parametrize(
    "message", [[1], [1, 2**40, {"a": [1]}, 5, 6, 7], [1, None, b"x"], [1, True, None, 1], [1, 1.0, None, 1]]
)
def test_a_response_that_can_be_to_nothing_is_ignored(message):
    assert decode(pack(message)) is None


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (None, "pong"),
        ([1, "No such call", {"code": "not_found"}], None),
        (None, {"a": [1, {"b": None}], "": 2**63}),
    ],
)
def test_a_response(error, result):
    assert decode(pack([1, 7, error, result])) == Response(7, error, result)


def test_a_response_may_have_text_as_bytes_and_keys_of_all_kinds():
    """Nobody's code depends on what a gateway answers beside that it did what it was told."""
    message = [1, 7, b"not_found", {b"sip": b"200 \xff", 5: 1, None: 2}]
    assert decode(pack(message)) == Response(7, "not_found", {"sip": "200 \ufffd"})


@pytest.mark.parametrize("value", [[[[[[[[[]]]]]]]], [None] * 257, {str(n): n for n in range(65)}])
def test_a_response_obeys_the_limits_of_every_frame(value):
    with pytest.raises(NotAFrameError):
        decode(pack([1, 7, None, value]))


@pytest.mark.parametrize(
    "message",
    [
        [], None, 0, "ping", {}, {"kind": 0}, [[0, 1, "ping", []]],
        [3, 1, "ping", []], [-1, 1, "ping", []], [True, 1, "ping", []], [False, 1, "ping", []],
        [0.0, 1, "ping", []], [None, 1, "ping", []], ["0", 1, "ping", []], [2**63, 1, "ping", []],
        [0, 2**32, "ping", []], [0, -1, "ping", []], [0, True, "ping", []], [0, 1.0, "ping", []],
        [0, None, "ping", []], [0, "1", "ping", []],
        [0, 1, b"\xff", []], [2, b"\xc0\x80", []], [0, 1, None, []], [0, 1, 7, []], [0, 1, ["ping"], []],
        [0, 1, "ping"], [0, 1], [0], [0, 1, "ping", [], None], [0, "ping", []],
        [2, 1, "ping", []], [2, "ping"], [2, "ping", [], []], [2.0, "ping", []],
    ],
    ids=repr,
)  # fmt: skip
def test_nothing_else_is_a_message(message):
    with pytest.raises(NotAFrameError):
        decode(pack(message))


@pytest.mark.parametrize("params", [None, {}, "x", 0, b"", True])
def test_parameters_that_are_no_array_are_seen_by_inspection(params):
    assert not is_taken_for_a_frame(pack([0, 1, "ping", params]))
    assert not is_taken_for_a_frame(pack([2, "ping", params]))


# Limits

PLACES = {
    "request": lambda item: b"\x94\x00\x01\xa1m\x91" + item,
    "notification": lambda item: b"\x93\x02\xa1m\x91" + item,
    "response": lambda item: b"\x94\x01\x01\xc0" + item,
    "map in a request": lambda item: b"\x94\x00\x01\xa1m\x91\x81\xa1k" + item,
    "key in a request": lambda item: b"\x94\x00\x01\xa1m\x91\x81" + item + b"\xc0",
}
"""Frames with something at one place in them, two or three deep."""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("poison", POISONS)
def test_what_may_be_nowhere_is_refused_everywhere(place, poison):
    assert not is_taken_for_a_frame(PLACES[place](POISONS[poison]))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("item", [None, False, 1.5, "x", b"x", [1], {"a": 1}, -(2**63), 2**64 - 1, math.nan], ids=repr)
def test_whatever_else_is_let_through(place, item):
    """It may still be wrong; saying so is the methods' business."""
    assert is_taken_for_a_frame(PLACES[place](pack(item)))


def nested(depth: int, *, map_at: int = 0) -> bytes:
    """A value as deep as that."""
    return b"".join(b"\x81\xa1k" if level == map_at else b"\x91" for level in range(1, depth)) + b"\x90"


@pytest.mark.parametrize("map_at", [0, 2, 5])
def test_depth_may_be_8(map_at):
    """The message is the first level and its parameters the second."""
    for depth, expected in ((7, True), (8, False)):
        assert is_taken_for_a_frame(b"\x94\x00\x01\xa1m" + nested(depth, map_at=map_at)) is expected
        assert is_taken_for_a_frame(b"\x93\x02\xa1m" + nested(depth, map_at=map_at)) is expected


@pytest.mark.parametrize("depth", [100, 1024, 1025, 100_000])
def test_no_depth_is_too_deep_to_be_refused(depth):
    assert not is_taken_for_a_frame(b"\x94\x00\x01\xa1m" + nested(depth))


def test_an_array_may_have_256_elements():
    assert is_taken_for_a_frame(pack([0, 1, "m", [None] * 256]))
    assert not is_taken_for_a_frame(pack([0, 1, "m", [None] * 257]))
    assert not is_taken_for_a_frame(pack([1, *[None] * 256]))


def test_a_map_may_have_64_keys():
    assert is_taken_for_a_frame(pack([0, 1, "m", [dict.fromkeys(range(64))]]))
    assert not is_taken_for_a_frame(pack([0, 1, "m", [dict.fromkeys(range(65))]]))


def test_keys_may_be_of_any_type_and_come_twice():
    """That makes a frame; the method says what is wrong with it."""
    for key in (1, None, 1.5, b"k", True, [1], {"a": 1}):
        assert is_taken_for_a_frame(b"\x94\x00\x01\xa1m\x91\x82" + (pack(key) + b"\xc0") * 2)


def test_a_string_may_fill_the_frame():
    """How long a field may be is said by its name, not by closing the connection."""
    assert is_taken_for_a_frame(pack([0, 1, "m", ["x" * (MAX_FRAME - 20)]]))
    assert is_taken_for_a_frame(pack([0, 1, "m", [b"x" * (MAX_FRAME - 20)]]))


@pytest.mark.parametrize("count", [b"\x00\x00\x01\x01", b"\x00\x10\x00\x00", b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("first", [b"\xdd", b"\xdf"])
def test_a_claim_costs_no_memory(first, count):
    """Nested headers that claim thousands of elements each are refused before anything is set aside for them."""
    frame = b"\x94\x00\x01\xa1m" + (first + count) * 500
    tracemalloc.start()
    try:
        assert not is_taken_for_a_frame(frame)
        assert tracemalloc.get_traced_memory()[1] < 600_000  # a buffer for one frame, and as much again
    finally:
        tracemalloc.stop()


# Answers


def test_a_result_is_a_response():
    assert msgpack.unpackb(encode_result(2**32 - 1, {"version": 1})) == [1, 2**32 - 1, None, {"version": 1}]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidRequest("limit: too big", field="limit"),
         [1, "limit: too big", {"code": "invalid_request", "field": "limit"}]),
        (VersionConflict("no", version=3, state="held"),
         [1, "no", {"code": "version_conflict", "version": 3, "state": "held"}]),
        (Internal("It crashed"), [0, "It crashed", {"code": "internal"}]),
    ],
)  # fmt: skip
def test_an_error_says_whose_fault_it_is(error, expected):
    assert msgpack.unpackb(encode_error(5, error)) == [1, 5, expected, None]


# Many requests at once


REQUESTS = st.tuples(st.just(0), st.integers(0, 2**32 - 1), st.text(max_size=10), st.lists(VALUES, max_size=4))


def parsed(call: Call) -> tuple[int, str, bytes]:
    return call.msgid, call.method, bytes(call.params)


@given(st.lists(packed(REQUESTS), min_size=1, max_size=20))
@example([pack([0, 1, "ping", []])] * MAX_CALLS)
def test_what_is_decoded_at_once_is_what_is_decoded_one_by_one(frames):
    try:
        calls = decode_calls(b"".join(frames))
    except ValueError:
        return  # the guess was wrong, or something in one of them: the framer sees to it, frame by frame
    assert list(map(parsed, calls)) == [parsed(decode_call(frame)) for frame in frames]


@pytest.mark.parametrize("count", [1, 2, 15, 16, MAX_CALLS])
def test_whole_requests_are_decoded_at_once(count):
    calls = decode_calls(b"".join(pack([0, number, "ping", [number]]) for number in range(count)))
    assert [call.msgid for call in calls] == [*range(count)]


@pytest.mark.parametrize(
    "data",
    [
        pack([0, 1, "ping", []]) * (MAX_CALLS + 1),
        pack([0, 1, "ping", []]) + pack([0, 2, "ping", []])[:-1],
        pack([0, 1, "ping", []]) + pack([2, "ping", []]),
        pack([0, 1, "ping", ["\x00"]]) + pack([0, 1, "ping", [b"\x94\x00"]]),
    ],
    ids=["too many", "the last unfinished", "a notification", "a wrong guess"],
)
def test_anything_but_whole_requests_is_refused_at_once(data):
    with pytest.raises(msgspec.DecodeError):
        decode_calls(data)


@given(packed(REQUESTS))
def test_a_decoded_request_can_be_had_as_a_frame_again(frame):
    try:
        call = decode_call(frame)
    except ValueError:
        return
    assert parsed(decode_call(encode_call(call))) == parsed(call)
