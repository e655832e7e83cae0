"""What is wrong with a request: its code, whose fault it is, the field, and which of several wrongs is told."""

from __future__ import annotations

import math

import pytest

LONG = "x" * 4097
WIDE = "é" * 2049
"""Not as many characters as a string may have bytes, but more bytes."""
BIG = {str(number): "x" * 4000 for number in range(5)}
MANY = dict.fromkeys(map(str, range(64)), 0) | {"64": 0}

LIVE, GONE = object(), object()
"""In the place of the id of a live session, and of one that has ended."""


@pytest.fixture
def ids(wire):
    """The id of a live session at version 1, active since its creation, and that of an ended one at version 2."""
    live = wire.call("create_session", {"type": "sip", "state": "active"})["id"]
    gone = wire.call("create_session", {"type": "sip"})["id"]
    wire.call("end_session", gone, "busy")
    return {LIVE: live, GONE: gone}


@pytest.fixture
def refusal(wire, ids):
    """What a request is refused with; the connection and the sessions live on as they were."""

    def ask(method, *params):
        before = [wire.call("get_session", each) for each in ids.values()]
        error, result = wire.ask(method, *(ids.get(each, each) if type(each) is object else each for each in params))
        assert result is None
        assert [wire.call("get_session", each) for each in ids.values()] == before
        return error

    return ask


# Bad input

WRONG_TARGETS = [
    ((), "id"),
    ((None,), "id"),
    ((7,), "id"),
    ((["x"],), "id"),
    ((b"x",), "id"),
    ((LONG,), "id"),
    ((WIDE * 2,), "id"),
    (({},), "external_id"),
    (({"gateway": "g"},), "external_id"),
    (({"external_id": None},), "external_id"),
    (({"external_id": ""},), "external_id"),
    (({"external_id": 5},), "external_id"),
    (({"external_id": LONG},), "external_id"),
    (({"external_id": "x", "gateway": 5},), "gateway"),
    (({"external_id": "x", "gateway": LONG},), "gateway"),
    (({"external_id": "x", "id": "x"},), "id"),
]
"""For each method that takes an id; with whatever follows it."""

FOLLOWING = {
    "get_session": (),
    "touch_session": (),
    "end_session": (),
    "update_session": ({},),
    "update_session_state": ("held",),
    "update_session_metadata": ({},),
}

BAD = {
    "create_session": [
        ((), "fields"),
        ((None,), "fields"),
        (("sip",), "fields"),
        (({},), "type"),
        (({"type": None},), "type"),
        (({"type": 1},), "type"),
        (({"type": ""},), "type"),
        (({"type": "x" * 65},), "type"),
        (({"type": b"sip"},), "type"),
        (({"type": "sip", "state": "ended"},), "state"),
        (({"type": "sip", "state": "gone"},), "state"),
        (({"type": "sip", "state": None},), "state"),
        (({"type": "sip", "gateway": ""},), "gateway"),
        (({"type": "sip", "gateway": LONG},), "gateway"),
        (({"type": "sip", "external_id": WIDE},), "external_id"),
        (({"type": "sip", "request_id": 1},), "request_id"),
        (({"type": "sip", "caller": LONG},), "caller"),
        (({"type": "sip", "callee": ["x"]},), "callee"),
        (({"type": "sip", "direction": "up"},), "direction"),
        (({"type": "sip", "metadata": [1]},), "metadata"),
        (({"type": "sip", "metadata": {1: 1}},), "metadata"),
        (({"type": "sip", "metadata": {"a": None}},), "metadata"),
        (({"type": "sip", "metadata": {"a": {}}},), "metadata"),
        (({"type": "sip", "metadata": {"a": b"x"}},), "metadata"),
        (({"type": "sip", "metadata": {"a": math.nan}},), "metadata"),
        (({"type": "sip", "metadata": {"a": -math.inf}},), "metadata"),
        (({"type": "sip", "metadata": {"a": 2**63}},), "metadata"),
        (({"type": "sip", "metadata": {"a": LONG}},), "metadata"),
        (({"type": "sip", "metadata": {"a": WIDE}},), "metadata"),
        (({"type": "sip", "metadata": {LONG: 1}},), "metadata"),
        (({"type": "sip", "metadata": BIG},), "metadata"),
        (({"type": "sip", "setup_timeout": -1},), "setup_timeout"),
        (({"type": "sip", "idle_timeout": -0.5},), "idle_timeout"),
        (({"type": "sip", "max_duration": math.nan},), "max_duration"),
        (({"type": "sip", "max_duration": math.inf},), "max_duration"),
        (({"type": "sip", "max_duration": "60"},), "max_duration"),
        (({"type": "sip", "idle_timeout": True},), "idle_timeout"),
        (({"type": "sip", "at": -1},), "at"),
        (({"type": "sip", "at": math.nan},), "at"),
        (({"type": "sip", "at": 1.7e12},), "at"),
        (({"type": "sip", "answered_at": "now"},), "answered_at"),
        (({"type": "sip", "answered_at": 1.0},), "answered_at"),
        (({"type": "sip", "colour": "red"},), "colour"),
        (({"type": "sip"}, {}), "params"),
    ],
    "get_session": [((LIVE, None), "params")],
    "touch_session": [((LIVE, {}), "params")],
    "update_session": [
        ((LIVE,), "changes"),
        ((LIVE, None), "changes"),
        ((LIVE, "x"), "changes"),
        ((LIVE, {"state": "held"}), "state"),
        ((LIVE, {"caller": 5}), "caller"),
        ((LIVE, {"callee": LONG}), "callee"),
        ((LIVE, {"external_id": ""}), "external_id"),
        ((LIVE, {"idle_timeout": -1}), "idle_timeout"),
        ((LIVE, {"setup_timeout": math.nan}), "setup_timeout"),
        ((LIVE, {"max_duration": 2e9}), "max_duration"),
        ((LIVE, {}, 1), "options"),
        ((LIVE, {}, {"if_version": "1"}), "if_version"),
        ((LIVE, {}, {"if_version": 0}), "if_version"),
        ((LIVE, {}, {"if_version": 1.0}), "if_version"),
        ((LIVE, {}, {"if_version": True}), "if_version"),
        ((LIVE, {}, {"at": 1}), "at"),
        ((LIVE, {}, {}, {}), "params"),
    ],
    "update_session_state": [
        ((LIVE,), "state"),
        ((LIVE, None), "state"),
        ((LIVE, 3), "state"),
        ((LIVE, "gone"), "state"),
        ((LIVE, ["held"]), "state"),
        ((LIVE, "held", {"at": -1}), "at"),
        ((LIVE, "held", {"at": math.inf}), "at"),
        ((LIVE, "held", {"if_version": -1}), "if_version"),
        ((LIVE, "held", {"reason": "x"}), "reason"),
        ((LIVE, "held", {}, None), "params"),
    ],
    "update_session_metadata": [
        ((LIVE,), "metadata"),
        ((LIVE, None), "metadata"),
        ((LIVE, [["a", 1]]), "metadata"),
        ((LIVE, {"a": [1]}), "metadata"),
        ((LIVE, {"a": math.nan}), "metadata"),
        ((LIVE, {"a": LONG}), "metadata"),
        ((LIVE, {None: 1}), "metadata"),
        ((LIVE, BIG), "metadata"),
        ((LIVE, {}, {"if_version": 2**63}), "if_version"),
        ((LIVE, {}, {"force": True}), "force"),
        ((LIVE, {}, {}, 0), "params"),
    ],
    "end_session": [
        ((LIVE, 5), "reason"),
        ((LIVE, ""), "reason"),
        ((LIVE, "x" * 65), "reason"),
        *(((LIVE, reason), "reason") for reason in ("idle_timeout", "setup_timeout", "max_duration")),
        *(((LIVE, reason), "reason") for reason in ("gateway_lost", "crashed", "admin")),
        ((LIVE, None, "x"), "options"),
        ((LIVE, None, {"ended_by": "nobody"}), "ended_by"),
        ((LIVE, None, {"sip_code": 99}), "sip_code"),
        ((LIVE, None, {"sip_code": 700}), "sip_code"),
        ((LIVE, None, {"sip_code": 486.0}), "sip_code"),
        ((LIVE, None, {"q850_cause": -1}), "q850_cause"),
        ((LIVE, None, {"q850_cause": 128}), "q850_cause"),
        ((LIVE, None, {"at": math.nan}), "at"),
        ((LIVE, None, {"answered_at": True}), "answered_at"),
        ((LIVE, None, {"if_version": []}), "if_version"),
        ((LIVE, None, {"reason": "x"}), "reason"),
        ((LIVE, None, {}, 0), "params"),
    ],
    "list_sessions": [
        (("x",), "query"),
        (({"limit": 0},), "limit"),
        (({"limit": 501},), "limit"),
        (({"limit": None},), "limit"),
        (({"order": "up"},), "order"),
        (({"cursor": "x"},), "cursor"),
        (({"cursor": 5},), "cursor"),
        (({"cursor": LONG},), "cursor"),
        (({"fields": []},), "fields"),
        (({"fields": ["password"]},), "fields"),
        (({"state": "ended"},), "state"),
        (({"state": ["held", "ended"], "ended": False},), "state"),
        (({"state": []},), "state"),
        (({"state": ["gone"]},), "state"),
        (({"state": None},), "state"),
        (({"ended": "all"},), "ended"),
        (({"ended": 1},), "ended"),
        (({"direction": "up"},), "direction"),
        (({"metadata": "x"},), "metadata"),
        (({"metadata": {"a": []}},), "metadata"),
        (({"metadata": {"a": math.nan}},), "metadata"),
        (({"created_after": -1},), "created_after"),
        (({"created_before": math.nan},), "created_before"),
        (({"gateway": LONG},), "gateway"),
        (({"caller": 5},), "caller"),
        (({"colour": "red"},), "colour"),
        (({}, {}), "params"),
    ],
    "count_sessions": [
        ((5,), "query"),
        (({"by": "metadata"},), "by"),
        (({"by": "id"},), "by"),
        (({"state": "ended"},), "state"),
        (({"limit": 5},), "limit"),
        (({"type": LONG},), "type"),
        (({}, None), "params"),
    ],
    "ping": [((None,), "params"), ((LIVE,), "params")],
    "server_info": [(({},), "params")],
}


def cases():
    for method, refused in BAD.items():
        for params, field in refused:
            yield method, params, field
    for method, following in FOLLOWING.items():
        for target, field in WRONG_TARGETS:
            yield method, (*target, *following) if target else (), field


@pytest.mark.parametrize(("method", "params", "field"), [*cases()])
def test_bad_input_is_told_by_the_name_of_its_field(refusal, method, params, field):
    fault, text, details = refusal(method, *params)
    assert (fault, details) == (1, {"code": "invalid_request", "field": field})
    assert text.startswith(f"{field}: ")
    assert len(text) < 200


@pytest.mark.parametrize("method", FOLLOWING)
def test_an_unknown_session_is_not_found(refusal, method):
    unknown = ("00000000-0000-7000-8000-000000000000", "x", "", {"external_id": "x", "gateway": "nobody"})
    for target in unknown:
        fault, _, details = refusal(method, target, *FOLLOWING[method])
        named = target if isinstance(target, dict) else {"id": target}
        assert (fault, details) == (1, {"code": "not_found"} | named)


@pytest.mark.parametrize(
    "method", ["touch_session", "update_session", "update_session_state", "update_session_metadata"]
)
def test_an_ended_session_does_not_change(refusal, ids, method):
    fault, _, details = refusal(method, GONE, *FOLLOWING[method])
    expected = {"code": "session_ended", "id": ids[GONE], "end_reason": "busy", "version": 2}
    assert (fault, details) == (1, expected)


@pytest.mark.parametrize("name", ["", "Ping", "create-session", "__class__", "décrocher", "x" * 300, "\0"])
def test_an_unknown_method(refusal, name):
    fault, text, details = refusal(name, 1, {"a": 2})
    assert (fault, details) == (1, {"code": "unknown_method", "method": name[:80]})
    assert len(text) < 120


def test_an_error_does_not_repeat_what_it_was_sent(refusal):
    """An enormous key would come back more enormous."""
    _, text, details = refusal("create_session", {"type": "sip", "k" * 200_000: 1})
    assert details["code"] == "invalid_request"
    assert len(text) + len(details["field"]) < 500


def test_a_version_that_is_no_longer_current(refusal):
    for method, params in (
        ("update_session", ({"caller": "x"}, {"if_version": 7})),
        ("update_session_state", ("held", {"if_version": 7})),
        ("update_session_metadata", ({"a": 1}, {"if_version": 7})),
        ("end_session", ("busy", {"if_version": 7})),
    ):
        fault, _, details = refusal(method, LIVE, *params)
        assert (fault, details) == (1, {"code": "version_conflict", "version": 1, "state": "active"})


def test_a_state_that_cannot_be_reached(refusal):
    fault, _, details = refusal("update_session_state", LIVE, "initializing")
    assert (fault, details) == (1, {"code": "invalid_transition", "state": "active", "wanted": "initializing"})


def test_a_cursor_is_good_for_its_own_filters_only(wire):
    gateway = {"gateway": "cursors"}
    for _ in range(3):
        wire.call("create_session", {"type": "sip"} | gateway)
    cursor = wire.call("list_sessions", gateway | {"limit": 1})["cursor"]
    assert len(wire.call("list_sessions", gateway | {"limit": 2, "cursor": cursor})["sessions"]) == 2
    for other in (
        {"gateway": "x"},
        {},
        gateway | {"order": "desc"},
        gateway | {"ended": "any"},
        gateway | {"type": "sip"},
    ):
        assert wire.refusal("list_sessions", other | {"cursor": cursor}) == {
            "code": "invalid_request",
            "field": "cursor",
        }


# Order of checks


def test_of_several_wrongs_the_first_in_the_order_is_told(refusal):
    """Request, session, its end, its version, the transition."""
    stale, bad = {"if_version": 7}, {"if_version": 0}

    def code(*request):
        return refusal(*request)[2]["code"]

    assert code("update_session_state", "nobody", "held", bad) == "invalid_request"
    assert code("end_session", "nobody", "crashed") == "invalid_request"
    assert code("update_session_metadata", "nobody", {"a": LONG}) == "invalid_request"
    assert code("update_session", GONE, {"caller": 5}) == "invalid_request"
    assert code("update_session_state", "nobody", "held", stale) == "not_found"
    assert code("update_session_state", GONE, "held", stale) == "session_ended"
    assert code("update_session", GONE, {}, stale) == "session_ended"
    assert code("update_session_state", LIVE, "initializing", stale) == "version_conflict"
    assert code("update_session_state", LIVE, "active", stale) == "version_conflict"
    assert code("update_session_state", LIVE, "ringing", stale) == "version_conflict"
    assert code("update_session_metadata", LIVE, {}, stale) == "version_conflict"
    assert code("update_session_state", LIVE, "initializing") == "invalid_transition"


def test_ending_what_has_ended_ignores_the_version(wire, ids):
    ended = wire.call("end_session", ids[GONE])
    assert wire.call("end_session", ids[GONE], "no_answer", {"if_version": 7, "at": 0}) == ended
    assert wire.call("update_session_state", ids[GONE], "ended", {"if_version": 7}) == {"version": 2}
    assert wire.call("get_session", ids[GONE])["end_reason"] == "busy"


# Sizes


def test_strings_may_have_4_kib(wire):
    for text in ("x" * 4096, "é" * 2048, "\N{TELEPHONE RECEIVER}" * 1024):
        created = wire.call("create_session", {"type": "sip", "caller": text, "metadata": {"k": text}})
        session = wire.call("get_session", created["id"])
        assert (session["caller"], session["metadata"]) == (text, {"k": text})
        assert wire.refusal("update_session", created["id"], {"callee": text + "x"})["field"] == "callee"


def test_metadata_may_have_64_keys_and_16_kib_however_it_came(wire):
    session_id = wire.call("create_session", {"type": "sip"})["id"]
    many = {str(number): number for number in range(64)}
    assert wire.call("update_session_metadata", session_id, many) == {"version": 2}
    assert wire.refusal("update_session_metadata", session_id, {"more": 1})["code"] == "invalid_request"
    assert wire.call("update_session_metadata", session_id, {"more": 1, "0": None}) == {"version": 3}
    wire.call("update_session_metadata", session_id, dict.fromkeys([*many, "more"][1:]))
    for number in range(4):
        wire.call("update_session_metadata", session_id, {str(number): "x" * 4000})
    assert wire.refusal("update_session_metadata", session_id, {"more": "x" * 4000})["code"] == "invalid_request"
    assert wire.call("get_session", session_id)["metadata"] == {str(number): "x" * 4000 for number in range(4)}
