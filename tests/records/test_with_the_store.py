"""Sinks beside the real store: what is acknowledged is delivered, and deleted only afterwards."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from kept_records import timeline
from receivers import receiver
from stored import ending, opened

from sessiond.records.delivery import Delivery
from sessiond.records.settings import FileSink, RecordSettings, WebhookSink


class Delivering:
    """A store and its sinks, wired as a service does it."""

    def __init__(self, stored, sinks, keep=0.0):
        self.stored = stored
        self.timers = []
        self.delivery = Delivery(
            RecordSettings(keep=keep),
            sinks,
            stored.store._path,
            stored.store,
            stored._posts.put,
            lambda _, callback: self.timers.append(callback),
        )

    def __enter__(self):
        self.delivery.start(self.stored.recovered.values)
        self.stored.store.call_when_filed(self.delivery.wake)
        return self

    def __exit__(self, *_):
        self.delivery.stop()
        self.stored.run_posted()  # positions that were posted until then

    def end(self, *seqs, at=3.0):
        """Have sessions end; the number of the last record, once it is kept."""
        for seq in seqs:
            position = self.stored.store.end(ending(seq, at=at)._replace(timeline=timeline()))
        self.stored.settle(position)
        return position

    def deliver(self, number, name):
        """Wait until a sink has had the records up to ``number``."""
        (courier,) = (each for each in self.delivery.couriers if each.name == name)
        self.stored.run_until(lambda: courier.position >= number)


@pytest.fixture
def server():
    with receiver() as served:
        yield served


@pytest.fixture
def sinks(tmp_path, server):
    return (
        FileSink(name="lines", path=str(tmp_path / "records.jsonl")),
        WebhookSink(name="hook", url=server.url, dead_letters=str(tmp_path / "dead.jsonl")),
    )


def written(sinks):
    return [json.loads(line)["id"] for line in Path(sinks[0].path).read_text().splitlines()]


def test_what_has_ended_gets_to_every_sink(tmp_path, sinks, server):
    with opened(tmp_path / "store.db") as stored, Delivering(stored, sinks) as delivering:
        last = delivering.end(1, 2, 3)
        for name in ("lines", "hook"):
            delivering.deliver(last, name)
    assert written(sinks) == server.ids == ["session-1", "session-2", "session-3"]


def test_authors_are_known_that_were_handed_over(tmp_path, sinks):
    with opened(tmp_path / "store.db") as stored, Delivering(stored, sinks[:1]) as delivering:
        stored.store.author(4, "gw-9", "boot-1")
        delivering.deliver(delivering.end(1), "lines")
    (line,) = Path(sinks[0].path).read_text().splitlines()
    assert json.loads(line)["history"][0]["author"] == {"kind": "gateway", "gateway": "gw-9", "epoch": "boot-1"}


def test_after_a_restart_it_goes_on_where_it_was(tmp_path, sinks, server):
    with opened(tmp_path / "store.db") as stored, Delivering(stored, sinks) as delivering:
        last = delivering.end(1, 2)
        for name in ("lines", "hook"):
            delivering.deliver(last, name)
    with opened(tmp_path / "store.db") as stored, Delivering(stored, sinks) as delivering:
        last = delivering.end(3)
        for name in ("lines", "hook"):
            delivering.deliver(last, name)
    assert written(sinks) == server.ids == ["session-1", "session-2", "session-3"]


def test_what_was_delivered_and_not_noted_comes_again(tmp_path, sinks):
    """Killed between the two: nothing that was posted is run any more."""
    with opened(tmp_path / "store.db") as stored:
        delivering = Delivering(stored, sinks[:1])
        advanced = threading.Event()
        delivering.delivery._post = lambda _: advanced.set()
        with delivering:
            delivering.end(1, 2)
            assert advanced.wait(20)
    with opened(tmp_path / "store.db") as stored, Delivering(stored, sinks[:1]) as delivering:
        delivering.deliver(delivering.end(3), "lines")
    assert written(sinks) == ["session-1", "session-2", "session-1", "session-2", "session-3"]


def test_nothing_is_deleted_that_a_sink_has_not_had(tmp_path, sinks, server):
    server.answer = server.hang
    with opened(tmp_path / "store.db") as stored, Delivering(stored, sinks, keep=1.0) as delivering:
        last = delivering.end(1, 2)
        delivering.deliver(last, "lines")
        purge(stored, delivering)
        assert kept(stored) == 2
        server.answer = lambda _: 200
        server.release.set()
        delivering.deliver(last, "hook")
        purge(stored, delivering)
        while kept(stored):  # the store takes its time
            pass
    assert server.ids[-2:] == ["session-1", "session-2"]


def purge(stored, delivering):
    """Have the timer of retention go off."""
    delivering.timers.pop()()
    stored.run_posted()


def kept(stored):
    """The number of records in the store."""
    return stored.answer(
        stored.store.read(lambda connection: connection.execute("SELECT count(*) FROM records").fetchone()[0])
    )
