"""All sinks at once, each on its thread: none holds up another, and a crash sends again what may not have been had."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path

import pytest
from receivers import receiver
from runtimes import PATIENCE

from sessiond.records import delivery
from sessiond.records.delivery import ALL, Delivery
from sessiond.records.settings import FileSink, RecordSettings, WebhookSink
from sessiond.records.sink import SinkError


class Store:
    """Keeps positions, on the thread of the test."""

    def __init__(self):
        self.posted = queue.SimpleQueue()
        self.values = {}
        self.purged = []

    def post(self, callback):
        self.posted.put(callback)

    def put(self, name, value):
        self.values[name] = value
        return value

    def purge(self, ended_before, up_to):
        self.purged.append(up_to)

    def settle(self, name, value):
        """Run what is posted until a position has been put."""
        while self.values.get(name) != value:
            self.posted.get(timeout=PATIENCE)()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def server():
    with receiver() as served:
        yield served


@pytest.fixture
def file_sink(tmp_path):
    return FileSink(name="lines", path=str(tmp_path / "records.jsonl"))


@pytest.fixture
def webhook_sink(tmp_path, server):
    return WebhookSink(name="hook", url=server.url, dead_letters=str(tmp_path / "dead.jsonl"), timeout=60, batch=2)


@pytest.fixture
def start(kept, store):
    started = []

    def start(*sinks, keep=0.0, call_later=lambda *_: None):
        made = Delivery(RecordSettings(keep=keep), sinks, kept.path, store, store.post, call_later)
        started.append(made)
        made.start(store.values)
        return made

    yield start
    for made in started:
        made.stop()


def ids(path):
    return [json.loads(line)["id"] for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_every_sink_gets_every_record_and_its_position_is_kept(start, kept, store, server, file_sink, webhook_sink):
    sent = kept.add(5)
    start(file_sink, webhook_sink)
    store.settle("sink:lines", 15)
    store.settle("sink:hook", 15)
    assert ids(file_sink.path) == server.ids == sent


def test_new_records_are_delivered_as_soon_as_it_is_told_of_them(start, kept, store, file_sink, monkeypatch):
    """However long it is until the next look."""
    monkeypatch.setattr("sessiond.records.courier.LOOK", 3600.0)
    delivering = start(file_sink)
    for number in range(1, 4):
        sent = kept.add()
        delivering.wake()
        store.settle("sink:lines", 3 * number)
        assert ids(file_sink.path)[-1:] == sent


def test_a_sink_that_hangs_holds_up_no_other_and_no_stop(start, kept, store, server, file_sink, webhook_sink):
    server.answer = server.hang
    sent = kept.add(3)
    delivering = start(webhook_sink, file_sink)
    assert server.came.wait(PATIENCE)
    store.settle("sink:lines", 9)
    assert ids(file_sink.path) == sent
    assert delivering.position() == 0, "the hanging one has had none"
    stopping = threading.Thread(target=delivering.stop)
    stopping.start()
    stopping.join(PATIENCE)  # less than the 60 s that the request may take
    assert not stopping.is_alive()
    assert not any(thread.name.startswith("sink-") for thread in threading.enumerate())
    hook, lines = delivering.couriers
    assert (hook.delivered, hook.failures, hook.last_error) == (0, 0, None)
    assert lines.delivered == 3


def test_what_was_delivered_before_a_crash_kept_the_position_is_delivered_again(
    start, kept, store, server, webhook_sink
):
    """With the same ids, by which whoever gets them knows."""
    kept.add(4)
    first = start(webhook_sink)
    store.settle("sink:hook", 12)
    first.stop()
    store.values["sink:hook"] = 6  # what came later had been posted, and was not kept
    start(webhook_sink)
    store.settle("sink:hook", 12)
    assert server.ids == ["call-0003", "call-0006", "call-0009", "call-0012", "call-0009", "call-0012"]


def test_records_that_are_refused_become_dead_letters(start, kept, store, server, webhook_sink):
    sent = kept.add(6)
    server.answer = lambda request: 422 if sent[2] in request.ids else 200
    (courier,) = start(webhook_sink).couriers
    store.settle("sink:hook", 18)
    taken = [each for request in server.requests if sent[2] not in request.ids for each in request.ids]
    assert taken == [*sent[:2], *sent[3:]]
    (line,) = Path(webhook_sink.dead_letters).read_text(encoding="utf-8").splitlines()
    letter = json.loads(line)
    assert (letter["record"]["id"], letter["reason"]) == (sent[2], "HTTP status 422: ok")
    assert (courier.delivered, courier.dead) == (5, 1)


def test_what_may_be_deleted_is_what_all_have_had(start, kept, store, server, file_sink, webhook_sink):
    server.answer = lambda request: 200 if request.ids[0] == "call-0003" else server.hang(request)
    kept.add(4)
    timers = []
    delivering = start(file_sink, webhook_sink, keep=1.0, call_later=lambda _, callback: timers.append(callback))
    store.settle("sink:lines", 12)
    store.settle("sink:hook", 6)
    timers.pop()()
    store.posted.get(timeout=PATIENCE)()
    assert store.purged == [6]
    assert delivering.position() == 6


def test_without_sinks_everything_may_be_deleted(start):
    assert start().position() == ALL


def test_a_sink_that_cannot_be_used_is_named_and_nothing_runs(start, kept, file_sink, tmp_path):
    wrong = FileSink(name="other", path=str(tmp_path / "nowhere" / "x.jsonl"))
    with pytest.raises(SinkError, match=r"^sink other: .*x.jsonl cannot be written: No such file or directory$"):
        start(file_sink, wrong)
    assert not any(thread.name.startswith("sink-") for thread in threading.enumerate())


def test_a_crash_of_a_sink_is_logged_and_survived(start, kept, store, file_sink, monkeypatch, caplog):
    crashed = threading.Event()
    read = delivery.Reader.after

    def after(reader, number, most):
        if not crashed.is_set():
            crashed.set()
            raise ZeroDivisionError
        return read(reader, number, most)

    monkeypatch.setattr(delivery.Reader, "after", after)
    sent = kept.add()
    delivering = start(file_sink)
    assert crashed.wait(PATIENCE)
    delivering.wake()
    store.settle("sink:lines", 3)
    assert ids(file_sink.path) == sent
    assert "Crash in the sink lines" in caplog.text
    assert delivering.couriers[0].failures == 1


def test_a_thread_leaves_most_of_a_core_to_others(kept, file_sink, store, tmp_path):
    """After so much work it rests three times as long."""
    made = Delivery(RecordSettings(), [file_sink], kept.path, store, store.post, lambda *_: None)
    thread = delivery._CourierThread(made._courier(file_sink, 0))
    waits = []
    thread._stopping.wait = lambda seconds: waits.append(seconds) or True
    thread._rest(0.0, 0.02)
    thread._rest(1.0, 0.0)
    thread._rest(1.0, 0.2)
    assert waits == pytest.approx([0.06, delivery.GATHER, 0.6])
