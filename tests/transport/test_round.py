"""One turn of the loop: whatever it reads is answered as of one moment, and then time goes on."""

from __future__ import annotations

import contextlib
from bisect import bisect_left

import pytest
from still_loop import StillSocket
from still_service import still_service
from wire import request

from sessiond.stores.settings import StoreSettings
from sessiond.stores.sqlite import SqliteStore
from sessiond.transport.connection import Connection
from sessiond.transport.observed import LATENCY_BOUNDS, MethodTally, observe_all


@pytest.fixture
def service():
    with still_service() as serving:
        yield serving


@contextlib.contextmanager
def another_connection(service):
    socket = StillSocket(service.loop)
    socket.protocol = connection = Connection(service.front_end.local())
    connection.connection_made(socket)
    try:
        yield connection
        if socket.state == "open":
            connection.connection_lost(None)
    finally:
        socket.drop()


def test_what_all_connections_send_in_one_turn_is_done_at_one_moment(service):
    one, other = service.create(2)
    with another_connection(service) as connection:
        service.connection.data_received(request(1, "update_session_state", one, "ringing"))
        service.clock.advance(5)
        connection.data_received(request(1, "update_session_state", other, "ringing"))
        service.loop.settle()
    records = [service.context.directory.by_id[session_id].record for session_id in (one, other)]
    assert records[0].updated_at == records[1].updated_at == service.clock.wall - 5


def test_time_goes_on_after_a_turn_and_stands_still_in_it(service):
    clock = service.context.clock
    service.connection.data_received(request(1, "ping"))
    begun = clock.read()
    service.clock.advance(5)
    assert clock.read() == begun
    service.loop.settle()
    assert clock.read().monotonic == begun.monotonic + 5


def test_each_request_of_a_turn_is_counted_once(service):
    tally = service.front_end.local().observed.methods["ping"]
    with another_connection(service) as connection:
        service.connection.data_received(request(1, "ping") * 3)
        connection.data_received(request(1, "ping"))
        assert sum(tally.buckets) == 0
        service.loop.settle()
        assert sum(tally.buckets) == 4
        connection.data_received(request(2, "ping"))
        service.loop.settle()
        assert sum(tally.buckets) == 5


def test_answers_that_waited_for_the_store_are_written_before_the_loop_goes_on(tmp_path):
    store = SqliteStore(StoreSettings(kind="sqlite", path=str(tmp_path / "sessiond.db")))
    with still_service(store=store) as service, another_connection(service) as connection:
        for each in (service.connection, connection):
            each.data_received(request(1, "create_session", {"type": "sip"}))
        service.loop.settle()
        service.commit()
        assert service.answers() == []
        service.post()
        went_on = []
        service.loop.call_soon(lambda: went_on.append(connection._transport.written.copy()))
        service.loop.turn()
        service.loop.turn()
        (written,) = went_on
        assert b"initializing" in b"".join(written)
        assert [answer["state"] for answer in service.answers()] == ["initializing"]


def test_answers_that_come_later_are_timed_from_when_each_was_asked():
    slow, quick = MethodTally(), MethodTally()
    observe_all([(slow, 10.0), (quick, 12.0), (slow, 10.0), (slow, 12.0)], 12.00005)
    assert [count for count in slow.buckets if count] == [1, 2]
    assert slow.buckets[0] == quick.buckets[0] == 1
    assert slow.buckets[bisect_left(LATENCY_BOUNDS, 2.00005)] == 2
    assert slow.seconds == pytest.approx(2 * 2.00005 + 0.00005)
    assert quick.seconds == pytest.approx(0.00005)


def test_a_connection_that_cannot_be_written_to_keeps_no_answer_from_others(service, monkeypatch):
    """Whatever its transport raises; it is aborted."""
    with another_connection(service) as connection:
        monkeypatch.setattr(connection._transport, "write", lambda _: 1 / 0)
        connection.data_received(request(1, "ping"))
        service.connection.data_received(request(2, "ping"))
        service.loop.settle()
        assert connection._transport.state == "aborted"
    assert service.answers() == ["pong"]
