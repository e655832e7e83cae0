"""Dispatchers to run actors on, and an actor that does whatever a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sessiond.actors.actor import EventActor
from sessiond.actors.dispatcher import Dispatcher, LoopDispatcher, ThreadDispatcher

__all__ = ["DISPATCHERS", "PATIENCE", "Doer", "collector_off", "held", "loop_dispatcher", "settle", "thread_dispatcher"]

PATIENCE = 20
"""Seconds after which a test that waits has failed. No test that passes waits for so long."""
ROUNDS = 3
"""So often something may go by way of a loop's callbacks, which a probe cannot see."""
MANY_ROUNDS = 12
"""After so many, what is due is work that has no end."""


@contextlib.contextmanager
def thread_dispatcher() -> Iterator[Dispatcher]:
    """A dispatcher as an embedded service has it."""
    dispatcher = ThreadDispatcher("test")
    yield dispatcher
    dispatcher.stop()


@contextlib.contextmanager
def loop_dispatcher() -> Iterator[Dispatcher]:
    """A dispatcher as ``sessiond serve`` has it, its loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="test-loop", daemon=True)
    thread.start()
    yield LoopDispatcher(loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    loop.close()


DISPATCHERS = {"thread": thread_dispatcher, "loop": loop_dispatcher}


class Doer(EventActor):
    """Does what it is told: a message is a function of the actor."""

    def __init__(self, dispatcher: Dispatcher, *_: object) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self.noted: list[Any] = []

    def _home(self) -> Dispatcher:
        return self._dispatcher

    def on_receive(self, message: Callable[[Doer], object]) -> object:
        return message(self)

    def note(self, *what: Any) -> None:
        """Remember ``what``, in the order in which it came."""
        self.noted += what


@contextlib.contextmanager
def held(ref) -> Iterator[None]:
    """Keep a Doer in a turn, on its dispatcher's thread, until the block ends: what is sent meanwhile has to wait."""
    entered, released = threading.Event(), threading.Event()

    def hold(_: Doer) -> None:
        entered.set()
        assert released.wait(PATIENCE)

    ref.tell(hold)
    assert entered.wait(PATIENCE)
    try:
        yield
    finally:
        released.set()


def settle(dispatcher: Dispatcher) -> None:
    """Return when every turn that was due has ended, to the last line, and those that these have made due."""
    probe = Doer.start(dispatcher)
    rounds, is_idle = 0, False
    while rounds < ROUNDS or not (is_idle or rounds == MANY_ROUNDS):
        seen: queue.SimpleQueue[bool] = queue.SimpleQueue()
        probe.tell(lambda _, seen=seen: seen.put(dispatcher._ready.empty()))
        is_idle = seen.get(timeout=PATIENCE)
        rounds += 1
    probe.stop()


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Leave only reference counting, and no log, since pytest keeps the frames of what is logged."""
    gc.collect()
    gc.disable()
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()
