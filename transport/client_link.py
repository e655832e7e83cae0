"""One connection of the blocking client, shared by many threads.

There is no thread of its own. Of the threads that wait for answers one, the leader, reads for all: it hands each
answer to the thread that waits for it, and when it has its own it hands the lead to another. A thread that is alone
thus sends and reads by itself, with no switch of threads.
"""

from __future__ import annotations

import contextlib
import enum
import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sessiond.actors.errors import UnknownMethod
from sessiond.transport.client_replies import Reply, ReplyStream
from sessiond.transport.client_requests import Request
from sessiond.transport.codec import Call, NotAFrameError, Notification, encode_error

__all__ = ["Link", "Waiter", "prepare"]

MAX_REFUSALS = 256
"""Things that the service asks for and that are still to be refused; more get no answer at all."""
CHUNK = 65_536
"""Bytes read at once: more than the answers to all threads together, but for long lists."""
UNACKNOWLEDGED = 10.0
"""Seconds after which a connection is given up whose other end acknowledges nothing: its host or the way to it is
gone. By itself the system would go on for a quarter of an hour."""


def prepare(connection: socket.socket) -> None:
    """Set up a client's connection: small requests go out at once, and a peer that is gone is noticed."""
    with contextlib.suppress(OSError):  # some systems refuse when it is closed already, which will be noticed anyway
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNACKNOWLEDGED * 1000))


class _Signal(enum.Enum):
    LEAD = "lead"
    LOST = "lost"


class Waiter:
    """A thread with a request under way."""

    __slots__ = ("deadline", "frame", "inbox", "is_waiting", "msgid", "request", "token")

    def __init__(self, request: Request[Any], msgid: int, deadline: float) -> None:
        """Wait for the answer to ``request`` until ``deadline``, by the monotonic clock."""
        self.request = request
        self.msgid = msgid
        self.frame = request.encode(msgid)
        self.deadline = deadline
        self.token = 0
        """The breaker's, from when it was asked for."""
        self.is_waiting = False
        """Whether its request is sent and it can read for all."""
        self.inbox: queue.SimpleQueue[Reply | _Signal]

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()


class Link:
    """One connection."""

    def __init__(
        self,
        connection: socket.socket,
        sending: threading.Lock,
        allow: Callable[[Request[Any]], None],
        hear: Callable[[], None],
        notified: Callable[[Notification], None],
    ) -> None:
        """Use ``connection``.

        Whoever sends holds ``sending``, and calls ``allow`` before, which raises if the request may not be sent.
        ``hear`` is called when something has come, and ``notified`` with what the service tells of its own accord. What
        it asks for is refused: here is nobody who could do anything while no request is under way.
        """
        self._socket = connection
        connection.setblocking(False)
        prepare(connection)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(connection, select.POLLIN)
        self._writable.register(connection, select.POLLOUT)
        self._sending = sending
        self._allow = allow
        self._hear = hear
        self._notified = notified
        self._replies = ReplyStream(self._told)
        self._refusals: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        """Answers to what the service asks for, which are still to be sent."""
        self._lock = threading.Lock()
        """Guards what follows."""
        self._users = 0
        """How many threads are in ``exchange``."""
        self._waiters: dict[int, Waiter] = {}
        """Those whose answers have not come."""
        self._leader: Waiter | None = None
        self.lost: str | None = None
        """Why the connection is of no more use."""

    def exchange(self, waiter: Waiter) -> Reply:
        """Send the request and wait for its answer.

        Raises:
            ConnectionError: the connection was lost.
            TimeoutError: the deadline has passed.
            Unavailable: the request may not be sent again.
        """
        self._join(waiter)
        try:
            if self._leader is waiter:
                self._catch_up()
            self._send(waiter)
            return self._wait(waiter)
        finally:
            self._leave(waiter)

    def exchange_all(self, waiters: Sequence[Waiter]) -> list[Reply | OSError]:
        """Send the requests together and wait for their answers.

        In place of an answer that did not come stands what ``exchange`` would raise for it.

        Raises:
            ConnectionError: the connection was lost before they were sent.
            TimeoutError: they could not be sent in time.
        """
        joined: list[Waiter] = []
        try:
            for waiter in waiters:
                self._join(waiter)
                joined.append(waiter)
            if self._leader is waiters[0]:
                self._catch_up()
            self._send_all(waiters)
            return [self._collect(joined.pop(0)) for _ in waiters]
        finally:
            for waiter in joined:
                self._leave(waiter)

    def _collect(self, waiter: Waiter) -> Reply | OSError:
        try:
            return self._wait(waiter)
        except OSError as error:  # which timeouts are, too
            return error
        finally:
            self._leave(waiter)

    def fail(self, reason: str) -> ConnectionError:
        """The connection is lost; what to raise for that."""
        with self._lock:
            if self.lost is None:
                self.lost = reason
                for waiter in self._waiters.values():
                    waiter.inbox.put(_Signal.LOST)
                self._waiters.clear()
                with contextlib.suppress(OSError):  # the other end was first
                    self._socket.shutdown(socket.SHUT_RDWR)  # wakes the leader
                self._close_if_unused()
            return ConnectionError(self.lost)

    def abandon(self) -> None:
        """Close without a word to the other end.

        Only in a process that was forked off: the connection is the parent's, and no thread of this process uses it.
        """
        self._socket.close()

    # Taking turns

    def _join(self, waiter: Waiter) -> None:
        waiter.is_waiting = False
        waiter.inbox = queue.SimpleQueue()
        with self._lock:
            if self.lost is not None:
                raise ConnectionError(self.lost)
            self._users += 1
            self._waiters[waiter.msgid] = waiter
            if self._leader is None:
                self._leader = waiter

    def _leave(self, waiter: Waiter) -> None:
        with self._lock:
            self._waiters.pop(waiter.msgid, None)
            if self._leader is waiter:
                self._leader = next((each for each in self._waiters.values() if each.is_waiting), None)
                if self._leader is not None:
                    self._leader.inbox.put(_Signal.LEAD)
            self._users -= 1
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        """Close a lost connection when the last thread has left.

        A descriptor that is closed while a thread polls it may be another connection's when the thread polls it again.
        """
        if self.lost is not None and self._users == 0:
            self._socket.close()

    def _wait(self, waiter: Waiter) -> Reply:
        with self._lock:
            waiter.is_waiting = True
            if self._leader is None and waiter.msgid in self._waiters:
                self._leader = waiter
        while self._leader is not waiter:
            try:
                message = waiter.inbox.get(timeout=max(0.0, waiter.left()))
            except queue.Empty:
                raise TimeoutError from None
            if isinstance(message, Reply):
                return message
            if message is _Signal.LOST:
                raise ConnectionError(self.lost)
        return self._lead(waiter)

    def _lead(self, leader: Waiter) -> Reply:
        own = None
        while own is None:
            left = leader.left()
            if left <= 0 or not self._readable.poll(left * 1000):
                raise TimeoutError
            own = self._receive(leader.msgid)
        return own

    def _hand_over(self, reply: Reply) -> None:
        with self._lock:
            waiter = self._waiters.pop(reply.msgid, None)
            if waiter is not None:  # else it came too late
                waiter.inbox.put(reply)

    # The socket

    def _catch_up(self) -> None:
        """Read what came while nobody read.

        Above all the end of a connection that the service has closed: noticed before a request is sent, it costs
        nothing; after that, nobody can say whether the request was carried out.
        """
        if self._readable.poll(0):
            self._receive(None)

    def _receive(self, msgid: int | None) -> Reply | None:
        """Read what there is and hand it out; the answer to ``msgid``, if it was there."""
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self.fail(str(error)) from None
        if not data:
            raise self.fail("The service closed the connection")
        own = None
        try:
            for reply in self._replies.feed(data):
                if reply.msgid == msgid:
                    own = reply
                else:
                    self._hand_over(reply)
        except NotAFrameError as error:
            raise self.fail(f"The service sent what is no reply: {error}") from None
        self._hear()
        if not self._refusals.empty():
            self._refuse()
        return own

    def _told(self, message: Call | Notification) -> None:
        if isinstance(message, Notification):
            self._notified(message)
        elif self._refusals.qsize() < MAX_REFUSALS:
            error = UnknownMethod(f"This client does not know {message.method}", method=message.method)
            self._refusals.put(encode_error(message.msgid, error))

    def _refuse(self) -> None:
        """Tell the service that nothing will come of what it asks for, or leave that to the next request.

        Whoever reads for others waits for nothing else.
        """
        if not self._sending.acquire(blocking=False):
            return
        try:
            with contextlib.suppress(OSError):  # whoever needs the connection will see
                while not self._refusals.empty() and self._writable.poll(0):
                    self._write(self._refusals.get(), None)
        finally:
            self._sending.release()

    def _send(self, waiter: Waiter) -> None:
        self._acquire(waiter)
        try:
            self._allow(waiter.request)
            self._write(waiter.frame, waiter)
            waiter.request.is_sent = True
        finally:
            self._sending.release()

    def _send_all(self, waiters: Sequence[Waiter]) -> None:
        self._acquire(waiters[0])
        try:
            for waiter in waiters:
                self._allow(waiter.request)
                waiter.request.is_sent = True  # perhaps, if not all of them can be sent
            self._write(b"".join([waiter.frame for waiter in waiters]), waiters[0])
        finally:
            self._sending.release()

    def _acquire(self, waiter: Waiter) -> None:
        if not self._sending.acquire(timeout=max(0.0, waiter.left())):
            raise TimeoutError

    def _write(self, data: bytes, waiter: Waiter | None) -> None:
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    left = 0.0 if waiter is None else waiter.left()
                    if left <= 0 or not self._writable.poll(left * 1000):
                        raise TimeoutError from None
                except OSError as error:
                    raise self.fail(str(error)) from None
        finally:
            if 0 < len(rest) < len(data):
                self.fail("Half a request was sent")  # whatever follows would not be understood
