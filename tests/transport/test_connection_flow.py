"""One connection, step by step on a loop that stands still: what is read, written, waited for, and for how long."""

from __future__ import annotations

import pytest
from still_loop import connected
from wire import notification, request

from sessiond.transport.connection import BATCH_REQUESTS, LINGER
from sessiond.transport.responder import ANSWERS_PER_WRITE


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch):
    """On a busy machine a turn of the loop may be over before it has begun."""
    monkeypatch.setattr("sessiond.transport.connection.BATCH_SECONDS", 60.0)


@pytest.fixture
def connection():
    """A connection under the limits of the default configuration, and what is around it."""
    made = connected()
    yield made
    made.socket.drop()


@pytest.fixture
def limited():
    """Make a connection under other limits."""
    made = []

    def make(**limits):
        made.append(connected(**limits))
        return made[-1]

    yield make
    for each in made:
        each.socket.drop()


def pings(*msgids):
    return b"".join(request(msgid, "ping") for msgid in msgids)


def gets(*msgids):
    """Requests whose answers are pending."""
    return b"".join(request(msgid, "get_session", f"session {msgid}") for msgid in msgids)


HALF = request(99, "ping")[:-1]
"""A frame but for its last byte."""


# Order and batches


def test_the_answers_to_what_came_in_one_read_are_written_in_one_piece(connection):
    connection.receive(pings(*range(ANSWERS_PER_WRITE)))
    assert len(connection.socket.written) == 1
    assert connection.answers == [*range(ANSWERS_PER_WRITE)]


def test_the_answers_to_very_many_are_written_in_several(connection):
    """So that the client works on the first of them meanwhile."""
    connection.receive(pings(*range(3 * ANSWERS_PER_WRITE - 1)))
    assert len(connection.socket.written) == 3
    assert connection.answers == [*range(3 * ANSWERS_PER_WRITE - 1)]


def test_a_request_is_answered_when_its_last_byte_has_come(connection):
    frame = pings(1)
    for at in range(len(frame)):
        assert connection.answers == []
        connection.receive(frame[at : at + 1])
    assert connection.answers == [1]


def test_frames_that_overlap_reads(connection):
    stream = pings(*range(50))
    for at in range(0, len(stream), 37):
        connection.receive(stream[at : at + 37])
    assert connection.answers == [*range(50)]


def test_requests_are_done_in_the_order_they_came(connection):
    stream = b"".join(request(number, "touch_session", str(number)) for number in range(1000))
    connection.receive(stream)
    connection.loop.settle()
    assert connection.registry.asked == [str(number) for number in range(1000)]
    assert connection.answers == [*range(1000)]


def test_a_request_that_holds_the_beginning_of_another_is_one_request(connection):
    connection.receive(request(1, "ping"), request(2, "get_session", b"\x94\x00\x01\xa4ping\x90"), request(3, "ping"))
    assert connection.answers == [1, 2, 3]


def test_one_read_is_worked_off_in_batches(connection):
    """Between them the loop comes round to other connections, and meanwhile no more is read of this one."""
    connection.receive(pings(*range(2 * BATCH_REQUESTS + 10)))
    assert connection.answers == [*range(BATCH_REQUESTS)]
    assert not connection.socket.is_reading
    connection.loop.turn()
    assert connection.answers == [*range(2 * BATCH_REQUESTS)]
    assert not connection.socket.is_reading
    connection.loop.turn()
    assert connection.answers == [*range(2 * BATCH_REQUESTS + 10)]
    assert connection.socket.is_reading


def test_a_big_answer_is_written_at_once(connection):
    """So that the limit of the write buffer counts each of them."""
    connection.receive(*(request(msgid, "list_sessions") for msgid in range(3)))
    assert len(connection.socket.written) == 3


def test_stray_responses_and_notifications_are_not_answered(connection):
    connection.receive(b"\x94\x01\x05\xc0\xa1x", notification("ping"), pings(1), notification("nope"), b"\x91\x01")
    connection.receive(b"\x94\x01\x05\xc0\xa1x")
    connection.receive(notification("touch_session", "x"))
    assert connection.answers == [1]
    assert connection.registry.asked == ["x"]
    assert connection.socket.state == "open"


# Pending answers


def test_pending_answers_are_overtaken(connection):
    connection.receive(gets(1), pings(2), gets(3), pings(4))
    assert connection.answers == [2, 4]
    connection.registry.pending[1].set("late")
    connection.registry.pending[0].set("later")
    connection.end_round()
    assert connection.answers == [2, 4, 3, 1]


def test_at_so_many_pending_answers_reading_stops(limited):
    """And goes on when there are fewer."""
    connection = limited(max_in_flight=3)
    connection.receive(gets(1, 2, 3, 4, 5), pings(6))
    assert len(connection.registry.pending) == 3
    assert not connection.socket.is_reading
    connection.registry.pending[1].set("first")
    connection.loop.settle()
    assert len(connection.registry.pending) == 4
    assert not connection.socket.is_reading
    connection.registry.pending[0].set("second")
    connection.loop.settle()
    assert len(connection.registry.pending) == 5
    assert not connection.socket.is_reading
    connection.registry.pending[4].set("third")
    connection.loop.settle()
    assert connection.socket.is_reading
    assert connection.answers == [2, 1, 5, 6]


def test_a_client_that_does_not_pipeline_is_stopped_as_well(limited):
    connection = limited(max_in_flight=2)
    connection.receive(gets(1))
    assert connection.socket.is_reading
    connection.receive(gets(2))
    assert not connection.socket.is_reading
    connection.registry.pending[0].set("x")
    connection.loop.settle()
    assert connection.socket.is_reading


def test_pending_answers_to_a_client_that_is_gone_are_dropped(connection):
    connection.receive(gets(1, 2))
    connection.registry.pending[0].set("x")
    connection.end_round()
    connection.socket.abort()
    connection.loop.settle()
    connection.registry.pending[1].set("x")
    connection.end_round()
    assert connection.answers == [1]
    assert not connection.is_joined


def test_what_cannot_be_encoded_is_a_crash_of_that_request_only(connection):
    connection.registry.touch = object
    connection.receive(request(1, "touch_session", "x"), gets(2), pings(3))
    connection.receive(request(4, "touch_session", "x"))
    connection.registry.pending[0].set(object())
    connection.end_round()
    assert connection.answers == [1, 3, 4, 2]
    assert [type(error) for error in connection.crashes] == [TypeError] * 3


# A client that does not read


def test_a_client_that_does_not_read_its_answers_gets_no_more_work_done(limited):
    connection = limited(write_buffer=20_000)
    connection.socket.is_stuck = True
    connection.receive(*(request(msgid, "list_sessions") for msgid in range(20)), pings(20))
    connection.loop.settle()
    assert connection.answers == [0, 1, 2, 3]
    assert not connection.socket.is_reading
    connection.socket.read_by_client()
    connection.loop.settle()
    assert connection.answers == [*range(21)]
    assert connection.socket.is_reading
    connection.loop.pass_time(100)
    assert connection.socket.state == "open"


def test_a_client_that_does_not_read_its_answers_is_given_up(limited):
    connection = limited(write_buffer=20_000, write_timeout=30)
    connection.socket.is_stuck = True
    connection.receive(*(request(msgid, "list_sessions") for msgid in range(20)))
    connection.loop.pass_time(29.9)
    assert connection.socket.state == "open"
    connection.loop.pass_time(0.2)
    assert connection.socket.state == "aborted"
    assert connection.closed_for == ["write_timeout"]
    assert not connection.is_joined
    assert connection.loop.timers == 0


# A frame that does not come to its end


def test_a_frame_has_its_time_and_no_more(connection):
    connection.receive(pings(1) + HALF)
    connection.loop.pass_time(2.9)
    assert connection.socket.state == "open"
    assert not connection.socket.has_written_eof
    connection.loop.pass_time(0.2)
    assert connection.socket.has_written_eof
    assert connection.closed_for == ["frame_timeout"]
    assert connection.answers == [1]


def test_each_frame_has_its_own_time(connection):
    """However long a client goes on without a pause between two of them."""
    connection.receive(HALF)
    for _ in range(10):
        connection.loop.pass_time(2.5)
        connection.receive(b"\x90" + HALF)
    assert connection.answers == [99] * 10
    connection.loop.pass_time(2.9)
    assert not connection.socket.has_written_eof
    connection.loop.pass_time(0.2)
    assert connection.socket.has_written_eof


def test_a_frame_that_comes_byte_by_byte_has_no_more_time(connection):
    for at in range(5):
        connection.receive(HALF[at : at + 1])
        connection.loop.pass_time(0.7)
    assert connection.socket.has_written_eof


def test_an_idle_connection_is_left_alone(connection):
    connection.receive(pings(1) + HALF)
    connection.loop.pass_time(1)
    connection.receive(b"\x90")
    connection.loop.pass_time(1e6)
    assert connection.socket.state == "open"
    assert connection.loop.timers == 0


def test_a_frame_has_more_time_while_nothing_is_read(limited):
    """Its end may be in the socket."""
    connection = limited(max_in_flight=1)
    connection.receive(HALF)
    connection.loop.pass_time(1)
    connection.receive(b"\x90" + gets(1, 2) + HALF)
    connection.loop.pass_time(100)
    assert not connection.socket.has_written_eof
    connection.registry.pending[0].set("x")
    connection.loop.settle()
    connection.registry.pending[1].set("x")
    connection.loop.settle()
    assert connection.socket.is_reading
    connection.loop.pass_time(2.9)
    assert not connection.socket.has_written_eof
    connection.loop.pass_time(3.1)
    assert connection.socket.has_written_eof


# Bad bytes

BAD = {
    "no MessagePack": b"\xc1",
    "no message": b"\x93\x03\xa1x\x90",
    "bad inside": b"\x94\x00\x07\xa4ping\x91\xd4\x05\x00",
    "bad inside a notification": b"\x93\x02\xa4ping\x91\xa2\xc0\x80",
    "parameters no array": b"\x94\x00\x07\xa4ping\x80",
}


@pytest.mark.parametrize("bad", BAD)
def test_what_came_before_bad_bytes_is_answered_and_nothing_after(connection, bad):
    connection.receive(
        pings(1), notification("touch_session", "before"), BAD[bad], request(2, "touch_session", "after")
    )
    connection.loop.settle()
    assert connection.answers == [1]
    assert connection.registry.asked == ["before"]
    assert connection.socket.has_written_eof
    assert connection.closed_for == ["not_a_frame"]
    connection.receive(request(3, "touch_session", "after"))
    connection.loop.settle()
    assert connection.registry.asked == ["before"]
    connection.loop.pass_time(LINGER)
    assert connection.socket.state == "closed"
    assert not connection.is_joined


@pytest.mark.parametrize("bad", BAD)
def test_bad_bytes_in_a_read_of_their_own(connection, bad):
    connection.receive(BAD[bad])
    connection.loop.settle()
    assert connection.socket.has_written_eof
    connection.connection.eof_received()
    connection.loop.settle()
    assert connection.socket.state == "closed"
    assert connection.loop.timers == 0


def test_answers_that_are_pending_come_before_the_end(connection):
    connection.receive(gets(1), pings(2), b"\xc1", gets(3))
    connection.loop.pass_time(60)
    assert not connection.socket.has_written_eof
    connection.registry.pending[0].set("x")
    connection.loop.settle()
    assert connection.answers == [2, 1]
    assert connection.socket.has_written_eof
    assert len(connection.registry.pending) == 1


def test_bad_bytes_behind_a_client_that_does_not_read(limited):
    """Their end comes after its answers, and nothing behind them is done once it reads on."""
    connection = limited(write_buffer=10_000)
    connection.socket.is_stuck = True
    connection.receive(*(request(msgid, "list_sessions") for msgid in range(5)), b"\xc1", pings(9))
    connection.loop.settle()
    connection.socket.read_by_client()
    connection.loop.settle()
    assert connection.answers == [*range(5)]
    assert connection.socket.has_written_eof


# Ends


def test_a_client_that_sends_its_end_gets_its_answers(connection):
    connection.receive(pings(*range(2 * BATCH_REQUESTS)), gets(9999), HALF)
    connection.connection.eof_received()
    connection.loop.settle()
    assert connection.answers == [*range(2 * BATCH_REQUESTS)]
    assert connection.socket.state == "open"
    connection.registry.pending[0].set("x")
    connection.loop.settle()
    assert connection.answers[-1] == 9999
    assert connection.socket.state == "closed"
    assert connection.loop.timers == 0


def test_a_client_that_sends_its_end_and_reads_nothing_is_given_up(limited):
    connection = limited(write_timeout=30)
    connection.socket.is_stuck = True
    connection.receive(pings(1))
    connection.connection.eof_received()
    connection.loop.pass_time(29)
    assert connection.socket.state == "closing"
    connection.loop.pass_time(1)
    assert connection.socket.state == "aborted"
    assert connection.closed_for == ["write_timeout"]


def test_draining_answers_what_has_been_received(connection):
    """Half of it has been read, and the other half is in the socket."""
    connection.receive(pings(*range(2 * BATCH_REQUESTS)), gets(1000), pings(1001)[:5])
    connection.socket.put_into_kernel(pings(1001)[5:] + gets(1002) + pings(1003))
    connection.connection.drain()
    connection.socket.put_into_kernel(pings(2000))
    connection.loop.settle()
    assert connection.socket.is_reading
    connection.receive(connection.socket.take_from_kernel())
    connection.loop.settle()
    for pending in connection.registry.pending:
        assert not connection.socket.has_written_eof
        pending.set("x")
        connection.loop.settle()
    assert connection.answers == [*range(2 * BATCH_REQUESTS), 1001, 1003, 1000, 1002]
    assert connection.socket.has_written_eof


def test_draining_an_idle_connection_sends_the_end(connection):
    connection.connection.drain()
    connection.loop.settle()
    assert connection.socket.has_written_eof
    connection.connection.eof_received()
    connection.loop.settle()
    assert connection.socket.state == "closed"
    assert connection.loop.timers == 0


def test_what_comes_after_the_drain_is_dropped(connection):
    """Read, or closing would reset the connection and might take the last answers with it."""
    connection.receive(HALF)
    connection.connection.drain()
    connection.loop.settle()
    connection.receive(b"\x90" + pings(1))
    connection.loop.settle()
    assert connection.answers == []
    connection.loop.pass_time(LINGER)
    assert connection.socket.state == "closed"


def test_draining_twice_or_after_an_end_changes_nothing(connection):
    connection.receive(b"\xc1")
    connection.socket.put_into_kernel(pings(1))
    connection.connection.drain()
    connection.connection.drain()
    connection.loop.settle()
    connection.receive(connection.socket.take_from_kernel())
    connection.loop.settle()
    assert connection.answers == []
    assert connection.socket.has_written_eof


def test_draining_waits_for_a_client_that_does_not_read(limited):
    connection = limited(write_buffer=10_000)
    connection.socket.is_stuck = True
    connection.receive(*(request(msgid, "list_sessions") for msgid in range(5)))
    connection.socket.put_into_kernel(pings(5))
    connection.connection.drain()
    connection.loop.settle()
    assert not connection.socket.is_reading
    connection.socket.read_by_client()
    connection.loop.settle()
    connection.receive(connection.socket.take_from_kernel())
    connection.loop.settle()
    assert connection.answers == [*range(6)]
    assert connection.socket.has_written_eof


def test_requests_that_are_much_work_leave_the_loop_to_others_in_between(connection, monkeypatch):
    """However few they are: what counts is the time that they took."""
    monkeypatch.setattr("sessiond.transport.connection.BATCH_SECONDS", -1.0)
    connection.receive(*(request(msgid, "list_sessions") for msgid in (1, 2, 3)))
    assert connection.answers == [1]
    assert not connection.socket.is_reading
    connection.loop.settle()
    assert connection.answers == [1, 2, 3]
    assert connection.socket.is_reading


def test_a_failed_request_is_counted_as_answered_and_as_failed_at_the_same_moment(connection):
    """Else those that succeeded, which are the rest, would for a moment be fewer than before."""
    tally = connection.observed.methods["ping"]
    connection.connection.data_received(request(1, "ping", "too", "much"))
    assert (sum(tally.buckets), sum(tally.errors.values())) == (0, 0)
    connection.end_round()
    assert (sum(tally.buckets), sum(tally.errors.values())) == (1, 1)


def test_what_was_answered_is_counted_though_the_client_is_gone(limited):
    """An answer that could not be sent was given all the same."""
    gone = limited()
    gone.connection.data_received(request(1, "ping"))
    gone.receive(gets(2))
    gone.connection.data_received(request(3, "ping"))
    gone.connection.connection_lost(None)
    gone.end_round()
    assert gone.registry.pending[0].is_abandoned
    assert sum(gone.observed.methods["ping"].buckets) == 2
    gone.registry.pending[0].set("late")
    gone.end_round()
    assert sum(gone.observed.methods["get_session"].buckets) == 1
