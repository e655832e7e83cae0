"""A pytest plugin for Pykka's own test suite: it tests sessiond's actor runtime instead of Pykka's threads.

Pykka's conftest takes ``pykka.ThreadingActor`` and ``pykka.ThreadingFuture`` as the runtime under test; a plugin is
loaded before it and can put ours in their place. SUITE_DISPATCHER chooses who runs the actors: ``thread``, the
dispatcher that a program gets without asking, or ``loop``, an asyncio event loop as in ``sessiond serve``.
"""

from __future__ import annotations

import asyncio
import os
import threading

import pykka
import pytest

from sessiond.actors.actor import EventActor
from sessiond.actors.dispatcher import LoopDispatcher
from sessiond.actors.future import ReplyFuture

loop = asyncio.new_event_loop()
dispatcher = LoopDispatcher(loop)
loop_thread = threading.Thread(target=loop.run_forever, name="loop", daemon=True)


class LoopActor(EventActor):
    """An actor whose turns run on the event loop's thread."""

    def _home(self) -> LoopDispatcher:
        return dispatcher


class Probe(LoopActor):
    """Answers with the thread that its turn runs on."""

    def on_receive(self, _message: object) -> threading.Thread:
        return threading.current_thread()


actor_class = {"thread": EventActor, "loop": LoopActor}[os.environ["SUITE_DISPATCHER"]]
pykka.ThreadingActor = actor_class
pykka.ThreadingFuture = ReplyFuture


def pytest_sessionstart() -> None:
    """Start the loop, and see that its actors do run there."""
    loop_thread.start()
    probe = Probe.start()
    if probe.ask("where?", timeout=5) is not loop_thread:
        pytest.exit("the actors of the loop dispatcher run elsewhere", returncode=1)
    probe.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse to run unless each test of a runtime tests ours."""
    runtimes = [item.callspec.params["runtime"] for item in items if "runtime" in item.fixturenames]
    tested = {(runtime.actor_class, runtime.future_class) for runtime in runtimes}
    if tested != {(actor_class, ReplyFuture)}:
        pytest.exit(f"the suite would not test our runtime, but {tested or 'none'}", returncode=1)


def pytest_sessionfinish() -> None:
    """Stop the loop."""
    loop.call_soon_threadsafe(loop.stop)
    loop_thread.join()
    loop.close()
