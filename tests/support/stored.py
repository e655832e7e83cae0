"""A store under test: its dispatcher is a queue that the test runs, so that nothing waits for the clock."""

from __future__ import annotations

import contextlib
import queue
import threading

from sessiond.actors import image
from sessiond.actors.record import Session
from sessiond.actors.store import Ending, at_once
from sessiond.stores.settings import StoreSettings
from sessiond.stores.sqlite import SqliteStore
from sessiond.stores.tuning import TUNING

__all__ = ["PATIENCE", "Stored", "as_image", "as_record", "ending", "opened"]

PATIENCE = 20
"""Seconds until a test gives up."""


def as_record(seq, **fields):
    """A record of a session."""
    known = {
        "id": f"session-{seq}",
        "type": "sip",
        "state": "active",
        "metadata": {},
        "created_at": 1.0,
        "updated_at": 2.0,
        "last_activity_at": 2.0,
        "version": 1,
    }
    return Session(**dict.fromkeys(Session.__struct_fields__[:-1]) | known | fields)


def as_image(seq, touched=2.0, **fields):
    """The bytes of a live session."""
    return image.pack(as_record(seq, **fields), None, touched, None, False, b"timeline")


def ending(seq, at=3.0, request_id=None, digest=None, **fields):
    """The end of a session."""
    ended = {"state": "ended", "ended_at": at, "end_reason": "hangup", "ended_by": "gateway"}
    return Ending(seq, as_record(seq, **ended | fields), b"timeline", request_id, digest)


class Stored:
    """A store that has started, and what it has told."""

    def __init__(self, path, durability="commit", tuning=TUNING):
        self.store = SqliteStore(
            StoreSettings(kind="sqlite", path=str(path), durability=durability, interval=0.001), tuning
        )
        self.recovered = self.store.open()
        batches = list(self.recovered.live())
        self.batches = [len(batch) for batch in batches]
        self.live = [live for batch in batches for live in batch]
        self.ended = list(self.recovered.ended(0.0, 1000))
        self.kept = 0
        self.told = []
        """Failures, and "restored"."""
        self._posts = queue.SimpleQueue()
        self._answered = None

    def start(self, soon=at_once):
        self.store.start(self, self._posts.put, soon)
        return self

    # What the store tells

    def settled(self, position):
        assert position > self.kept, "positions are settled in their order"
        self.kept = position

    def failed(self, error):
        self.told.append(error)

    def restored(self):
        self.told.append("restored")

    # What the test does

    def run_until(self, condition):
        """Run what the store posts until ``condition`` holds."""
        while not condition():
            self._posts.get(timeout=PATIENCE)()

    def settle(self, position):
        self.run_until(lambda: self.kept >= position)

    def next_post(self):
        """What is posted next, for the test to run."""
        return self._posts.get(timeout=PATIENCE)

    def run_posted(self):
        """Run what has been posted."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._posts.get_nowait()()

    def notify_when(self, condition):
        """Have ``condition`` looked at after each of the writer's chores; what waits until it holds."""
        chores, held = self.store._chores, threading.Event()
        tidy = chores.tidy

        def watched(connection):
            has_more = tidy(connection)
            if condition():
                held.set()
            return has_more

        def wait():
            assert held.wait(PATIENCE)
            del chores.tidy

        chores.tidy = watched
        return wait

    def answer(self, pending):
        """What comes of ``pending``.

        Raises:
            Exception: what it fails with.
        """
        outcome = []
        pending.then(lambda *given: outcome.extend(given))
        self.run_until(lambda: outcome)
        value, error = outcome
        if error is not None:
            raise error
        return value

    def load(self, seq):
        """A live session as it is kept, None if there is none."""
        return self.answer(self.store.load_all([seq])).get(seq)

    def rows(self, query):
        """What a reader of the store finds."""
        return self.answer(self.store.read(lambda connection: connection.execute(query).fetchall()))

    def close(self):
        self.store.close()


@contextlib.contextmanager
def opened(path, durability="commit", tuning=TUNING):
    """A store that has started, and is closed in the end."""
    stored = Stored(path, durability, tuning).start()
    try:
        yield stored
    finally:
        stored.close()
