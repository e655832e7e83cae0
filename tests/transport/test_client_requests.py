"""What the clients send for each method, and what they make of the answers."""

from __future__ import annotations

import datetime as dt
import types

import msgspec
import pytest

from sessiond.actors import arguments, params
from sessiond.actors.errors import Internal, InvalidRequest, NotFound
from sessiond.actors.results import Created, Updated
from sessiond.transport import client_requests as requests
from sessiond.transport.client_replies import ReplyStream
from sessiond.transport.codec import MAX_FRAME, encode_error, encode_result, inspect

ADDRESS = {"gateway": "gw", "external_id": "call-1"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (requests.create_session({"type": "sip", "request_id": "r"}),
         ["create_session", [{"type": "sip", "request_id": "r"}]]),
        (requests.get_session("a"), ["get_session", ["a"]]),
        (requests.get_session(ADDRESS), ["get_session", [ADDRESS]]),
        (requests.update_session("a", {"caller": None}, None), ["update_session", ["a", {"caller": None}]]),
        (requests.update_session("a", {}, 3), ["update_session", ["a", {}, {"if_version": 3}]]),
        (requests.update_session_state("a", "held", None, None), ["update_session_state", ["a", "held"]]),
        (requests.update_session_state("a", "held", 2, 0.0),
         ["update_session_state", ["a", "held", {"if_version": 2, "at": 0.0}]]),
        (requests.update_session_metadata("a", {"k": None, "l": 1.5}, None),
         ["update_session_metadata", ["a", {"k": None, "l": 1.5}]]),
        (requests.update_session_metadata("a", types.MappingProxyType({"k": True}), 1),
         ["update_session_metadata", ["a", {"k": True}, {"if_version": 1}]]),
        (requests.touch_session("a"), ["touch_session", ["a"]]),
        (requests.end_session("a", None, {}), ["end_session", ["a", None]]),
        (requests.end_session("a", "busy", {"sip_code": 486}), ["end_session", ["a", "busy", {"sip_code": 486}]]),
        (requests.list_sessions(None, {"caller": None}), ["list_sessions", [{"caller": None}]]),
        (requests.list_sessions(("id",), {}), ["list_sessions", [{"fields": ["id"]}]]),
        (requests.count_sessions({"by": "state"}), ["count_sessions", [{"by": "state"}]]),
        (requests.explain_limit("x", {}), ["explain_limit", ["x"]]),
        (requests.explain_limit("x", {"value": False}), ["explain_limit", ["x", {"value": False}]]),
        (requests.list_records(None, {"caller": None}), ["list_records", [{"caller": None}]]),
        (requests.list_records(("id",), {}), ["list_records", [{"fields": ["id"]}]]),
        (requests.get_record(ADDRESS), ["get_record", [ADDRESS]]),
        (requests.ping(), ["ping", []]),
        (requests.server_info(), ["server_info", []]),
        (requests.call("anything", (1, [True, None])), ["anything", [1, [True, None]]]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_requests_are_what_the_wire_wants(request_, message):
    """Required arguments by position, optional ones in a trailing map, and what is not given not at all."""
    assert msgspec.msgpack.decode(request_.encode(77)) == [0, 77, *message]


@pytest.mark.parametrize("fields", [{"type": "sip"}, {"type": "sip", "request_id": None}])
def test_a_create_gets_an_id_of_its_own(fields):
    """Two requests are two calls; one that is sent twice is one."""
    one, other = requests.create_session(fields), requests.call("create_session", [fields])
    assert len({one.params[0]["request_id"], other.params[0]["request_id"]}) == 2
    assert msgspec.msgpack.decode(one.encode(1)) == msgspec.msgpack.decode(one.encode(1))
    assert fields.get("request_id") is None


@pytest.mark.parametrize("params_", [(), ("text",), (None,), ({"type": "sip"}, 2)])
def test_a_malformed_create_is_the_services_business(params_):
    """The generic call does not judge."""
    assert len(requests.call("create_session", params_).params) == len(params_)


NESTED: object = 1
for _ in range(7):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (object(), "value"),
        (dt.datetime.now(dt.UTC), "value"),
        (b"bytes", "value"),
        ({"inner": object()}, "inner"),
        ({("a", "b"): 1}, "value"),
        ({str(key): 1 for key in range(65)}, "value"),
        ([1] * 257, "value"),
        (NESTED, "value"),
        (2**64, "params"),
        ("\ud800", "params"),
        ("x" * MAX_FRAME, "params"),
    ],
    ids=["object", "time", "bytes", "inside", "key", "map", "list", "depth", "integer", "surrogate", "length"],
)
def test_what_would_close_the_connection_is_not_sent(value, field):
    """Other requests are under way on it, and a repeat would close the next one as well."""
    with pytest.raises(InvalidRequest) as caught:
        requests.call("method", [{"value": value}]).encode(1)
    assert caught.value.details["field"] == field


@pytest.mark.parametrize("value", [{str(key): 1 for key in range(64)}, [1] * 256, NESTED[0]])
def test_what_is_just_within_the_limits_is_sent(value):
    """The server's own reader takes it."""
    assert inspect(requests.call("method", [value]).encode(1))


def read(request_, answer):
    [reply] = ReplyStream(print).feed(answer)
    return request_.read(reply)


def test_results_have_their_types():
    """Keys that a later service adds are passed over."""
    answer = {"id": "a", "version": 1, "state": "ringing", "created": True, "new": 1}
    created = read(requests.create_session({"type": "sip"}), encode_result(1, answer))
    assert created == Created("a", 1, "ringing", True)
    assert read(requests.touch_session("a"), encode_result(1, {"version": 4})) == Updated(4)
    assert read(requests.call("touch_session", ["a"]), encode_result(1, {"version": 4})) == {"version": 4}


def test_errors_are_raised():
    """As the class that has their code."""
    with pytest.raises(NotFound) as caught:
        read(requests.touch_session("a"), encode_error(1, NotFound("No such session", id="a")))
    assert caught.value.details == {"id": "a"}


@pytest.mark.parametrize("result", [None, [], {"version": "one"}, {}, msgspec.Raw(b"\x81\xa1\xff\x01")])
def test_an_answer_that_does_not_fit_is_internal(result):
    """It fails its request and no other."""
    with pytest.raises(Internal, match="touch_session"):
        read(requests.touch_session("a"), encode_result(1, result))


@pytest.mark.parametrize(
    ("keywords", "struct", "without"),
    [
        (arguments.CreateArguments, params.NewSession, set()),
        (arguments.UpdateArguments, params.Changes, set()),
        (arguments.EndArguments, params.EndOptions, set()),
        (arguments.ListArguments, params.ListQuery, {"fields"}),
        (arguments.CountArguments, params.CountQuery, set()),
        (arguments.ExplainArguments, params.ExplainOptions, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_keywords_are_what_the_service_takes(keywords, struct, without):
    """What type checkers see and what the service decodes are the same names."""
    assert set(keywords.__annotations__) == set(struct.__struct_fields__) - without
