"""How sessions are found, created once only, and forgotten: one example for each rule."""

from __future__ import annotations

import pytest
from services import service

from sessiond.actors.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
)

ANSWERED = ("active", "held")


# Addresses


def test_a_session_may_be_named_by_its_gateways_own_id(manager):
    """By every method that takes an id."""
    address = {"gateway": "g", "external_id": "call"}
    session_id = manager.create(state="active", **address)
    assert manager.get_session(address).id == session_id
    assert manager.touch_session(address).version == 1
    assert manager.update_session_state(address, "held").version == 2
    assert manager.update_session(address, caller="x").version == 3
    assert manager.update_session_metadata(address, {"a": 1}).version == 4
    assert manager.session_ref(address).proxy().get().get().id == session_id
    assert manager.end_session(address).version == 5
    assert manager.get_session(address).state == "ended"


def test_an_address_without_a_gateway_is_of_sessions_without_one(manager):
    manager.create(gateway="g", external_id="call")
    with pytest.raises(NotFound):
        manager.get_session({"gateway": None, "external_id": "call"})
    session_id = manager.create(external_id="call")
    assert manager.get_session({"gateway": None, "external_id": "call"}).id == session_id


def test_an_address_means_the_live_session_first(manager):
    """And else the newest that is still kept."""
    address = {"gateway": "g", "external_id": "call"}
    first = manager.create(**address)
    manager.end_session(first)
    second = manager.create(**address)
    assert manager.get_session(address).id == second
    manager.end_session(second)
    assert manager.get_session(address).id == second
    manager.update_session(manager.create(gateway="g"), external_id="call")
    assert manager.get_session(address).id not in (first, second)


def test_an_address_of_several_live_sessions_is_a_conflict(manager):
    """With their ids."""
    address = {"gateway": "g", "external_id": "call"}
    ids = {manager.create(**address) for _ in range(2)}
    with pytest.raises(Conflict) as caught:
        manager.end_session(address)
    assert set(caught.value.details["ids"]) == ids


@pytest.mark.parametrize(
    "address", [{}, {"gateway": "g"}, {"external_id": ""}, {"external_id": "x", "id": "y"}, 5, None]
)
def test_what_is_no_address_is_refused(manager, address):
    with pytest.raises(InvalidRequest):
        manager.get_session(address)


# Repeated creates


def test_a_create_may_be_repeated(manager):
    """The same request_id with the same parameters returns the first session as it is by now."""
    fields = {"type": "sip", "gateway": "g", "caller": "a", "metadata": {"x": 1, "y": 2}, "request_id": "r"}
    first = manager.create_session(**fields)
    manager.update_session_state(first.id, "ringing")
    again = manager.create_session(**(fields | {"metadata": {"y": 2, "x": 1}}))
    assert (again.id, again.created, again.version, again.state) == (first.id, False, 2, "ringing")
    assert manager.count_sessions().count == 1


def test_a_repeated_create_with_other_parameters_is_a_conflict(manager):
    first = manager.create(gateway="g", request_id="r", caller="a")
    with pytest.raises(Conflict) as caught:
        manager.create(gateway="g", request_id="r", caller="b")
    assert caught.value.details["id"] == first


def test_a_request_id_is_unique_within_its_gateway(manager):
    ids = {manager.create(gateway=gateway, request_id="r") for gateway in ("g", "h", None)}
    assert len(ids) == 3


def test_a_request_id_is_remembered_as_long_as_its_session():
    """Ended and kept, the session is returned; forgotten, it is created anew."""
    with service(retention=60) as manager:
        first = manager.create(request_id="r")
        manager.end_session(first)
        manager.pass_time(59)
        assert manager.create_session(type="sip", request_id="r").id == first
        manager.pass_time(2)
        again = manager.create_session(type="sip", request_id="r")
        assert again.created
        assert again.id != first


def test_a_repeated_create_counts_for_no_limit():
    with service(max_sessions=1) as manager:
        first = manager.create(request_id="r")
        assert manager.create(request_id="r") == first


# Retention


def test_an_ended_session_is_readable_for_a_while_and_then_forgotten():
    with service(retention=60) as manager:
        session_id = manager.create(external_id="x")
        manager.end_session(session_id)
        manager.pass_time(59.5)
        assert manager.get(session_id).state == "ended"
        manager.pass_time(1)
        with pytest.raises(NotFound):
            manager.get(session_id)
        with pytest.raises(NotFound):
            manager.get_session({"external_id": "x"})
        assert manager.count_sessions(ended="any").count == 0


def test_only_so_many_ended_sessions_are_kept():
    """The oldest end is forgotten first."""
    with service(max_retained=2) as manager:
        ids = [manager.create() for _ in range(3)]
        for session_id in (ids[1], ids[0], ids[2]):
            manager.end_session(session_id)
        with pytest.raises(NotFound):
            manager.get(ids[1])
        assert {manager.get(ids[0]).state, manager.get(ids[2]).state} == {"ended"}


@pytest.mark.parametrize("settings", [{"max_retained": 0}, {"retention": 0}])
def test_ended_sessions_need_not_be_kept_at_all(settings):
    with service(**settings) as manager:
        session_id = manager.create(request_id="r")
        assert manager.end_session(session_id).version == 2
        manager.pass_time(0.125)
        with pytest.raises(NotFound):
            manager.get(session_id)
        assert manager.create_session(type="sip", request_id="r").created


# The rest


def test_the_service_says_who_it_is(manager):
    manager.clock.advance(90)
    info = manager.server_info()
    assert (info["name"], info["uptime"], info["time"]) == ("sessiond", 90, manager.clock.wall)
    assert info["limits"]["idle_timeout"] == 7200
    assert len(info["instance"]) == 16
