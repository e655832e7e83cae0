"""Requests are what the service takes, and answers are understood however they arrive."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.bench.dialect import MAX_PIPELINE, EchoedRpc, MessagePackRpc, UnreadableError
from sessiond.bench.workload import CALL, Call, Step

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NUMBERS = st.integers(0, 2**40)


def created(slot):
    return msgpack.packb([1, slot, None, {"id": ID, "version": 1, "state": "initializing", "created": True}])


def answered(slot, result=None):
    return msgpack.packb([1, slot, None, result or {"version": 2}])


def failed(slot, code):
    return msgpack.packb([1, slot, [1, "No", {"code": code, "id": "x"}], None])


def sent(step, call, slot=0):
    return msgpack.unpackb(MessagePackRpc().encode(slot, step, call))


@given(NUMBERS, st.sampled_from([0, 1, 127, 128, MAX_PIPELINE - 1]))
def test_a_creation_says_all_that_is_the_calls_own(number, slot):
    call = Call(number)
    assert sent(Step.CREATE, call, slot) == [0, slot, "create_session", [call.fields()]]


def test_ten_fields_and_four_keys_of_metadata_are_set():
    assert len(Call(7).fields()) == 10
    assert len(Call(7).fields()["metadata"]) == 4


@pytest.mark.parametrize(
    ("step", "method", "params"),
    [
        (Step.RINGING, "update_session_state", [ID, "ringing"]),
        (Step.ACTIVE, "update_session_state", [ID, "active"]),
        (Step.METADATA, "update_session_metadata", [ID, {"codec": "pcmu", "trunk": "trunk-eu-7"}]),
        (Step.GET, "get_session", [ID]),
        (Step.END, "end_session", [ID, "normal"]),
        (Step.TOUCH, "touch_session", [ID]),
    ],
)
def test_every_other_step_names_the_session(step, method, params):
    assert step.method == method
    assert sent(step, Call(1, msgpack.packb(ID)), slot=3) == [0, 3, method, params]


@given(st.sets(NUMBERS.filter(lambda number: number < 10**9), min_size=2))
def test_what_is_a_calls_own_is_no_other_calls(numbers):
    for name in ("external_id", "caller", "callee"):
        assert len({getattr(Call(number), name) for number in numbers}) == len(numbers)


def test_the_answer_to_a_creation_gives_the_call_its_id():
    dialect, call = MessagePackRpc(), Call(1)
    dialect.encode(5, Step.CREATE, call)
    assert list(dialect.decode(created(5))) == [(5, None)]
    assert msgpack.unpackb(call.session_id) == ID


def test_a_creation_that_failed_gives_none():
    dialect, call = MessagePackRpc(), Call(1)
    dialect.encode(0, Step.CREATE, call)
    assert list(dialect.decode(failed(0, "limit_exceeded"))) == [(0, "limit_exceeded")]
    assert call.session_id == b""


def test_an_error_without_a_code_is_an_error():
    (outcome,) = MessagePackRpc().decode(msgpack.packb([1, 4, [0, "No", {}], None]))
    assert outcome == (4, "unknown")


ANSWERS = [
    answered(0),
    answered(1, {"id": ID, "metadata": {"looks": "\u0001 like", "tag": "end"}, "version": 3}),
    failed(2, "not_found"),
    answered(300),
    answered(4, {"version": 0x9401}),  # within it, the bytes that an answer begins with
    answered(5, {"duration": 1.5}),
]
OUTCOMES = [(0, None), (1, None), (2, "not_found"), (300, None), (4, None), (5, None)]


@given(st.lists(st.integers(1, len(b"".join(ANSWERS)) - 1), max_size=5))
def test_answers_are_found_however_they_are_cut_into_reads(cuts):
    stream = b"".join(ANSWERS)
    ends = [*sorted(cuts), len(stream)]
    dialect = MessagePackRpc()
    found = []
    for begin, end in zip([0, *ends], ends, strict=False):
        found += dialect.decode(stream[begin:end])
    assert found == OUTCOMES


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", msgpack.packb([0, 1, "ping", []]), b"\xc1", msgpack.packb([1, 0, 3, {}])],
    ids=["http", "request", "no MessagePack", "no error"],
)
def test_what_is_no_answer_is_refused(data):
    with pytest.raises(UnreadableError, match="it begins with"):
        list(MessagePackRpc().decode(data))


def test_a_creation_without_an_id_is_refused():
    dialect = MessagePackRpc()
    dialect.encode(0, Step.CREATE, Call(1))
    with pytest.raises(UnreadableError, match="its id is missing"):
        list(dialect.decode(answered(0)))


def test_a_whole_call_goes_through_an_echo():
    dialect, call = EchoedRpc(), Call(1)
    for step in CALL:
        assert list(dialect.decode(dialect.encode(9, step, call))) == [(9, None)]
    assert call.session_id
