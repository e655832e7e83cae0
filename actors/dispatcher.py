"""Who runs turns, and when: one thread, the thread that waits, or an event loop."""

from __future__ import annotations

import abc
import asyncio
import functools
import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessiond.actors.future import ReplyFuture
    from sessiond.actors.mailbox import Mailbox, Waiting

logger = logging.getLogger(__name__)

__all__ = ["Dispatcher", "LoopDispatcher", "ThreadDispatcher", "shared_dispatcher"]


class Dispatcher(abc.ABC):
    """Runs the turns of mailboxes, one at a time.

    A turn that waits for another actor (a blocking ask in a handler) stays open while the turns that it waits for
    run inside it, on its own thread; that is what lets one thread serve a chain of asks.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """The short lock under which mailboxes change state."""
        self.waiting: dict[str, Waiting] = {}
        """The messages that wait in its mailboxes, by the kind of their actors."""
        self._ready: queue.SimpleQueue[Mailbox | None] = queue.SimpleQueue()
        self._open: list[Mailbox] = []
        """Mailboxes whose turns are open on the thread that holds the turn, the outermost first."""

    @abc.abstractmethod
    def schedule(self, mailbox: Mailbox) -> None:
        """See to it that a mailbox that is ready gets a turn. From any thread; never runs it at once."""

    @abc.abstractmethod
    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the dispatcher's thread after ``seconds``. From any thread."""

    @abc.abstractmethod
    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the dispatcher's thread, after what runs there now. From any thread."""

    @abc.abstractmethod
    def enter(self) -> bool:
        """Take the turn if the calling thread may run turns and nobody else runs one now; give it back by ``leave``."""

    @abc.abstractmethod
    def leave(self) -> None:
        """Give the turn back."""

    @abc.abstractmethod
    def _is_home(self) -> bool:
        """Whether the calling thread is the one that serves the ready queue."""

    def run(self, mailbox: Mailbox) -> bool:
        """Run a turn of ``mailbox`` if it is ready; whether it was. The caller has entered."""
        if not mailbox.claim():
            return False
        self._open.append(mailbox)
        try:
            mailbox.run()
        finally:
            self._open.pop()
            _settle(mailbox)
        return True

    def wait_for(self, future: ReplyFuture[Any], mailbox: Mailbox, deadline: float | None) -> None:
        """Return when ``future`` is done or ``deadline`` (monotonic) is past, running turns meanwhile if allowed.

        Raises:
            RuntimeError: a turn waits for itself.
        """
        while not future.done():
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return
            if not self.enter():
                self.schedule(mailbox)
                future.wait(remaining)
            elif not self._run_awaited(mailbox):
                self._idle(future, remaining)

    def _run_awaited(self, mailbox: Mailbox) -> bool:
        """One turn that brings a waiter nearer to its reply; whether there was one. Gives the turn back."""
        try:
            if mailbox in self._open:
                raise RuntimeError("An actor waits for its own reply")
            return self.run(mailbox) or (bool(self._open) and self._run_ready())
        finally:
            self.leave()

    def _run_ready(self) -> bool:
        try:
            mailbox = self._ready.get_nowait()
        except queue.Empty:
            return False
        return mailbox is None or self.run(mailbox) or True

    def _idle(self, future: ReplyFuture[Any], remaining: float | None) -> None:
        """Wait for the reply; the thread that serves the ready queue goes on serving it meanwhile."""
        if not self._is_home():
            self._wait_outside(future, remaining)
            return
        future.add_done_callback(lambda: self._ready.put(None))
        try:
            mailbox = self._next_ready(remaining)
        except queue.Empty:
            return
        if mailbox is not None and self.enter():
            try:
                self.run(mailbox)
            finally:
                self.leave()

    def _next_ready(self, timeout: float | None) -> Mailbox | None:
        """Wait for a mailbox to be scheduled, at most ``timeout`` seconds; None is there to look around.

        Raises:
            queue.Empty: none was.
        """
        return self._ready.get(timeout=timeout)

    def _wait_outside(self, future: ReplyFuture[Any], remaining: float | None) -> None:
        future.wait(remaining)


def _settle(mailbox: Mailbox) -> None:
    """End a turn. Whatever goes wrong in that, and in an actor's own teardown, the others get their turns."""
    try:
        mailbox.settle()
    except BaseException:
        logger.exception("A mailbox could not be settled")


def _call(callback: Callable[[], None]) -> None:
    """Whatever goes wrong in ``callback``, others are called all the same."""
    try:
        callback()
    except Exception:
        logger.exception("A callback failed")


class ThreadDispatcher(Dispatcher):
    """Turns run on one background thread, or on a thread that is blocked waiting for one, under one lock."""

    def __init__(self, name: str = "sessiond") -> None:
        """Start nothing yet; the thread, a daemon called ``name``, starts with the first thing to do."""
        super().__init__()
        self._name = name
        self._turn = threading.Lock()
        self._holder: int | None = None
        self._depth = 0
        self._thread: threading.Thread | None = None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._is_stopping = False

    def schedule(self, mailbox: Mailbox) -> None:
        """See ``Dispatcher``."""
        self._ready.put(mailbox)
        if self._thread is None:
            self._start()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """See ``Dispatcher``."""
        with self.lock:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), callback))
        self._ready.put(None)
        if self._thread is None:
            self._start()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See ``Dispatcher``."""
        self.call_later(0.0, callback)

    def stop(self) -> None:
        """Let the thread end once what is ready has run, and wait for it (unless it is the one that calls)."""
        self._is_stopping = True
        self._ready.put(None)
        if self._thread is not None and not self._is_home():
            self._thread.join()

    def enter(self) -> bool:
        """See ``Dispatcher``."""
        if self._holder != threading.get_ident():
            if not self._turn.acquire(blocking=False):
                return False
            self._holder = threading.get_ident()
        self._depth += 1
        return True

    def leave(self) -> None:
        """See ``Dispatcher``."""
        self._depth -= 1
        if self._depth == 0:
            self._holder = None
            self._turn.release()

    def _is_home(self) -> bool:
        return threading.current_thread() is self._thread

    def _wait_outside(self, future: ReplyFuture[Any], remaining: float | None) -> None:
        if self._holder != threading.get_ident():
            future.wait(remaining)
            return
        # A turn on a thread of the program's own waits for another: let the dispatcher's thread run it meanwhile.
        depth, self._depth = self._depth, 0
        opened, self._open = self._open, []
        self._holder = None
        self._turn.release()
        try:
            future.wait(remaining)
        finally:
            self._turn.acquire()
            self._holder, self._depth, self._open = threading.get_ident(), depth, opened

    def _start(self) -> None:
        with self.lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not (self._is_stopping and self._ready.empty()):
            try:
                mailbox = self._next_ready(None)
            except queue.Empty:
                continue
            if mailbox is None:
                continue
            with self._turn:
                self._holder, self._depth = threading.get_ident(), 1
                try:
                    self.run(mailbox)
                finally:
                    self._holder, self._depth = None, 0

    def _next_ready(self, timeout: float | None) -> Mailbox | None:
        """See ``Dispatcher``; timers run meanwhile, since what a turn waits for may come by one."""
        waits = (timeout, self._run_timers())
        return super()._next_ready(min((seconds for seconds in waits if seconds is not None), default=None))

    def _run_timers(self) -> float | None:
        """Run the timers that are due; seconds until the next one."""
        while True:
            with self.lock:
                if not self._timers:
                    return None
                wait = self._timers[0][0] - time.monotonic()
                if wait > 0:
                    return wait
                callback = heapq.heappop(self._timers)[2]
            _call(callback)


class LoopDispatcher(Dispatcher):
    """Turns run on the thread of an asyncio event loop, between its other callbacks."""

    SECONDS_PER_CALLBACK = 0.001
    """After so long the loop looks after its sockets again, whatever else is ready."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve from ``loop``, which runs, or will run, on the thread that first enters."""
        super().__init__()
        self._loop = loop
        self._is_draining = False
        self._has_turn = False
        """Whether turns run, at whose end what is to be called soon is called."""
        self._later: list[Callable[[], None]] = []
        """What is to be called when those are over."""

    def schedule(self, mailbox: Mailbox) -> None:
        """See ``Dispatcher``."""
        self._ready.put(mailbox)
        with self.lock:
            if self._is_draining:
                return
            self._is_draining = True
        self._on_loop(self._drain)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """See ``Dispatcher``."""
        self._on_loop(self._loop.call_later, seconds, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """See ``Dispatcher``. What a turn leaves for later comes when the turns are over, before the loop goes on."""
        if self._has_turn and self._is_home():
            self._later.append(callback)
        else:
            self._on_loop(callback)

    def enter(self) -> bool:
        """See ``Dispatcher``."""
        return self._is_home()

    def leave(self) -> None:
        """See ``Dispatcher``."""

    def _is_home(self) -> bool:
        return asyncio._get_running_loop() is self._loop  # noqa: SLF001  (documented for low-level code like this)

    def _on_loop(self, callback: Callable[..., object], *args: object) -> None:
        if self._is_home():
            self._loop.call_soon(callback, *args)
        elif not self._loop.is_closed():  # afterwards nobody is left to serve; the actors have been stopped
            self._loop.call_soon_threadsafe(callback, *args)

    def _drain(self) -> None:
        with self.lock:
            self._is_draining = False
        if not self._run_all_ready():
            return
        with self.lock:
            if self._is_draining:
                return
            self._is_draining = True
        self._loop.call_soon(self._drain)

    def _run_all_ready(self) -> bool:
        """Run what is ready, for as long as a callback may take; whether there may be more."""
        until = time.monotonic() + self.SECONDS_PER_CALLBACK
        self._has_turn = True
        try:
            while time.monotonic() < until:
                if not self._run_ready():
                    return False
            return True
        finally:
            self._has_turn = False
            later, self._later = self._later, []
            for callback in later:
                _call(callback)


@functools.cache
def shared_dispatcher() -> Dispatcher:
    """The dispatcher of actors that name none."""
    return ThreadDispatcher("sessiond-shared")
