"""``watch`` on the wire: what comes after the answer, when, and to whom."""

from __future__ import annotations

import gc
import weakref

import msgpack
import pytest
from still_service import still_service
from viewers import lasting, viewing

from sessiond.actors.events import SessionChanged
from sessiond.actors.settings import WatchSettings
from sessiond.transport.settings import Limits
from sessiond.transport.watch_methods import MAX_WATCHES_PER_CONNECTION

BACKLOG = 50


@pytest.fixture
def service():
    with still_service(watching=WatchSettings(backlog=BACKLOG)) as running:
        yield running


def sent(socket):
    """The messages that were sent since the last time."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(b"".join(socket.written))
    socket.written.clear()
    return list(unpacker)


def ask(service, socket, method, *params):
    """The error and the result of a request on a connection on which nothing else comes meanwhile."""
    socket.protocol.data_received(msgpack.packb([0, 1, method, params]))
    service.loop.settle()
    (answer,) = sent(socket)
    return answer[2], answer[3]


def test_the_answer_comes_first_then_what_there_is_then_the_changes(service):
    (session_id,) = service.create(1)
    service.receive(msgpack.packb([0, 7, "watch", [{"type": "sip"}]]))
    answer, shown, ready = sent(service.socket)
    watched = answer[3]
    assert answer[:3] == [1, 7, None]
    assert (watched["instance"], watched["gap"]) == (service.context.instance, False)
    session = service.context.directory.by_id[session_id].get()
    assert shown[:2] == [2, "session_changed"]
    assert {name: shown[2][0][name] for name in ("watch", "number", "matches", "snapshot")} == {
        "watch": watched["watch"],
        "number": watched["number"],
        "matches": True,
        "snapshot": True,
    }
    assert shown[2][0]["session"]["id"] == session.id
    assert ready == [2, "watch_ready", [{"watch": watched["watch"], "number": watched["number"]}]]
    service.receive(msgpack.packb([0, 8, "end_session", [session_id]]))
    answer, ended = sent(service.socket)
    assert (answer[1], ended[1]) == (8, "session_changed")
    assert set(ended[2][0]) == {"watch", "number", "session", "matches"}
    assert (ended[2][0]["number"], ended[2][0]["matches"]) == (watched["number"] + 1, False)


def test_all_that_one_turn_changes_is_told_in_one_write_behind_the_answers(service):
    ids = service.create(20)
    service.receive(msgpack.packb([0, 1, "watch", [{"snapshot": False}]]))
    sent(service.socket)
    with viewing(service, {"state": "ringing"}) as (viewer,):
        service.loop.settle()
        viewer.take()
        service.receive(b"".join(msgpack.packb([0, 1, "update_session_state", [each, "ringing"]]) for each in ids))
        assert len(viewer.socket.written) == 1
        assert len(service.socket.written) == 2
        kinds = [message[0] for message in sent(service.socket)]
        assert kinds == [1] * 20 + [2] * 20


def test_changes_of_gateways_are_told(service):
    service.receive(msgpack.packb([0, 1, "watch", [{"snapshot": False}]]))
    watched = sent(service.socket)[0][3]
    service.context.recording.gateway_changed("gw", None, "lost")
    service.loop.settle()
    told = {"watch": watched["watch"], "number": watched["number"] + 1, "gateway": "gw", "epoch": None, "state": "lost"}
    assert sent(service.socket) == [[2, "gateway_changed", [told]]]


def test_a_watch_ends_when_its_client_says_so(service):
    _, watched = ask(service, service.socket, "watch", {"snapshot": False})
    other = service.connect()
    assert ask(service, other, "unwatch", watched["watch"])[0][2] == {"code": "not_found", "watch": watched["watch"]}
    ask(service, other, "watch", {"snapshot": False})
    assert ask(service, other, "unwatch", watched["watch"])[0][2] == {"code": "not_found", "watch": watched["watch"]}
    assert ask(service, service.socket, "unwatch", watched["watch"]) == (None, {})
    service.receive(msgpack.packb([0, 1, "create_session", [{"type": "sip"}]]))
    assert len(sent(service.socket)) == 1
    assert ask(service, service.socket, "unwatch", watched["watch"])[0][2]["code"] == "not_found"
    other.protocol.connection_lost(None)
    other.drop()


def test_a_watch_ends_with_its_connection(service):
    with viewing(service, {}, {"type": "sip"}):
        service.loop.settle()
        assert service.context.tally.watchers == 2
    assert service.context.tally.watchers == 0
    service.create(1)
    assert service.context.tally.watchers_dropped == {}


def test_a_connection_that_watched_is_freed_without_the_collector(service):
    socket = service.connect()
    ask(service, socket, "watch", {"snapshot": False})
    watcher = weakref.ref(socket.protocol.peer().watcher)
    connection = weakref.ref(socket.protocol)
    gc.collect()
    gc.disable()
    try:
        socket.protocol.connection_lost(None)
        socket.drop()
        socket.protocol = None
        service.loop.settle()
        assert (watcher(), connection()) == (None, None)
    finally:
        gc.enable()


def test_a_connection_has_so_many_watches(service):
    for _ in range(MAX_WATCHES_PER_CONNECTION):
        _, watched = ask(service, service.socket, "watch", {"snapshot": False})
    error, _ = ask(service, service.socket, "watch", {"snapshot": False})
    assert error[2] == {"code": "limit_exceeded", "limit": "watches_per_connection", "maximum": 16}
    ask(service, service.socket, "unwatch", watched["watch"])
    assert ask(service, service.socket, "watch", {"snapshot": False})[0] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"suspect": True}, "suspect"),
        ({"from": 3}, "instance"),
        ({"instance": "x"}, "from"),
        ({"from": -1, "instance": "x"}, "from"),
        ({"from": "3", "instance": "x"}, "from"),
        ({"since": 3}, "since"),
        ({"state": "ended"}, "state"),
        ({"snapshot": None}, "snapshot"),
        ({"limit": 3}, "limit"),
        (3, "query"),
    ],
)
def test_a_wrong_query_is_refused(service, query, field):
    error, _ = ask(service, service.socket, "watch", query)
    assert error[2] == {"code": "invalid_request", "field": field}
    assert service.context.recording is None


# Slow ones


def stick(viewer):
    """The viewer reads nothing any more; what is sent fills the buffer of its connection."""
    viewer.socket.is_stuck = True


def flood(service, ids, turns=1):
    """Change ten sessions in each of so many turns."""
    for _ in range(turns):
        metadata = {"after": service.context.changes.last, "filling": "x" * 2000}
        frames = [msgpack.packb([0, 1, "update_session_metadata", [each, metadata]]) for each in ids]
        service.receive(b"".join(frames))
        sent(service.socket)


def fill(service, ids, slow):
    """Change sessions until the buffer of a slow watcher's connection is full; how many changes that took."""
    changes = 0
    while slow.socket.protocol.is_writable:
        flood(service, ids)
        changes += len(ids)
    return changes


def test_a_slow_watcher_is_told_and_dropped_and_others_lose_nothing(service):
    ids = service.create(10)
    with viewing(service, {}, {}) as (slow, quick):
        service.loop.settle()
        slow.take()
        stick(slow)
        fill(service, ids, slow)
        flood(service, ids, BACKLOG // len(ids) + 1)
        quick.take()
        assert service.context.tally.watchers_dropped == {"behind": 1}
        assert slow.unread < Limits().write_buffer * 1.3
        last = slow.sent()[-1]
        assert (last[1], last[2][0]["reason"]) == ("watch_dropped", "behind")
        assert {each.version for each in quick.mirror.sessions.values()} == {
            service.context.directory.by_id[ids[0]].record.version
        }
        assert quick.snapshots == 1
        # It reads on, and goes on by itself from where it was.
        slow.socket.read_by_client()
        while slow.unread:
            slow.take()
            service.loop.settle()
        assert (slow.snapshots, slow.gaps) == (1, 0)
        assert slow.mirror.sessions == quick.mirror.sessions


def test_a_slow_watcher_that_reads_on_in_time_goes_on_at_once(service):
    ids = service.create(10)
    with viewing(service, {}) as (slow,):
        service.loop.settle()
        stick(slow)
        changes = fill(service, ids, slow) + 2 * len(ids)
        flood(service, ids, 2)
        slow.take()
        slow.socket.read_by_client()
        service.loop.settle()
        slow.take()
        numbers = [event.number for event in slow.events if isinstance(event, SessionChanged) and not event.snapshot]
        assert numbers == list(range(numbers[0], numbers[0] + changes))
        assert service.context.tally.watchers_dropped == {}


def test_a_watcher_that_reads_nothing_for_too_long_is_dropped_before_its_connection_is(service):
    ids = service.create(10)
    with viewing(service, {}) as (slow,):
        service.loop.settle()
        stick(slow)
        fill(service, ids, slow)
        flood(service, ids)
        for _ in range(12):
            service.clock.advance(1)
            service.loop.pass_time(1)
        assert service.context.tally.watchers_dropped == {"stalled": 1}
        assert slow.socket.state == "open"
        slow.socket.read_by_client()
        while slow.unread:
            slow.take()
            service.loop.settle()
        assert {id: lasting(session) for id, session in slow.mirror.sessions.items()} == {
            id: lasting(service.context.directory.by_id[id].get()) for id in ids
        }


def test_requests_are_answered_between_the_steps_of_a_flood(service):
    """Every turn of the loop does a bounded part of what is to be told, and what is asked meanwhile."""
    service.create(1000)
    with viewing(service, {}, {}, {}) as viewers:
        while True:
            before = [viewer.unread for viewer in viewers]
            service.connection.data_received(msgpack.packb([0, 1, "ping", []]))
            service.loop.turn()
            service.loop.turn()
            assert sent(service.socket) == [[1, 1, None, "pong"]]
            told = [viewer.unread for viewer in viewers]
            if told == before:
                break
        for viewer in viewers:
            viewer.take()
            assert len(viewer.mirror.sessions) == 1000
            assert viewer.mirror.is_complete


def test_a_draining_service_closes_the_connections_of_watchers(service):
    with viewing(service, {}) as (viewer,):
        service.loop.settle()
        viewer.socket.protocol.drain()
        service.loop.settle()
        service.create(1)
        assert viewer.socket.has_written_eof
        service.loop.pass_time(2)
        assert viewer.socket.state == "closed"
        assert service.context.tally.watchers == 0
        viewer.socket.drop()
        viewer.connect()
