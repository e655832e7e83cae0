"""Whatever happened before it, a store that is cut off comes back as exactly what was committed last."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from stored import Stored, as_image, ending

from sessiond.actors.store import Live
from sessiond.stores.database import connect
from sessiond.stores.recovery import SqliteRecovered
from sessiond.stores.tuning import TUNING

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder without a disk: what is written is to be found again here, not to survive a power cut."""

NUMBERS = st.integers(1, 6)
CHANGES = st.one_of(
    st.tuples(st.just("keep"), NUMBERS),
    st.tuples(st.just("end"), NUMBERS),
    st.tuples(st.just("touch"), NUMBERS),
    st.tuples(st.just("put"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("author"), st.integers(0, 2)),
)
"""What is handed over."""
DOINGS = st.sampled_from(["commit"] * 4 + ["chores"] * 6 + ["cut", "close"])
"""What the writer does, and what becomes of it."""
HISTORIES = st.lists(st.tuples(st.lists(CHANGES, max_size=3), DOINGS), min_size=15, max_size=60)


class Model:
    """What a store has, as plain as can be."""

    def __init__(self):
        self.live = {}
        self.ended = []
        self.values = {}
        self.authors = {}

    def apply(self, change):
        match change:
            case ("keep", seq, image, touched):
                self.live[seq] = (image, touched)
            case ("touch", seq, at):
                if seq in self.live:
                    image, touched = self.live[seq]
                    self.live[seq] = (image, max(touched, at))
            case ("end", end):
                self.live.pop(end.seq, None)
                self.ended.append(end)
            case ("put", name, value):
                self.values[name] = value
            case ("author", number, gateway):
                self.authors[number] = (gateway, None)

    def check(self, recovered, live, ended):
        assert live == [Live(seq, touched, image) for seq, (image, touched) in sorted(self.live.items())]
        assert recovered.count == len(self.live)
        assert ended == self.ended
        assert recovered.values == self.values
        assert recovered.authors == self.authors


class History:
    """A store that a test drives in the place of its threads, and the model of what it has committed."""

    def __init__(self, folder, tuning):
        self.path = folder / "sessiond.db"
        self.tuning = tuning
        self.folder = folder
        self.model = Model()
        self.waiting = []
        self.clock = 10.0
        self.dead = set()
        self.position = 0
        self.open()

    def open(self):
        self.stored = Stored(self.path, tuning=self.tuning)
        self.model.check(self.stored.recovered, self.stored.live, self.stored.ended)
        self.store = self.stored.store
        self.store._close_first()
        with contextlib.closing(connect(str(self.path))) as connection:
            rows = connection.execute("SELECT seq FROM records ORDER BY number").fetchall()
        assert rows == [(end.seq,) for end in self.model.ended], "all records are in their table at the start"

    def hand_over(self, kind, what):
        """A change, unless it is of a session that has ended or that nobody knows."""
        self.clock += 1.0
        if what in self.dead and kind in {"keep", "end"}:
            return
        match kind:
            case "keep":
                image = as_image(what, touched=self.clock, updated_at=self.clock)
                position, change = self.store.keep(what, image), (kind, what, image, self.clock)
            case "end":
                self.dead.add(what)
                end = ending(what, at=self.clock)
                position, change = self.store.end(end), (kind, end)
            case "touch":
                position, change = self.store.touch(what, self.clock), (kind, what, self.clock)
            case "put":
                position, change = self.store.put(what, int(self.clock)), (kind, what, int(self.clock))
            case "author":
                position, change = self.store.author(what, f"gw{self.clock}", None), (kind, what, f"gw{self.clock}")
        if position is not None:
            assert position > self.position
            self.position = position
        self.waiting.append(change)

    def do(self, doing):
        match doing:
            case "commit" if self.waiting:
                before = self.store.waiting
                self.store._writer._commit(self.store.waiting)
                self.committed(before - self.store.waiting)
            case "chores":
                self.store._writer._do_chores()
            case "cut":
                self.cut()
            case "close":
                self.store.close()
                self.committed(len(self.waiting))
                self.open()

    def committed(self, count):
        for change in self.waiting[:count]:
            self.model.apply(change)
        del self.waiting[:count]

    def look(self):
        """Compare with what a process would leave that is killed now."""
        path = self.copy()
        with contextlib.closing(connect(str(path))) as connection:
            recovered = SqliteRecovered(connection, str(path))
            live = [live for batch in recovered.live() for live in batch]
            self.model.check(recovered, live, list(recovered.ended(0.0, 1000)))

    def cut(self):
        """Go on with what a process would leave that is killed now; what has not been committed is no more."""
        path = self.copy()
        self.position = self.store._writer._done
        self.store.close()
        self.path = path
        self.dead = {end.seq for end in self.model.ended}
        self.waiting = []
        self.open()

    def copy(self):
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        for name in ("sessiond.db", "sessiond.db-wal"):
            if (self.path.parent / name).exists():
                shutil.copy(self.path.parent / name, folder / name)
        return folder / "sessiond.db"


@settings(max_examples=100, deadline=None)
@given(
    most=st.integers(1, 4),
    fold=st.integers(1, 4),
    rows=st.integers(1, 3),
    file_age=st.sampled_from([0.0, 1e9]),
    filed=st.integers(1, 3),
    history=HISTORIES,
)
def test_a_store_that_is_cut_off_has_what_was_committed(most, fold, rows, file_age, filed, history):
    tuning = dataclasses.replace(
        TUNING, most=most, fold_entries=fold, fold_rows=rows, last_fold=0.0, file_age=file_age, file_rows=filed
    )
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        told = History(Path(folder), tuning)
        try:
            for changes, doing in history:
                for change in changes:
                    told.hand_over(*change)
                told.do(doing)
                told.look()
        finally:
            told.store.close()
