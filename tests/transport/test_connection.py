"""Connections on real sockets and both event loops: what one client does, and that no other notices."""

from __future__ import annotations

import asyncio
import fcntl
import math
import queue
import socket
import struct
import termios
import tracemalloc
from contextlib import ExitStack

import pytest
import uvloop
from packing import POISONS
from serving import serving
from wire import PATIENCE, Peer, notification, peer, request

from sessiond.actors.future import Pending
from sessiond.actors.session import SessionActor
from sessiond.config import Config
from sessiond.transport import connection
from sessiond.transport.connection import BATCH_REQUESTS
from sessiond.transport.settings import Limits

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Waiting(SessionActor):
    """Its touches are remembered, and the answers to a get of one of type "waiting" are the test's to give."""

    touches: list[str]
    held: queue.SimpleQueue[Pending]

    def touch(self):
        self.touches.append(self.record.caller)
        return super().touch()

    def get(self):
        if self.record.type != "waiting":
            return super().get()
        pending = Pending()
        self.held.put(pending)
        return pending


class Running:
    """A service, and what a test does to it."""

    def __init__(self, served, stack):
        self.served = served
        self._stack = stack
        self.touches = Waiting.touches
        self.held = Waiting.held

    def connect(self, **options) -> Peer:
        return self._stack.enter_context(peer(self.served.port, **options))

    def on_loop(self, function):
        """What ``function`` returns when the loop calls it."""
        results = queue.SimpleQueue()
        self.served.loop.call_soon_threadsafe(lambda: results.put(function()))
        return results.get(timeout=PATIENCE)

    def release(self, pending, result="released"):
        self.on_loop(lambda: pending.set(result))

    def drain(self):
        """Begin to stop; what tells whether that has come to its end."""
        return asyncio.run_coroutine_threadsafe(self.served.service._front_end.drain(), self.served.loop)

    @property
    def connections(self):
        return self.served.service._front_end._connections

    @property
    def closed_for(self):
        """How many connections the service has closed, by the reasons it had."""
        return dict(+self.served.service._front_end.observed.closed_for)


@pytest.fixture(params=LOOPS)
def run(request):
    """Run a service under some limits, on each kind of loop."""
    Waiting.touches, Waiting.held = [], queue.SimpleQueue()
    with ExitStack() as stack:

        def start(**limits):
            served = stack.enter_context(
                serving(Config(limits=Limits(**limits)), loop_factory=LOOPS[request.param], session_class=Waiting)
            )
            return Running(served, stack)

        yield start


def create(wire, caller=None, **fields):
    return wire.call("create_session", {"type": "sip", "caller": caller} | fields)["id"]


def all_arrived(wire):
    """Return when everything sent has come to the service's host. A bound on hangs is the test's timeout."""
    while struct.unpack("i", fcntl.ioctl(wire.socket, termios.TIOCOUTQ, b"\0" * 4))[0]:
        pass


# Order


def test_requests_on_one_session_are_done_in_the_order_sent(run):
    wire = run().connect()
    session_id = create(wire, state="active")
    wire.send(
        *(request(n, "update_session_state", session_id, "held" if n % 2 else "active") for n in range(1, 1001)),
        notification("end_session", session_id, "busy"),
        request(1001, "end_session", session_id),
    )
    answers = wire.receive_many(1001)
    assert [answer[1] for answer in answers] == [*range(1, 1002)]
    assert [answer[3]["version"] for answer in answers] == [*range(2, 1002), 1002]


def test_no_client_keeps_another_waiting_with_thousands_of_requests(run):
    running = run()
    busy, other = running.connect(), running.connect()
    busy_id, other_id = create(busy, "busy"), create(other, "other")
    with running.served.hung():
        busy.send(*(request(number, "touch_session", busy_id) for number in range(3000)))
        other.send(request(1, "touch_session", other_id))
        all_arrived(other)
    other.receive()
    busy.receive_many(3000)
    assert len(running.touches) == 3001
    assert running.touches.index("other") <= 2 * BATCH_REQUESTS


# Limits


def test_at_so_many_pending_answers_the_service_reads_no_further(run):
    running = run(max_in_flight=4)
    wire, other = running.connect(), running.connect()
    session_id = create(wire, type="waiting")
    wire.send(*(request(number, "get_session", session_id) for number in range(6)), request(6, "ping"))
    held = [running.held.get(timeout=PATIENCE) for _ in range(4)]
    assert other.call("ping") == "pong"
    assert running.held.empty()
    assert sorted(running.on_loop(lambda: [each._is_reading for each in running.connections])) == [False, True]
    running.release(held[2])
    held.append(running.held.get(timeout=PATIENCE))
    assert wire.receive()[1] == 2
    running.release(held[0])
    held.append(running.held.get(timeout=PATIENCE))
    assert [answer[1] for answer in wire.receive_many(1)] == [0]
    running.release(held[5])
    assert {answer[1] for answer in wire.receive_many(2)} == {5, 6}
    for pending in (held[1], held[3], held[4]):
        running.release(pending)
    assert {answer[1] for answer in wire.receive_many(3)} == {1, 3, 4}
    assert wire.call("ping") == "pong"


def test_a_listing_that_takes_long_is_overtaken(run, monkeypatch):
    """Over a filter that no index answers, on many sessions; however slow the machine, all is taken in at once."""
    monkeypatch.setattr(connection, "BATCH_SECONDS", math.inf)
    wire = run().connect()
    wire.send(*(notification("create_session", {"type": "sip"}) for _ in range(2000)))
    assert wire.call("ping") == "pong"
    filters = {"metadata": {"no such": 1}}
    wire.send(request(1, "list_sessions", filters), request(2, "count_sessions", filters), request(3, "ping"))
    answers = wire.receive_many(3)
    assert answers[0] == [1, 3, None, "pong"]
    assert sorted(answers[1:]) == [[1, 1, None, {"sessions": [], "cursor": None}], [1, 2, None, {"count": 0}]]


BIG = {str(number): "x" * 4000 for number in range(4)}
"""Metadata that makes an answer of 16 KB."""


def slow_reader(running, count):
    """A client that asks for 16 KB so many times, and reads nothing."""
    wire = running.connect(receive_buffer=4096)
    session_id = create(wire, metadata=BIG)
    wire.send(*(request(number, "get_session", session_id) for number in range(count)))
    return wire


def test_a_client_that_reads_nothing_stops_its_own_work_only(run):
    running = run(write_buffer=100_000)
    count = 1000
    wire, other = slow_reader(running, count), running.connect()
    tally = running.served.service._front_end.observed.methods["get_session"]
    while all(running.on_loop(lambda: [each._is_writable for each in running.connections])):
        assert other.call("ping") == "pong"
    done = running.on_loop(lambda: sum(tally.buckets))
    assert other.call("ping") == "pong"
    assert running.on_loop(lambda: sum(tally.buckets)) == done < count
    answers = wire.receive_many(count)
    assert [answer[1] for answer in answers] == [*range(count)]


def test_a_client_that_reads_nothing_is_given_up(run):
    running = run(write_buffer=100_000, write_timeout=0.05)
    wire, other = slow_reader(running, 1000), running.connect()
    while not running.closed_for:
        assert other.call("ping") == "pong"
    assert running.closed_for == {"write_timeout": 1}
    assert len(wire.rest()) < 1000


def test_a_frame_that_is_not_finished_closes_its_connection(run):
    running = run(frame_timeout=0.05)
    idle, wire = running.connect(), running.connect()
    wire.send(request(1, "ping"), request(2, "ping")[:-1])
    assert wire.rest() == [[1, 1, None, "pong"]]
    assert running.closed_for == {"frame_timeout": 1}
    assert idle.call("ping") == "pong"


def test_more_connections_than_there_may_be_are_closed(run):
    running = run(max_connections=2)
    one, two = running.connect(), running.connect()
    assert (one.call("ping"), two.call("ping")) == ("pong", "pong")
    assert running.connect().rest() == []
    assert running.closed_for == {"max_connections": 1}
    one.finish()
    assert one.rest() == []
    assert running.connect().call("ping") == "pong"
    assert two.call("ping") == "pong"


# Ends


def test_a_client_that_has_said_everything_gets_its_answers(run):
    running = run()
    wire = running.connect()
    session_id = create(wire, type="waiting")
    wire.send(*(request(number, "ping") for number in range(3000)), request(3000, "get_session", session_id))
    wire.finish()
    answers = wire.receive_many(3000)
    running.release(running.held.get(timeout=PATIENCE), "late")
    assert [answer[1] for answer in answers] == [*range(3000)]
    assert wire.rest() == [[1, 3000, None, "late"]]
    assert running.closed_for == {}


@pytest.mark.parametrize("poison", [*POISONS, "parameters no array", "no message", "too long"])
def test_bad_bytes_close_their_connection_after_earlier_answers(run, poison):
    running = run()
    wire, other = running.connect(), running.connect()
    session_id = create(other, "after")
    bad = {
        "parameters no array": b"\x94\x00\x07\xa4ping\x80",
        "no message": b"\x93\x03\xa1x\x90",
        "too long": b"\x94\x00\x07\xa4ping\x91\xdb\x00\x04\x00\x00" + b"x" * (1 << 18),
    }.get(poison) or b"\x94\x00\x07\xa4ping\x91" + POISONS[poison]
    wire.send(request(1, "ping"), request(2, "ping"), bad, request(3, "touch_session", session_id))
    assert wire.rest() == [[1, 1, None, "pong"], [1, 2, None, "pong"]]
    assert running.closed_for == {"not_a_frame": 1}
    assert other.call("ping") == "pong"
    assert running.touches == []


def test_a_truncated_frame_is_not_answered(run):
    running = run()
    wire = running.connect()
    wire.send(request(1, "ping"), request(2, "ping")[:-1])
    wire.finish()
    assert wire.rest() == [[1, 1, None, "pong"]]
    assert running.connect().call("ping") == "pong"


def test_hostile_claims_cost_no_more_memory_than_their_bytes(run):
    """Nested headers of a million elements each, some in whole frames and some in unfinished ones."""
    running = run()
    peers = [running.connect() for _ in range(10)]
    header = b"\xdd\x00\x10\x00\x00"
    running.connect().call("ping")
    tracemalloc.start()
    try:
        for wire in peers:
            wire.send(request(1, "ping"), b"\x94\x00\x02\xa1m\x91" + header * 1000)
            assert wire.receive()[1] == 1
        assert running.connect().call("ping") == "pong"
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        for wire in peers:
            wire.send(header * 100)  # deeper than anything goes
            assert wire.rest() == []
        assert running.closed_for == {"not_a_frame": 10}
    finally:
        tracemalloc.stop()


# Draining


def test_draining_answers_everything_that_has_come(run):
    """Also what is still in the socket, what has to wait, and what connections sent that are not accepted yet."""
    running = run(max_in_flight=2)
    wire, idle, half = running.connect(), running.connect(), running.connect()
    session_id = create(wire, type="waiting")
    half.call("ping")
    with running.served.hung():
        late = [running.connect() for _ in range(20)]
        for each in late:
            each.send(request(1, "ping"))
        wire.send(
            *(request(number, "touch_session", session_id) for number in range(800)),
            *(request(number, "get_session", session_id) for number in range(800, 804)),
            *(request(number, "touch_session", session_id) for number in range(804, 1000)),
        )
        half.send(request(1, "ping"), request(2, "ping")[:-1])
        for each in (*late, wire, half):
            all_arrived(each)
        drained = running.drain()
    assert idle.rest() == []
    assert half.rest() == [[1, 1, None, "pong"]]
    assert [each.rest() for each in late] == [[[1, 1, None, "pong"]]] * 20
    for _ in range(4):
        assert not drained.done()
        running.release(running.held.get(timeout=PATIENCE))
    answers = wire.rest()
    assert sorted(answer[1] for answer in answers) == [*range(1000)]
    for each in (idle, half, *late, wire):
        each.close()
    drained.result(PATIENCE)
    assert running.closed_for == {}
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_draining_does_not_wait_for_clients_that_have_gone(run):
    """Such as one whose end, or whose reset, comes together with the signal."""
    running = run(max_connections=3)
    one, two = running.connect(), running.connect()
    assert one.call("ping") == two.call("ping") == "pong"
    with running.served.hung():
        one.close()
        two.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        two.close()
        extra = [running.connect() for _ in range(5)]
        drained = running.drain()
    for each in extra:
        each.rest()
        each.close()
    drained.result(PATIENCE)


def test_draining_gives_up_a_client_that_does_not_read(run):
    running = run(write_buffer=100_000, drain_timeout=0.05)
    slow_reader(running, 1000)
    drained = running.drain()
    drained.result(PATIENCE)
    assert running.closed_for == {"drain_timeout": 1}
