"""Checkpoints beside the commits: when the other thread is asked for one."""

from __future__ import annotations

import contextlib
import functools
import queue

from sessiond.stores.checkpoints import ENOUGH, Checkpoints
from sessiond.stores.database import connect


def test_the_other_thread_does_not_begin_when_the_writer_has_moved_everything(tmp_path):
    """A commit may begin the WAL anew at that instant, which SQLite before 3.51.3 does not bear."""
    path, done = str(tmp_path / "store.db"), queue.SimpleQueue()
    checkpoints = Checkpoints(functools.partial(connect, path))
    checkpoints.start(functools.partial(done.put, None))
    with contextlib.closing(connect(path)) as writer:
        writer.execute("CREATE TABLE t (x)")
        checkpoints.wrote(ENOUGH)
        checkpoints.step(writer)
        done.get(timeout=30)
        checkpoints.wrote(ENOUGH)  # while the thread was at it
        checkpoints.step(writer)  # moves the rest
        checkpoints.step(writer)
        checkpoints.stop()
    assert done.empty()
