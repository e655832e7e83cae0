"""A connection as the actors see it: bound to an incarnation of a gateway, told things, noticed when it goes."""

from __future__ import annotations

import msgpack
import pytest
from still_service import still_service

from sessiond.actors.deadlines import Deadline
from sessiond.actors.incarnation import Incarnation


@pytest.fixture
def service():
    with still_service() as running:
        yield running


@pytest.fixture
def incarnation(service):
    context = service.context
    return Incarnation("gw", "e1", context.authors.number("gw", "e1"), context.clock.read())


@pytest.fixture
def peer(service):
    return service.connection.peer()


def sent(service):
    """The messages that were sent since the last time."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(b"".join(service.socket.written))
    service.socket.written.clear()
    return list(unpacker)


def test_a_connection_has_one_peer(service, peer):
    assert service.connection.peer() is peer


def test_requests_on_a_bound_connection_are_those_of_the_incarnation(service, peer, incarnation):
    peer.bind(incarnation, lambda: None)
    created = service.call("create_session", {"type": "sip"})
    session = service.call("get_session", created["id"])
    assert (session["gateway"], session["epoch"]) == ("gw", "e1")
    assert service.call("get_session_history", created["id"])["entries"][0]["author"]["kind"] == "gateway"


def test_nothing_else_is_done_in_its_name(service, peer, incarnation):
    """Neither what another connection asks for, nor what the service does by itself; and not after a failure either."""
    peer.bind(incarnation, lambda: None)
    for method, params in (("ping", []), ("no_such_method", []), ("get_session", ["x"]), ("list_sessions", [])):
        frame = msgpack.packb([0, 1, method, params])
        service.receive(frame)
        service.receive(frame * 2)
        assert service.context.requester is None
    sent(service)


def test_what_is_no_frame_is_not_done_in_its_name_for_ever(service, peer, incarnation):
    peer.bind(incarnation, lambda: None)
    service.receive(msgpack.packb([0, 1, "ping", "x"]))
    assert service.context.requester is None


def test_every_read_is_heard(service, peer, incarnation):
    peer.bind(incarnation, lambda: None)
    for together in (1, 2):
        service.clock.advance(5)
        service.receive(msgpack.packb([0, 1, "ping", []]) * together)
        assert peer.heard_at == service.clock.read().monotonic


def test_whoever_waits_for_a_lost_incarnation_is_told_that_it_spoke(service, peer, incarnation):
    spoken = []
    peer.bind(incarnation, lambda: spoken.append(True))
    service.receive(msgpack.packb([0, 1, "ping", []]))
    assert not spoken
    incarnation.loss = Deadline(service.clock.read(), 120, "gateway_lost")
    service.receive(msgpack.packb([0, 1, "ping", []]))
    assert spoken == [True]


def test_a_peer_that_is_bound_again_stays_bound_once(service, peer, incarnation):
    for _ in range(2):
        peer.bind(incarnation, lambda: None)
    assert service.call("ping") == "pong"


def test_a_notification_is_sent_at_once(service, peer):
    peer.notify("hello", [{"a": 1}])
    assert sent(service) == [[2, "hello", [{"a": 1}]]]


def test_a_notification_comes_behind_the_answers_of_its_round(service, peer):
    service.connection.data_received(msgpack.packb([0, 1, "ping", []]))
    peer.notify("a", [])
    peer.notify("b", [])
    assert not service.socket.written
    service.loop.settle()
    assert sent(service) == [[1, 1, None, "pong"], [2, "a", []], [2, "b", []]]


def test_a_notification_to_a_connection_that_is_silent_waits_for_the_end_of_the_round(service, peer):
    service.front_end.local().round.begin()
    peer.notify("a", [])
    assert not service.socket.written
    service.loop.settle()
    assert sent(service) == [[2, "a", []]]


def test_a_connection_that_is_closed_gets_first_what_was_sent_to_it(service, peer):
    peer.notify("bye", [])
    peer.close("taken_over")
    service.loop.settle()
    assert sent(service) == [[2, "bye", []]]
    assert service.socket.has_written_eof
    assert service.front_end.local().observed.closed_for["taken_over"] == 1
    peer.notify("late", [])
    peer.close("taken_over")
    assert not sent(service)
    service.loop.pass_time(2)
    assert service.socket.state == "closed"


def test_whoever_wants_to_know_is_told_that_it_is_lost(service, peer):
    """Once, and whatever the others do with that."""
    told = []

    def crash():
        raise RuntimeError

    for tell in (crash, lambda: told.append(1)):
        peer.when_lost(tell)
    service.connection.connection_lost(None)
    assert told == [1]
    assert peer.is_lost
    assert not peer.is_writable
    peer.notify("late", [])
    peer.close("taken_over")
    peer.lost()
    assert told == [1]


def test_a_client_that_reads_nothing_is_not_writable(service, peer):
    assert peer.is_writable
    service.socket.is_stuck = True
    peer.notify("long", ["x" * (1 << 20)])
    assert not peer.is_writable
    service.socket.read_by_client()
    assert peer.is_writable
