"""Replies that come later: the future that asks return, and the pending reply that a turn may return."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec
import pykka

if TYPE_CHECKING:
    from pykka._future import GetHookFunc
    from pykka._types import OptExcInfo

    from sessiond.actors.mailbox import Mailbox

__all__ = ["Held", "Pending", "ReplyFuture"]

T = TypeVar("T")

_lock = threading.Lock()
"""Guards the flip from open to done of every future; held for a few stores only, so one serves them all."""


class Pending(msgspec.Struct, Generic[T], eq=False):
    """A turn's answer that is not known yet.

    A handler returns one, and completes it in a later turn, with ``set`` or ``fail``, once. Whoever asked waits for
    that: the runtime attaches the asker's future to it.
    """

    is_abandoned: bool = False
    """Set by whoever asked, once the answer is of no use any more; whoever works on it may then stop."""
    _is_done: bool = False
    value: T | None = None
    """What it has been completed with."""
    error: BaseException | None = None
    """The exception that it has been completed with, None if it has not been."""
    _followers: tuple[Callable[[T | None, BaseException | None], None], ...] = ()

    def set(self, value: T | Pending[T]) -> None:
        """Complete it with ``value``, or once ``value`` is complete if that is pending."""
        if isinstance(value, Pending):
            value.then(self._finish)
        else:
            self._finish(value, None)

    def fail(self, error: BaseException) -> None:
        """Complete it with an exception."""
        self._finish(None, error)

    def then(self, follower: Callable[[T | None, BaseException | None], None]) -> None:
        """Call ``follower(value, error)`` once it is complete, at once if it already is."""
        if self._is_done:
            follower(self.value, self.error)
        else:
            self._followers += (follower,)

    def _finish(self, value: T | None, error: BaseException | None) -> None:
        if self._is_done:
            raise queue.Full
        self._is_done, self.value, self.error = True, value, error
        followers, self._followers = self._followers, ()
        for follower in followers:
            follower(value, error)


class Held(Pending[T], gc=False):
    """A turn's answer that is known, and told once what it is based on is kept.

    There is one for each request that waits for the store: so they are light, and nothing for the garbage collector.
    It has its ``value`` or ``error`` from the beginning.
    """

    position: int = 0
    """Up to which everything is to be kept before."""

    def release(self) -> None:
        """Tell it: once, and only by whoever holds it, since this is not looked after as ``_finish`` is."""
        self._is_done = True
        for follower in self._followers:
            follower(self.value, self.error)


class ReplyFuture(pykka.Future[T]):
    """The future of the event-driven runtime: a thread blocked in ``get`` runs the awaited turn itself if it may."""

    def __init__(self) -> None:
        super().__init__()
        self._is_done = False
        self._value: T | None = None
        self._exc_info: OptExcInfo | None = None
        self._event: threading.Event | None = None
        self._callbacks: list[Callable[[], None]] | None = None
        self._mailbox: Mailbox | None = None

    # What the runtime calls

    def sent_to(self, mailbox: Mailbox) -> None:
        """Remember where the ask went, which is whose turn to run while waiting."""
        self._mailbox = mailbox

    def done(self) -> bool:
        """Whether the reply has come."""
        return self._is_done

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the thread that completes the future, at once if it is complete."""
        with _lock:
            if not self._is_done:
                self._callbacks = [*(self._callbacks or ()), callback]
                return
        callback()

    def wait(self, timeout: float | None) -> None:
        """Sleep until the reply has come, at most ``timeout`` seconds."""
        with _lock:
            if self._is_done:
                return
            if self._event is None:
                self._event = threading.Event()
        self._event.wait(timeout)

    # Pykka's interface

    def get(self, *, timeout: float | None = None) -> Any:
        """The reply, as ``pykka.Future.get``; raises ``pykka.Timeout`` if it does not come in time."""
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._is_done:
            self._await_reply(timeout)
        if not self._is_done:
            raise pykka.Timeout(f"{timeout} seconds")
        if self._exc_info is None:
            return self._value
        kind, error, traceback = self._exc_info
        assert kind is not None
        try:
            raise (kind() if error is None else error).with_traceback(traceback)
        finally:
            del self, error, traceback  # the exception now has this frame in its traceback: do not close the circle

    def _await_reply(self, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            return
        mailbox = self._mailbox  # another thread may complete this future meanwhile, and clear it
        if mailbox is None or mailbox.dispatcher is None:
            self.wait(timeout)
        else:
            deadline = None if timeout is None else time.monotonic() + timeout
            mailbox.dispatcher.wait_for(self, mailbox, deadline)

    def set(self, value: T | Pending[T] | None = None) -> None:
        """Complete it with ``value``, or once ``value`` is complete if that is pending.

        Raises:
            queue.Full: it is complete already, or has a get hook.
        """
        if isinstance(value, Pending):
            value.then(self._follow)
        else:
            self._finish(value, None)

    def set_exception(self, exc_info: OptExcInfo | None = None) -> None:
        """Complete it with an exception, by default the one being handled.

        Raises:
            queue.Full: it is complete already, or has a get hook.
        """
        self._finish(None, exc_info or cast("OptExcInfo", sys.exc_info()))

    def set_get_hook(self, func: GetHookFunc[T]) -> None:
        """Compute the value by ``func(timeout)`` when it is asked for.

        Raises:
            queue.Full: it is complete already.
        """
        with _lock:
            if self._is_done:
                raise queue.Full
            super().set_get_hook(func)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait without blocking the event loop (Pykka's own blocks it)."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return (yield from super().__await__())
        if self._get_hook is not None:  # Pykka's map, filter, join and stop: only a blocking get computes them
            return cast("T", (yield from loop.run_in_executor(None, self.get).__await__()))
        if not self._is_done:
            arrived = loop.create_future()
            self.add_done_callback(lambda: _release(arrived))
            yield from arrived.__await__()
        try:
            return cast("T", self.get())
        finally:
            del self  # as in ``get``

    __iter__ = __await__

    def _follow(self, value: T | None, error: BaseException | None) -> None:
        self._finish(value, None if error is None else (type(error), error, error.__traceback__))

    def _finish(self, value: T | None, exc_info: OptExcInfo | None) -> None:
        with _lock:
            if self._is_done or self._get_hook is not None:
                raise queue.Full
            self._value, self._exc_info = value, exc_info
            self._mailbox = None
            self._is_done = True
            callbacks, self._callbacks = self._callbacks, None
        if self._event is not None:
            self._event.set()
        for callback in callbacks or ():
            callback()


def _release(arrived: asyncio.Future[None]) -> None:
    """Let the coroutine go on that awaits ``arrived``, on its own loop. From any thread."""
    with contextlib.suppress(RuntimeError):  # that loop has been closed, and nobody waits there any more
        arrived.get_loop().call_soon_threadsafe(_complete, arrived)


def _complete(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)
