"""Every method over a socket: what it takes and what it answers, key by key."""

from __future__ import annotations

import itertools
import re

import pytest
from wire import notification, request

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
numbers = itertools.count(1)


@pytest.fixture
def create(wire):
    """Create a session and give its id."""
    return lambda **fields: wire.call("create_session", {"type": "sip"} | fields)["id"]


@pytest.fixture
def gateway() -> str:
    """A gateway that no other test knows."""
    return f"gw-{next(numbers)}"


# Results


def test_create_session(wire):
    result = wire.call("create_session", {"type": "sip"})
    assert UUID7.fullmatch(result.pop("id"))
    assert result == {"version": 1, "state": "initializing", "created": True}


def test_the_least_of_a_session(wire, create):
    session_id = create()
    session = wire.call("get_session", session_id)
    times = {name: session.pop(name) for name in ("created_at", "updated_at", "last_activity_at", "expires_at")}
    assert {type(time) for time in times.values()} == {float}
    assert times["created_at"] == times["updated_at"] == times["last_activity_at"]
    assert times["expires_at"] == pytest.approx(times["created_at"] + 180)
    assert session == {
        "id": session_id, "type": "sip", "state": "initializing", "gateway": None, "external_id": None,
        "caller": None, "callee": None, "direction": None, "parent": None, "group": None,
        "epoch": None, "suspect": False, "metadata": {}, "ringing_at": None, "answered_at": None,
        "ended_at": None, "end_reason": None, "ended_by": None, "sip_code": None, "q850_cause": None, "version": 1,
    }  # fmt: skip


def test_all_of_a_session(wire, create, gateway):
    given = {
        "type": "fax", "state": "active", "gateway": gateway, "external_id": "a84b@pc33", "caller": "+15550100",
        "callee": "Zoë", "direction": "inbound", "metadata": {"s": "x", "b": True, "i": -(2**63), "f": 0.5},
    }  # fmt: skip
    at = wire.call("server_info")["time"] - 60
    times = {"at": at, "answered_at": at + 5, "idle_timeout": 0, "max_duration": 600.5, "setup_timeout": 7}
    session_id = create(**given, **times)
    session = wire.call("get_session", session_id)
    assert {name: session[name] for name in given} == given
    assert [type(value) for value in session["metadata"].values()] == [str, bool, int, float]
    assert (session["created_at"], session["answered_at"], session["ringing_at"]) == (at, at + 5, None)
    assert session["expires_at"] == pytest.approx(at + 5 + 600.5)


def test_update_session(wire, create):
    session_id = create(caller="a")
    changes = {"caller": None, "callee": "b", "external_id": "c"}
    assert wire.call("update_session", session_id, changes) == {"version": 2}
    assert wire.call("update_session", session_id, changes) == {"version": 2}
    assert wire.call("update_session", session_id, {}, None) == {"version": 2}
    session = wire.call("get_session", session_id)
    assert {name: session[name] for name in changes} == changes


def test_update_session_changes_timeouts(wire, create):
    session_id = create()
    created_at = wire.call("get_session", session_id)["created_at"]
    for timeout, expected in ((10, created_at + 10), (0, None), (None, created_at + 180)):
        wire.call("update_session", session_id, {"setup_timeout": timeout})
        expires_at = wire.call("get_session", session_id)["expires_at"]
        assert expires_at == (expected and pytest.approx(expected))


def test_update_session_state(wire, create):
    session_id = create()
    assert wire.call("update_session_state", session_id, "ringing") == {"version": 2}
    assert wire.call("update_session_state", session_id, "ringing") == {"version": 2}
    assert wire.call("update_session_state", session_id, "active", {"if_version": 2}) == {"version": 3}
    assert wire.call("update_session_state", session_id, "ringing") == {"version": 3, "stale": True}
    assert wire.call("update_session_state", session_id, "held", None) == {"version": 4}
    assert wire.call("update_session_state", session_id, "ended") == {"version": 5}
    assert wire.call("update_session_state", session_id, "ended", {"if_version": 1}) == {"version": 5}
    session = wire.call("get_session", session_id)
    assert (session["state"], session["end_reason"], session["ended_by"]) == ("ended", "normal", "gateway")


def test_update_session_metadata(wire, create):
    session_id = create(metadata={"a": 1, "b": 2})
    assert wire.call("update_session_metadata", session_id, {"b": None, "c": "x"}) == {"version": 2}
    assert wire.call("update_session_metadata", session_id, {"b": None, "c": "x"}) == {"version": 2}
    assert wire.call("update_session_metadata", session_id, {"a": 1.0}, {"if_version": 2}) == {"version": 3}
    metadata = wire.call("get_session", session_id)["metadata"]
    assert metadata == {"a": 1.0, "c": "x"}
    assert type(metadata["a"]) is float


def test_touch_session(wire, create):
    session_id = create(state="active")
    before = wire.call("get_session", session_id)
    assert wire.call("touch_session", session_id) == {"version": 1}
    after = wire.call("get_session", session_id)
    assert after["last_activity_at"] > before["last_activity_at"]
    assert after["expires_at"] > before["expires_at"]
    assert {name for name in before if before[name] != after[name]} == {"last_activity_at", "expires_at"}


def test_end_session(wire, create):
    at = wire.call("server_info")["time"] - 60
    session_id = create(at=at)
    options = {"ended_by": "callee", "sip_code": 200, "q850_cause": 16, "answered_at": at + 10, "at": at + 30}
    result = wire.call("end_session", session_id, "transfer", options)
    assert result == {"version": 2, "ended_at": at + 30, "duration": at + 30 - at, "talk_duration": at + 30 - (at + 10)}
    assert {type(result[name]) for name in ("ended_at", "duration", "talk_duration")} == {float}
    assert wire.call("end_session", session_id, None, {"if_version": 1}) == result
    session = wire.call("get_session", session_id)
    shown = [session[name] for name in ("state", "end_reason", "ended_by", "sip_code", "q850_cause", "expires_at")]
    assert shown == ["ended", "transfer", "callee", 200, 16, None]


@pytest.mark.parametrize(("state", "reason"), [("initializing", "failed"), ("ringing", "failed"), ("held", "normal")])
def test_end_session_without_a_reason(wire, create, state, reason):
    session_id = create(state=state)
    result = wire.call("end_session", session_id)
    assert result["talk_duration"] <= result["duration"]
    assert (result["talk_duration"] == 0.0) == (reason == "failed")
    assert wire.call("get_session", session_id)["end_reason"] == reason


def test_list_sessions(wire, create, gateway):
    ids = [create(gateway=gateway, external_id=str(number)) for number in range(25)]
    seen, cursor, pages = [], None, []
    while not pages or cursor is not None:
        page = wire.call("list_sessions", {"gateway": gateway, "limit": 10, "cursor": cursor})
        assert set(page) == {"sessions", "cursor"}
        pages.append(len(page["sessions"]))
        seen += [session["id"] for session in page["sessions"]]
        cursor = page["cursor"]
    assert (seen, pages) == (ids, [10, 10, 5])
    assert page["sessions"][-1] == wire.call("get_session", ids[-1])


def test_list_sessions_in_the_other_order_and_by_parts(wire, create, gateway):
    ids = [create(gateway=gateway, caller="x") for _ in range(3)]
    query = {"gateway": gateway, "order": "desc", "fields": ["caller", "id"]}
    sessions = [{"caller": "x", "id": session_id} for session_id in reversed(ids)]
    assert wire.call("list_sessions", query) == {"sessions": sessions, "cursor": None}


def test_a_page_has_100_sessions_unless_told_otherwise(wire, create, gateway):
    for _ in range(101):
        create(gateway=gateway)
    assert len(wire.call("list_sessions", {"gateway": gateway})["sessions"]) == 100
    assert len(wire.call("list_sessions", {"gateway": gateway, "limit": 500})["sessions"]) == 101


def test_a_walk_meets_each_session_once_whatever_happens_meanwhile(wire, create, gateway):
    ids = [create(gateway=gateway) for _ in range(6)]
    query = {"gateway": gateway, "limit": 2, "fields": ["id"]}
    first = wire.call("list_sessions", query)
    wire.call("end_session", ids[0])
    wire.call("end_session", ids[3])
    wire.call("update_session_state", ids[1], "active")
    late = create(gateway=gateway)
    second = wire.call("list_sessions", query | {"cursor": first["cursor"]})
    third = wire.call("list_sessions", query | {"cursor": second["cursor"]})
    pages = [[session["id"] for session in page["sessions"]] for page in (first, second, third)]
    assert pages == [ids[:2], [ids[2], ids[4]], [ids[5], late]]
    assert third["cursor"] is None


def test_filters(wire, create, gateway):
    at = wire.call("server_info")["time"] - 100
    one = create(gateway=gateway, type="webrtc", external_id="1", caller="a", direction="inbound", at=at)
    two = create(gateway=gateway, state="held", callee="b", metadata={"tenant": "t", "n": 1}, at=at + 50)
    gone = create(gateway=gateway)
    wire.call("end_session", gone)

    def found(**filters):
        sessions = wire.call("list_sessions", {"gateway": gateway, "fields": ["id"]} | filters)["sessions"]
        assert wire.call("count_sessions", {"gateway": gateway} | filters) == {"count": len(sessions)}
        return [session["id"] for session in sessions]

    assert found() == [one, two]
    assert found(type="webrtc") == found(external_id="1") == found(caller="a") == found(direction="inbound") == [one]
    assert found(callee="b") == found(state="held") == found(metadata={"tenant": "t", "n": 1}) == [two]
    assert found(external_id=None, caller=None, direction=None) == [two]
    assert found(callee=None) == found(metadata={"tenant": None}) == [one]
    assert found(state=["held", "initializing"]) == [one, two]
    assert found(metadata={"n": 2}) == found(metadata={"n": True}) == found(type="sip", caller="a") == []
    assert found(created_after=at, created_before=at + 50) == [one]
    assert found(created_after=at + 50) == [two]
    assert found(ended=True) == found(ended=True, state="ended") == [gone]
    assert found(ended="any") == [one, two, gone]
    assert found(ended="any", state=["ended", "held"]) == [two, gone]


def test_count_sessions(wire, create, gateway):
    for caller in ("a", "a", None):
        create(gateway=gateway, caller=caller)
    wire.call("end_session", create(gateway=gateway, caller="b"), "busy")
    query = {"gateway": gateway}
    assert wire.call("count_sessions", query) == {"count": 3}
    assert wire.call("count_sessions", query | {"by": None}) == {"count": 3}
    assert wire.call("count_sessions", query | {"by": "caller"}) == {"count": 3, "groups": {"a": 2, "": 1}}
    assert wire.call("count_sessions", query | {"by": "state", "caller": "c"}) == {"count": 0, "groups": {}}
    groups = {"busy": 1, "": 3}
    assert wire.call("count_sessions", query | {"by": "end_reason", "ended": "any"}) == {"count": 4, "groups": groups}
    assert set(wire.call("count_sessions")) == {"count"}


def test_ping_and_server_info(wire, served):
    assert wire.call("ping") == "pong"
    info = wire.call("server_info")
    assert set(info) == {"name", "version", "instance", "time", "uptime", "limits", "methods"}
    assert info["name"] == "sessiond"
    assert {type(info[name]) for name in ("time", "uptime")} == {float}
    assert info["methods"] == [
        "count_sessions", "create_session", "end_session", "end_sessions", "explain_limit", "get_record",
        "get_session", "get_session_history", "heartbeat_gateway", "list_gateways", "list_records", "list_sessions",
        "modify_session", "ping", "register_gateway", "request_sync", "server_info", "sync_sessions",
        "terminate_session", "touch_session", "unwatch", "update_session", "update_session_metadata",
        "update_session_state", "warn_session", "watch",
    ]  # fmt: skip
    assert wire.call("server_info")["instance"] == info["instance"]


# Addresses

ADDRESSABLE = {
    "get_session": (),
    "update_session": ({"callee": "x"},),
    "update_session_state": ("active",),
    "update_session_metadata": ({"k": 1},),
    "touch_session": (),
    "end_session": (),
}
"""What takes an id, and its other arguments."""


@pytest.mark.parametrize("method", ADDRESSABLE)
def test_an_address_stands_for_an_id(wire, create, gateway, method):
    for name, address in (("a", {"external_id": "a", "gateway": gateway}), ("b", {"external_id": gateway})):
        fields = {"external_id": name, "gateway": gateway} if name == "a" else {"external_id": gateway}
        session_id = create(**fields)
        wire.call(method, address, *ADDRESSABLE[method])
        changed = wire.call("get_session", session_id)
        assert changed["version"] == (1 if method in {"get_session", "touch_session"} else 2)


@pytest.mark.parametrize("method", ADDRESSABLE)
def test_an_address_of_several_live_sessions_is_a_conflict(wire, create, gateway, method):
    address = {"external_id": "x", "gateway": gateway}
    ids = [create(**address) for _ in range(2)]
    details = wire.refusal(method, address, *ADDRESSABLE[method])
    assert (details["code"], sorted(details["ids"])) == ("conflict", sorted(ids))


def test_an_address_means_the_live_session_or_else_the_newest_retained(wire, create, gateway):
    address = {"external_id": "x", "gateway": gateway}
    old, new = create(**address), create(**address)
    wire.call("end_session", new)
    assert wire.call("get_session", address)["id"] == old
    wire.call("end_session", old)
    assert wire.call("get_session", address)["id"] == new


# Repeatable creates


def test_a_create_that_is_repeated_returns_the_first_session(wire, gateway):
    fields = {"type": "sip", "gateway": gateway, "request_id": "r", "metadata": {"a": 1}}
    first = wire.call("create_session", fields)
    wire.call("update_session_state", first["id"], "active")
    again = first | {"version": 2, "state": "active", "created": False}
    assert wire.call("create_session", dict(reversed(fields.items()))) == again
    assert wire.call("create_session", fields | {"caller": None}) == again
    assert wire.refusal("create_session", fields | {"caller": "x"})["code"] == "conflict"
    assert wire.call("create_session", fields | {"gateway": gateway + "'"})["created"] is True
    wire.call("end_session", first["id"])
    assert wire.call("create_session", fields) == first | {"version": 3, "state": "ended", "created": False}


# Notifications


def test_a_notification_does_what_its_request_does_without_a_reply(wire, create):
    session_id = create()
    wire.send(
        notification("update_session_state", session_id, "ringing"),
        notification("update_session", session_id, {"caller": "x"}),
        notification("update_session_metadata", session_id, {"k": 1}),
        notification("touch_session", session_id),
        notification("get_session", session_id),
        notification("ping"),
        notification("end_session", session_id, "busy"),
        request("last", "ping")[:0],
    )
    session = wire.call("get_session", session_id)
    shown = [session[name] for name in ("state", "caller", "metadata", "end_reason", "version")]
    assert shown == ["ended", "x", {"k": 1}, "busy", 5]


def test_a_notification_that_fails_is_not_replied_to_either(wire, create, gateway):
    wire.send(
        notification("create_session", {"type": "sip", "gateway": gateway}),
        notification("create_session", {"typ": "sip", "gateway": gateway}),
        notification("end_session", "nobody"),
        notification("no_such_method", 1, 2),
        notification("ping", "pong"),
    )
    assert wire.call("count_sessions", {"gateway": gateway}) == {"count": 1}
