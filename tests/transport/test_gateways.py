"""Gateways over sockets: connections that are bound, lost, shared and taken over."""

from __future__ import annotations

import contextlib
import itertools

import msgspec
import pytest
from serving import serving
from wire import notification, peer, request

from sessiond.actors.settings import GatewaySettings
from sessiond.config import Config

numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """A gateway that no other test knows."""
    return f"gw-{next(numbers)}"


@pytest.fixture(scope="module")
def serve_under():
    """The port of a service under a policy."""
    with contextlib.ExitStack() as stack:
        ports = {}

        def port(policy):
            if policy not in ports:
                config = Config(gateways=GatewaySettings(policy=policy))
                ports[policy] = stack.enter_context(serving(config)).port
            return ports[policy]

        yield port


def shown(wire, name):
    return wire.call("list_gateways", {"name": name})["gateways"]


def until_lost(wire, name, connections=0):
    """Return when the service knows that only so many connections are left; it is told by the kernel."""
    while shown(wire, name)[0]["connections"] > connections:
        pass
    return shown(wire, name)[0]["state"]


def test_register_gateway(wire, name):
    options = {"epoch": "e1", "capabilities": ["commands"], "lease": 60, "metadata": {"host": "a"}}
    answer = wire.call("register_gateway", name, options)
    assert answer == {
        "gateway": name, "epoch": "e1", "outcome": "registered", "lease": 60.0, "grace": 120.0, "sessions": 0,
        "suspect": 0, "instance": wire.call("server_info")["instance"],
    }  # fmt: skip
    (gateway,) = shown(wire, name)
    assert isinstance(gateway.pop("registered_at"), float)
    assert gateway == {
        "name": name, "epoch": "e1", "state": "live", "lost_at": None, "connections": 1, "sessions": 0,
        "capabilities": ["commands"], "metadata": {"host": "a"},
    }  # fmt: skip


def test_heartbeat_gateway(wire, connect, name):
    connect().call("register_gateway", name)
    assert wire.call("heartbeat_gateway", name) == {"lease": 30.0}
    assert wire.refusal("heartbeat_gateway", name, {"epoch": "other"}) == {
        "code": "not_found",
        "gateway": name,
        "epoch": "other",
    }


def test_list_gateways(wire, connect, name):
    for each in "ab":
        connect().call("register_gateway", name + each)
    first = wire.call("list_gateways", {"limit": 1, "cursor": name})
    assert [each["name"] for each in first["gateways"]] == [name + "a"]
    assert wire.call("list_gateways", {"cursor": first["cursor"]})["gateways"][0]["name"] == name + "b"


def test_what_comes_on_a_bound_connection_is_the_gateways(wire, connect, name):
    """In the same read too, and nothing that others ask for meanwhile."""
    other = connect()
    wire.send(
        request(1, "register_gateway", name, {"epoch": "e1"}),
        request(2, "create_session", {"type": "sip"}),
        notification("create_session", {"type": "sip", "external_id": "x"}),
    )
    session_id = wire.receive_many(2)[1][3]["id"]
    assert other.call("get_session", session_id)["gateway"] == name
    assert other.call("get_session", {"gateway": name, "external_id": "x"})["epoch"] == "e1"
    assert other.call("get_session", other.call("create_session", {"type": "sip"})["id"])["gateway"] is None
    history = other.call("get_session_history", session_id)["entries"]
    assert history[0]["author"] == {"kind": "gateway", "gateway": name, "epoch": "e1"}


def test_a_notification_registers_too(wire, name):
    wire.send(notification("register_gateway", name))
    assert wire.call("get_session", wire.call("create_session", {"type": "sip"})["id"])["gateway"] == name


def test_a_registration_that_is_refused_binds_nothing(wire, name):
    assert wire.refusal("register_gateway", name, {"lease": 0})["field"] == "lease"
    assert wire.refusal("register_gateway", "")["field"] == "name"
    assert wire.call("get_session", wire.call("create_session", {"type": "sip"})["id"])["gateway"] is None


def test_a_connection_is_one_incarnations(wire, name):
    wire.call("register_gateway", name, {"epoch": "e1"})
    assert wire.call("register_gateway", name, {"epoch": "e1"})["outcome"] == "joined"
    refusal = {"code": "conflict", "gateway": name, "epoch": "e1"}
    assert wire.refusal("register_gateway", name, {"epoch": "e2"}) == refusal
    assert wire.refusal("register_gateway", "other", {"epoch": "e1"}) == refusal
    assert shown(wire, name)[0]["connections"] == 1


def test_a_lost_connection_makes_its_sessions_suspect(wire, connect, name):
    """And one that comes back with the same epoch finds them as they were."""
    gateway = connect()
    gateway.call("register_gateway", name, {"epoch": "e1"})
    session_id = gateway.call("create_session", {"type": "sip"})["id"]
    gateway.close()
    assert until_lost(wire, name) == "lost"
    assert wire.call("get_session", session_id)["suspect"]
    assert wire.call("count_sessions", {"gateway": name, "suspect": True})["count"] == 1
    answer = connect().call("register_gateway", name, {"epoch": "e1"})
    assert (answer["outcome"], answer["sessions"]) == ("resumed", 1)
    assert not wire.call("get_session", session_id)["suspect"]


def test_a_gateway_lives_as_long_as_one_of_its_connections(wire, connect, name):
    workers = [connect() for _ in range(3)]
    outcomes = [worker.call("register_gateway", name, {"epoch": "e1"})["outcome"] for worker in workers]
    assert outcomes == ["registered", "joined", "joined"]
    ids = [worker.call("create_session", {"type": "sip"})["id"] for worker in workers]
    assert shown(wire, name)[0]["sessions"] == 3
    for left, worker in zip((2, 1), workers, strict=False):
        worker.close()
        assert until_lost(wire, name, left) == "live"
    workers[2].close()
    assert until_lost(wire, name) == "lost"
    assert {wire.call("get_session", each)["suspect"] for each in ids} == {True}


def test_sync_sessions(wire, connect, name):
    old = connect()
    old.call("register_gateway", name, {"epoch": "e1"})
    ids = [old.call("create_session", {"type": "sip", "external_id": f"call {n}"})["id"] for n in range(3)]
    old.call("end_session", ids[2], "busy")
    old.close()
    until_lost(wire, name)
    new = connect()
    new.call("register_gateway", name, {"epoch": "e2"})
    first = new.call("sync_sessions", name, {"ids": ["x"], "external_ids": ["call 0"], "final": False})
    token = first.pop("sync")
    assert first == {"unknown": ["x"], "ended": [], "missing": [], "cursor": None}
    last = new.call("sync_sessions", name, {"sync": token, "ids": [ids[2]]})
    ended = {"id": ids[2], "external_id": "call 2", "end_reason": "busy"}
    assert last == {"sync": token, "unknown": [], "ended": [ended], "missing": [ids[1]], "cursor": None}
    assert wire.call("get_session", ids[0])["epoch"] == "e2"
    while wire.call("get_session", ids[1])["state"] != "ended":
        pass
    assert wire.call("get_session", ids[1])["end_reason"] == "gateway_lost"


def test_others_may_ask_for_the_differences(wire, connect, name):
    """Another gateway, or none: that claims and judges nothing."""
    gateway, other = connect(), connect()
    gateway.call("register_gateway", name, {"epoch": "e1"})
    other.call("register_gateway", name + "x", {"epoch": "e1"})
    session_id = gateway.call("create_session", {"type": "sip"})["id"]
    gateway.close()
    until_lost(wire, name)
    for asker in (wire, other):
        answer = asker.call("sync_sessions", name, {"ids": []})
        assert (answer["unknown"], answer["missing"]) == ([], [session_id])
        asker.call("sync_sessions", name, {"ids": [session_id]})
    session = wire.call("get_session", session_id)
    assert (session["state"], session["epoch"], session["suspect"]) == ("initializing", "e1", True)


def test_what_makes_no_sense_in_a_sync_is_refused(wire, name):
    assert wire.refusal("sync_sessions", name)["field"] == "ids"
    assert wire.refusal("sync_sessions", name, {"ids": [1]})["field"] == "ids"
    assert wire.refusal("sync_sessions", name, {"ids": ["é" * 2049]})["field"] == "ids"
    assert wire.refusal("sync_sessions", name, {"sync": "x"})["field"] == "sync"


def test_a_part_that_is_refused_spoils_the_sync(wire, connect, name):
    """Even if the gateway does not look at the answer."""
    old, new = connect(), connect()
    old.call("register_gateway", name, {"epoch": "e1"})
    session_id = old.call("create_session", {"type": "sip"})["id"]
    old.close()
    until_lost(wire, name)
    new.call("register_gateway", name, {"epoch": "e2"})
    token = new.call("sync_sessions", name, {"ids": [], "final": False})["sync"]
    new.send(notification("sync_sessions", name, {"sync": token, "ids": [session_id, ""], "external_ids": [""]}))
    assert new.refusal("sync_sessions", name, {"sync": token})["field"] == "sync"
    assert wire.call("get_session", session_id)["state"] == "initializing"


def test_a_younger_one_takes_over(serve_under, name):
    port = serve_under("take_over")
    with peer(port) as old, peer(port) as new, peer(port) as again:
        old.call("register_gateway", name, {"epoch": "e1"})
        session_id = old.call("create_session", {"type": "sip"})["id"]
        answer = new.call("register_gateway", name, {"epoch": "e2"})
        assert (answer["outcome"], answer["suspect"]) == ("taken_over", 1)
        assert old.rest() == [[2, "gateway_replaced", [{"gateway": name, "epoch": "e2"}]]]
        assert again.refusal("register_gateway", name, {"epoch": "e1"})["epoch"] == "e2"
        assert new.call("touch_session", session_id) == {"version": 1}
        assert new.call("get_session", session_id)["epoch"] == "e2"


def test_a_younger_one_is_refused(serve_under, name):
    port = serve_under("refuse")
    with peer(port) as old, peer(port) as new:
        instance = old.call("register_gateway", name, {"epoch": "e1"})["instance"]
        assert new.refusal("register_gateway", name) == {
            "code": "conflict",
            "gateway": name,
            "epoch": "e1",
            "instance": instance,
        }
        assert new.call("get_session", new.call("create_session", {"type": "sip"})["id"])["gateway"] is None
        old.close()
        until_lost(new, name)
        assert new.call("register_gateway", name)["outcome"] == "registered"


def test_a_service_that_drains_loses_its_gateways_and_ends_nothing(name):
    with serving() as served, peer(served.port) as gateway:
        gateway.call("register_gateway", name)
        gateway.call("create_session", {"type": "sip"})
    assert served.service.registry.is_alive() is False


def test_the_configuration_reaches_the_gateways(name):
    config = msgspec.structs.replace(Config(), gateways=GatewaySettings(lease=7, grace=9, max_gateways=1))
    with serving(config) as served, peer(served.port) as wire, peer(served.port) as other:
        answer = wire.call("register_gateway", name)
        assert (answer["lease"], answer["grace"]) == (7.0, 9.0)
        assert other.refusal("register_gateway", "other") == {
            "code": "limit_exceeded",
            "limit": "max_gateways",
            "maximum": 1,
        }
