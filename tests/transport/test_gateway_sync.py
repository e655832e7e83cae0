"""What is done so that a gateway and the service agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond import Session
from sessiond.transport.codec import MAX_ARRAY
from sessiond.transport.gateway_sync import calls_of, correction, gone, parts, still_there

OVER = {"id": "s1", "state": "active", "external_id": "over", "epoch": "e1", "version": 1}


def call(name, state="active"):
    return {"type": "sip", "external_id": name, "state": state}


def calls(*names, state="active"):
    return calls_of([call(name, state) for name in names])


def test_a_call_without_an_id_of_the_gateways_cannot_be_compared():
    assert calls_of([call("a"), {"type": "sip"}, call(None)]) == {"a": call("a")}


@given(st.integers(0, 3 * MAX_ARRAY + 1))
def test_every_call_is_named_once_and_no_request_too_many(count):
    """One request is sent also if there is nothing to name."""
    names = [str(number) for number in range(count)]
    named = list(parts(calls(*names)))
    assert [name for part in named for name in part] == names
    assert all(len(part) <= MAX_ARRAY for part in named)
    assert len(named) == max(1, -(-count // MAX_ARRAY))


def test_what_is_over_by_now_is_not_created_again():
    assert still_there(["a", "b"], calls("b", "c")) == [call("b")]


@pytest.mark.parametrize(
    ("now", "method", "params"),
    [
        (calls("a"), None, None),
        (calls("b"), "end_session", ["s1", None]),
        (calls("a", state="held"), "update_session_state", ["s1", "held"]),
        ({"a": {"type": "sip", "external_id": "a"}}, None, None),
    ],
    ids=["as it was", "over", "another state", "no state"],
)
def test_what_happened_to_a_call_while_it_was_created_again_is_told(now, method, params):
    request = correction("s1", call("a"), now)
    assert (request and request.method, request and request.params) == (method, params)


@pytest.mark.parametrize(
    ("changes", "is_gone"),
    [
        ({}, True),
        ({"external_id": "up"}, False),
        ({"external_id": None}, False),
        ({"epoch": "e0"}, False),
        ({"epoch": None}, False),
        ({"state": "ended"}, False),
    ],
    ids=["over", "up", "nameless", "another run's", "nobody's", "ended"],
)
def test_only_what_is_ours_and_surely_over_is_gone(changes, is_gone):
    session = Session(**dict.fromkeys(Session.__struct_fields__) | OVER | changes)
    assert gone([session], calls("up"), "e1") == ([session] if is_gone else [])
