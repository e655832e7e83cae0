"""How the threads that share a connection take turns at reading it."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sessiond.actors.errors import Unavailable
from sessiond.transport import client_requests as requests
from sessiond.transport.client_link import Link, Waiter
from sessiond.transport.codec import MAX_FRAME, encode_result

PATIENCE = 20


@pytest.fixture
def ends():
    """Both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with theirs:
        yield ours, theirs
    ours.close()


@pytest.fixture
def link(ends):
    return Link(ends[0], threading.Lock(), lambda _: None, lambda: None, print)


@pytest.fixture
def peer(ends):
    return ends[1]


def waiter(msgid, seconds=PATIENCE, request=None):
    return Waiter(request or requests.ping(), msgid, time.monotonic() + seconds)


class Watched(queue.SimpleQueue):
    """Tells when somebody waits for what comes."""

    def __init__(self):
        self.is_waiting = threading.Event()

    def get(self, *args, **options):
        self.is_waiting.set()
        return super().get(*args, **options)


def test_a_thread_alone_reads_for_itself(link, peer):
    """Nobody hands it its answer."""
    one = waiter(1)
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(lambda: (peer.recv(100), peer.sendall(encode_result(1, "pong")))[0])
        assert link.exchange(one).msgid == 1
        assert sent.result(PATIENCE) == one.frame
    assert one.inbox.empty()
    assert not link._waiters
    assert link._leader is None


def test_the_leader_hands_out_answers_and_then_the_lead(link, peer):
    """One thread reads for two others; when it leaves, one of those reads for the other."""
    leader, *others = waiters = [waiter(msgid) for msgid in (1, 2, 3)]
    for each in waiters:
        link._join(each)
        each.inbox = Watched()
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(link._wait, each) for each in others]
        for each in others:
            assert each.inbox.is_waiting.wait(PATIENCE)
        peer.sendall(encode_result(1, None))
        assert link._wait(leader).msgid == 1
        link._leave(leader)
        assert link._leader is others[0]
        peer.sendall(encode_result(3, None) + encode_result(2, None))
        assert [answer.result(PATIENCE).msgid for answer in answers] == [2, 3]


def test_the_lead_goes_to_a_thread_that_can_take_it(link):
    """One that is still sending cannot read for others; it takes the lead itself once it has sent."""
    leader, sending = waiter(1), waiter(2, seconds=0)
    for each in (leader, sending):
        link._join(each)
    link._leave(leader)
    assert link._leader is None
    with pytest.raises(TimeoutError):
        link._wait(sending)
    assert link._leader is sending


def test_a_lost_connection_is_closed_by_the_last_to_leave(link, ends):
    """A descriptor that is closed under a thread that polls it may soon be another connection's."""
    ours, _ = ends
    one, other = waiter(1), waiter(2)
    for each in (one, other):
        link._join(each)
    link.fail("for a test")
    link._leave(one)
    assert ours.fileno() != -1
    link._leave(other)
    assert ours.fileno() == -1


def test_an_idle_connection_is_closed_at_once(link, ends):
    """Nobody polls it."""
    link.fail("for a test")
    assert ends[0].fileno() == -1


def test_an_answer_may_come_before_its_thread_waits(link, peer):
    """Whoever leads meanwhile leaves it for that thread, which then need not lead."""
    leader, late = waiter(1), waiter(2)
    for each in (leader, late):
        link._join(each)
    peer.sendall(encode_result(2, None) + encode_result(1, None))
    link._wait(leader)
    link._leave(leader)
    assert link._wait(late).msgid == 2
    assert link._leader is None


def test_a_leader_that_gives_up_hands_on_the_lead(link, peer):
    """Its answer, should it come, is nobody's."""
    hasty, patient = waiter(1, seconds=0), waiter(2)
    for each in (hasty, patient):
        link._join(each)
    patient.inbox = Watched()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(link._wait, patient)
        assert patient.inbox.is_waiting.wait(PATIENCE)
        with pytest.raises(TimeoutError):
            link._wait(hasty)
        link._leave(hasty)
        peer.sendall(encode_result(1, None) + encode_result(2, None))
        assert answer.result(PATIENCE).msgid == 2


def test_the_lead_is_not_lost_with_a_thread_that_gives_up(link, peer):
    """A thread that was handed the lead at the moment when its time ran out passes it on."""
    leader, hasty, patient = waiters = [waiter(1), waiter(2, seconds=0), waiter(3)]
    for each in waiters:
        link._join(each)
    hasty.is_waiting = patient.is_waiting = True
    link._leave(leader)
    assert link._leader is hasty
    with pytest.raises(TimeoutError):
        link._wait(hasty)
    link._leave(hasty)
    peer.sendall(encode_result(3, None))
    assert link._wait(patient).msgid == 3


def test_a_lost_connection_wakes_everybody(link, peer):
    """The leader notices; all the others are told."""
    waiters = [waiter(msgid) for msgid in range(5)]
    with ThreadPoolExecutor(5) as threads:
        exchanges = [threads.submit(link.exchange, each) for each in waiters]
        sent = b""
        while len(sent) < sum(len(each.frame) for each in waiters):
            sent += peer.recv(1000)
        peer.close()
        for exchange in exchanges:
            with pytest.raises(ConnectionError):
                exchange.result(PATIENCE)
    with pytest.raises(ConnectionError):
        link.exchange(waiter(9))


def test_a_connection_that_was_closed_while_idle_is_noticed_before_sending(link, peer):
    """So the request is not sent, and can be sent elsewhere whatever it is."""
    peer.close()
    one = waiter(1)
    with pytest.raises(ConnectionError):
        link.exchange(one)
    assert not one.request.is_sent


def test_what_may_not_be_sent_is_not(ends):
    """The journal has the last word, and the connection goes on."""

    def refuse(request):
        raise Unavailable("no")

    link = Link(ends[0], threading.Lock(), refuse, lambda: None, print)
    with pytest.raises(Unavailable):
        link.exchange(waiter(1))
    assert link.lost is None
    assert not link._waiters


def large(msgid, seconds):
    return waiter(msgid, seconds, requests.call("call", ["x" * (MAX_FRAME - 100)]))


def fill(connection) -> int:
    """Send until the other end, which does not read, takes no more; how many bytes it took."""
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += connection.send(bytes(100_000))
    return filled


def write(link, waiter):
    link._write(waiter.frame, waiter)


def test_half_a_request_ends_the_connection(link):
    """Whatever followed would be taken for its other half."""
    with contextlib.suppress(TimeoutError):
        while True:
            write(link, large(1, seconds=0))
    assert link.lost is not None


def test_a_request_that_could_not_be_begun_leaves_the_connection(link, ends):
    """Its time ran out before the first byte of it was sent."""
    fill(ends[0])
    with pytest.raises(TimeoutError):
        write(link, waiter(1, seconds=0))
    assert link.lost is None


def test_a_request_is_sent_in_as_many_pieces_as_it_takes(link, ends):
    """Whenever the other end has read something, some more of it is sent."""
    ours, theirs = ends
    one = large(1, PATIENCE)
    filled = fill(ours)

    def read():
        received = b""
        while len(received) < filled + len(one.frame):
            received += theirs.recv(1_000_000)
        return received[filled:]

    with ThreadPoolExecutor(1) as threads:
        received = threads.submit(read)
        write(link, one)
        assert received.result(PATIENCE) == one.frame


def test_a_connection_that_cannot_be_written_to_is_lost(link, ends):
    """The system's error says why."""
    ends[0].shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError, match="Broken pipe"):
        write(link, waiter(1))
    assert link.lost is not None


def test_a_connection_that_is_reset_is_lost(link, ends):
    """The system's error says why."""
    _, theirs = ends
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with pytest.raises(ConnectionError, match="reset"):
        link._receive(None)


def test_nothing_to_read_is_nothing_lost(link):
    """Readiness may be spurious."""
    assert link._receive(None) is None
    assert link.lost is None


def test_sending_waits_its_turn(link):
    """For as long as the request has time."""
    link._sending.acquire()
    with pytest.raises(TimeoutError):
        link.exchange(waiter(1, seconds=0))
    assert link.lost is None
