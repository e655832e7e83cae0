"""One gateway's connection: requests in, answers out, and everything that one client may not do to the others."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from sessiond.transport.bound import BoundResponder
from sessiond.transport.codec import MAX_CALLS, Call, Framer, NotAFrameError, decode_call, decode_calls
from sessiond.transport.peer import Peer
from sessiond.transport.responder import BIG_ANSWER, MAX_SETTLING, Responder

if TYPE_CHECKING:
    from sessiond.transport.server import FrontEnd

__all__ = ["Connection"]

BATCH_REQUESTS = MAX_CALLS
BATCH_SECONDS = 0.001
"""After so many requests of one connection, or after so long with requests that are more work than most, the loop
looks after the others."""
LINGER = 1.0
"""Seconds between the last answer to a client and the close, unless the client closes first: data that it still sends
would otherwise reset the connection and might take the answer with it."""


class Connection(asyncio.Protocol):
    """Answers a client's requests in the order they came, but for those whose answers are pending."""

    def __init__(self, front_end: FrontEnd) -> None:
        """Serve a client of ``front_end``."""
        self._front_end = front_end
        self._round = front_end.round
        self._limits = front_end.limits
        self._loop = front_end.loop
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # there is one once connected
        self._framer = Framer()
        self._requests: Iterator[Call | bytes] = iter(())
        """Requests that wait for their turn, decoded or as frames."""
        self._responder: Responder | BoundResponder = Responder(
            front_end.registry, front_end.observed, front_end.round, front_end.crashed, self, self.peer
        )
        self._peer: Peer | None = None
        self._is_writable = True
        self._is_reading = True
        self._is_behind = False
        """Whether requests wait here: for the loop to come round, or for a limit to be no longer reached."""
        self._is_scheduled = False
        self._owed: int | None = None
        """Of the bytes still to come so many will be looked at, if not all: the connection is about to end."""
        self._is_last = False
        """Whether no more requests come."""
        self._has_ended = False
        """Whether the client has sent the end of its stream."""
        self._is_finished = False
        self._is_closed = False
        self._timed_frame = -1
        self._frame_due = 0.0
        self._frame_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._limits.write_buffer)
        self._front_end.joined(self)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._owed is not None and not (data := self._still_owed(data)):
            return
        if self._is_behind or not self._framer.is_empty:
            self._framer.feed(data)
            if not self._is_behind:
                self._work()
            return
        try:
            call = decode_call(data)  # exactly one request, as a client sends it that does not pipeline
        except Exception:  # noqa: BLE001
            self._take_in(data)
            self._work()
            return
        if not self._round.is_open:
            self._round.begin()
        self._round.unflushed.append(self)
        try:
            size = self._responder.answer_call(call)
        except NotAFrameError as error:
            self._give_up("not_a_frame", error)
            return
        if size > BIG_ANSWER and self._is_limited():
            self._regulate(is_exhausted=False)

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``: the client does not read its answers."""
        self._is_writable = False
        self._is_behind = True
        self._set_reading(False)
        self._write_timer = self._loop.call_later(self._limits.write_timeout, self.abort, "write_timeout")

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._is_writable = True
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        if self._peer is not None:
            self._peer.writable()
        self._work_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._is_closed = True
        for timer in (self._frame_timer, self._write_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self._front_end.left(self)
        if self._peer is not None:
            self._peer.lost()
            self._peer = None
        self._responder.abandon()
        del self._responder  # it holds this connection: what is not taken apart may never be collected

    def eof_received(self) -> bool:
        """See ``asyncio.Protocol``: the client sends no more, and still gets its answers."""
        self._is_last = self._has_ended = True
        self._work_later()
        return True

    # What the front end calls

    def drain(self) -> None:
        """Answer every request that has been received by now, in this process or its socket, and close."""
        if self._owed is None:
            self._last_come(self._unread())

    def abort(self, reason: str) -> None:
        """Close at once, for ``reason``."""
        self._front_end.closing(self._transport.get_extra_info("peername"), reason)
        self._transport.abort()

    # What its peer calls

    def peer(self) -> Peer:
        """The client, for actors to whom it matters which one it is."""
        if self._peer is None:
            self._peer = Peer(self)
        return self._peer

    @property
    def is_writable(self) -> bool:
        """Whether the client reads what is sent to it, as far as can be seen."""
        return self._is_writable

    def bind(self, peer: Peer, spoke: Callable[[], object]) -> None:
        """Carry out the requests that follow as those of the incarnation to which ``peer`` belongs."""
        if not isinstance(self._responder, BoundResponder):
            ask_as = self._front_end.registry.context.ask_as
            self._responder = BoundResponder(self._responder, self._round, peer, ask_as, spoke)

    def send(self, frame: bytes) -> None:
        """Write ``frame`` behind the answers that wait, if the client still gets anything."""
        if self._is_closed or self._is_finished or self._transport.is_closing():
            return
        answers = self._responder.answers
        answers.append(frame)
        if not self._round.is_open:
            self.flush()
        elif len(answers) == 1:
            self._round.unflushed.append(self)

    def dismiss(self, reason: str) -> None:
        """Answer what came before, and close for ``reason``."""
        if not self._is_closed and not self._is_last:
            self._give_up(reason, "")

    def crashed(self, error: BaseException) -> None:
        """Somebody whom the peer told something crashed."""
        self._front_end.crashed(error)

    # The work

    def _take_in(self, data: bytes) -> None:
        """Take in more than one request, or less, when nothing waits."""
        try:
            self._requests = iter(decode_calls(data))
        except Exception:  # noqa: BLE001  (not whole requests and nothing else: the framer sees what it is)
            self._framer.feed(data)

    def _work(self) -> None:
        """Answer what has arrived, as far as the limits allow now."""
        self._is_scheduled = False
        if self._is_closed:
            return
        if not self._round.is_open:
            self._round.begin()
        self._round.unflushed.append(self)
        try:
            is_exhausted = self._answer_frames()
        except NotAFrameError as error:
            self.flush()
            self._give_up("not_a_frame", error)
            return
        self._regulate(is_exhausted=is_exhausted)

    def _answer_frames(self) -> bool:
        """Answer whole frames, a batch at most, until a limit is reached; whether none is left."""
        if not self._answer_until_limited():
            return False
        frames = self._framer.cut(BATCH_REQUESTS)
        self._requests = iter(frames)
        return self._answer_until_limited() and len(frames) < BATCH_REQUESTS and not self._framer.is_faulty

    def _answer_until_limited(self) -> bool:
        """Answer the frames that were cut off; whether all are."""
        until = time.monotonic() + BATCH_SECONDS
        while not self._is_limited():
            if self._responder.answer_all(self._requests):
                return True
            self.flush()
            if time.monotonic() > until:
                break
        return False

    def _is_limited(self) -> bool:
        """Whether the client has to read its answers, or wait for some, before more of its requests are looked at."""
        responder = self._responder
        return (
            not self._is_writable
            or len(responder.pending) >= self._limits.max_in_flight
            or responder.settling >= MAX_SETTLING
        )

    def completed(self) -> None:
        """See ``Late``."""
        if self._is_closed:
            return
        self.flush()
        if self._is_behind or self._is_last:
            self._work_later()

    def flush(self) -> None:
        """Hand the answers to the socket in one piece."""
        if self._is_closed:
            return
        answers = self._responder.answers
        if answers:
            try:
                self._transport.write(answers[0] if len(answers) == 1 else b"".join(answers))
            except Exception as error:  # noqa: BLE001  (others are to be flushed after this one)
                self._front_end.crashed(error)
                self._transport.abort()
            answers.clear()

    # Flow

    def _regulate(self, *, is_exhausted: bool) -> None:
        """Read on, or stop reading until what was read is answered."""
        self._is_behind = not is_exhausted
        if self._is_behind:
            self._set_reading(False)
            if not self._is_limited():
                self._work_later()
        elif self._is_last:
            responder = self._responder
            if not responder.pending and not responder.patient and not responder.settling:
                self._finish()
        else:
            self._set_reading(True)
            if not self._framer.is_empty and self._framer.frames != self._timed_frame:
                self._time_frame()

    def _set_reading(self, is_reading: bool) -> None:
        if is_reading != self._is_reading:
            self._is_reading = is_reading
            if is_reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _work_later(self) -> None:
        if not self._is_scheduled and not self._is_closed:
            self._is_scheduled = True
            self._loop.call_soon(self._work)

    def _time_frame(self) -> None:
        """Give the frame that has begun its time."""
        self._timed_frame = self._framer.frames
        self._frame_due = self._loop.time() + self._limits.frame_timeout
        if self._frame_timer is None:
            self._frame_timer = self._loop.call_at(self._frame_due, self._frame_is_due)

    def _frame_is_due(self) -> None:
        """A frame has had its time: that which is unfinished now, or an earlier one."""
        self._frame_timer = None
        if self._framer.is_empty:
            return
        now = self._loop.time()
        if not self._is_reading:  # the client could not send on
            self._frame_due = now + self._limits.frame_timeout
        if now < self._frame_due:
            self._frame_timer = self._loop.call_at(self._frame_due, self._frame_is_due)
        else:
            self._give_up("frame_timeout", "a frame was not finished in time")

    # Ends

    def _last_come(self, owed: int) -> None:
        """Look at no more than ``owed`` bytes of what still comes, and close when everything is answered."""
        self._owed = owed
        self._is_last = self._is_last or not owed
        self._work_later()

    def _still_owed(self, data: bytes) -> bytes:
        """What of ``data`` is still to be looked at."""
        owed = self._owed or 0
        self._last_come(max(0, owed - len(data)))
        return data[:owed]

    def _give_up(self, reason: str, text: object) -> None:
        """Answer what came before and close, since nothing that comes now can be made sense of."""
        self._front_end.closing(self._transport.get_extra_info("peername"), reason, text)
        self._requests = iter(())
        self._framer = Framer()
        self._last_come(0)

    def _finish(self) -> None:
        """Everything is answered: send the end after the last answer, and leave the client a moment to read it."""
        self.flush()
        if self._has_ended or not self._transport.can_write_eof():
            self._close()
        elif not self._is_finished:
            self._is_finished = True
            self._transport.write_eof()
            self._set_reading(True)
            self._close_timer = self._loop.call_later(LINGER, self._close)

    def _close(self) -> None:
        """Close, once the client has read its answers: it has its usual time for that."""
        if not self._transport.is_closing():
            self._transport.close()
            if self._close_timer is not None:
                self._close_timer.cancel()
            self._close_timer = self._loop.call_later(self._limits.write_timeout, self.abort, "write_timeout")

    def _unread(self) -> int:
        """How many bytes the socket holds that this process has not read yet."""
        size = bytearray(struct.calcsize("i"))
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.FIONREAD, size)
        return int(struct.unpack("i", size)[0])
