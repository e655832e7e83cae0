"""An event loop, a socket and a registry for one connection, none of which does anything until the test says so."""

from __future__ import annotations

import heapq
import itertools
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgpack
from manual_clock import ManualClock

from sessiond.actors.clock import TurnClock
from sessiond.actors.errors import Internal
from sessiond.actors.future import Pending
from sessiond.actors.shards import SHARD_MASK
from sessiond.transport.connection import Connection
from sessiond.transport.methods import METHODS
from sessiond.transport.observed import Observed
from sessiond.transport.round import Round
from sessiond.transport.settings import Limits

__all__ = ["StillLoop", "connected"]


class _Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class StillLoop:
    """What a connection uses of an event loop. Time passes in ``pass_time`` only."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._ready: list[Callable[[], object]] = []
        self._timers: list[tuple[float, int, _Timer]] = []
        self._numbers = itertools.count()
        self.after_turn: Callable[[], object] = lambda: None

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self._ready.append(lambda: callback(*args))

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> _Timer:
        return self.call_at(self.now + seconds, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], *args: object) -> _Timer:
        timer = _Timer(lambda: callback(*args))
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def turn(self) -> bool:
        """Run what is ready, once; whether there was anything, or is now."""
        ready, self._ready = self._ready, []
        for callback in ready:
            callback()
        self.after_turn()
        return bool(ready or self._ready)

    def settle(self) -> None:
        """Run what is ready until nothing is."""
        while self.turn():
            pass

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and timers go off on its way."""
        end = self.now + seconds
        self.settle()
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
            self.settle()
        self.now = end

    @property
    def timers(self) -> int:
        """How many timers would still go off."""
        return sum(timer.callback is not None for _, _, timer in self._timers)


class StillSocket:
    """A transport that keeps what is written to it, until the test says that the client has read it."""

    def __init__(self, loop: StillLoop) -> None:
        self._loop = loop
        self.protocol: Connection
        self.written: list[bytes] = []
        self.buffered = 0
        self.is_stuck = False
        """Whether the client reads nothing, so that everything stays in the buffer."""
        self.is_reading = True
        self.has_written_eof = False
        self.state = "open"
        self._high = self._low = 0
        self._is_paused = False
        self._ends = socket.socketpair()

    def put_into_kernel(self, data: bytes) -> None:
        """Have ``data`` come to the process's socket, and no further."""
        self._ends[0].sendall(data)

    def take_from_kernel(self) -> bytes:
        return self._ends[1].recv(1 << 20)

    def drop(self) -> None:
        for end in self._ends:
            end.close()

    # As asyncio has it

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self._ends[1], "peername": ("127.0.0.1", 5)}[name]

    def set_write_buffer_limits(self, high: int) -> None:
        self._high, self._low = high, high // 4

    def write(self, data: bytes) -> None:
        assert self.state == "open"
        assert not self.has_written_eof
        self.written.append(data)
        if self.is_stuck:
            self.buffered += len(data)
            if self.buffered > self._high and not self._is_paused:
                self._is_paused = True
                self.protocol.pause_writing()

    def read_by_client(self) -> None:
        """The client reads everything."""
        self.buffered = 0
        self.is_stuck = False
        if self._is_paused:
            self._is_paused = False
            self.protocol.resume_writing()
        if self.state == "closing":
            self._lose()

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_written_eof = True

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        if self.state == "open":
            self.state = "closing"
            if not self.buffered:
                self._lose()

    def abort(self) -> None:
        self.state = "aborted"
        self._loop.call_soon(self.protocol.connection_lost, None)

    def _lose(self) -> None:
        self.state = "closed"
        self._loop.call_soon(self.protocol.connection_lost, None)


class StillRegistry:
    """A registry whose every session answers a get later, and everything else at once. It is every session itself."""

    _ref = None
    mailbox = SimpleNamespace(is_idle=True)
    context = SimpleNamespace(journal=None)

    def __init__(self) -> None:
        self.sessions: list[dict[str, Any]] = [{}] * (SHARD_MASK + 1)
        self.asked: list[str] = []
        self.pending: list[Pending[Any]] = []

    def find(self, target: str) -> StillRegistry:
        self.asked.append(target)
        return self

    def get(self) -> Pending[Any]:
        self.pending.append(Pending())
        return self.pending[-1]

    def touch(self) -> dict[str, int]:
        return {"version": 1}

    def ping(self) -> str:
        return "pong"

    def page(self, query: Any) -> dict[str, Any]:
        return {"sessions": ["x" * 5000], "cursor": None}


class Connected:
    """A connection with everything that it knows; it is its own front end."""

    def __init__(self, **limits: Any) -> None:
        self.loop = StillLoop()
        self._ends: list[Callable[[], object]] = []
        self.round = Round(TurnClock(ManualClock()), self._ends.append, self._ends.append)
        self.limits = Limits(**limits)
        self.registry = StillRegistry()
        self.observed = Observed(METHODS)
        self.crashes: list[BaseException] = []
        self.closed_for: list[str] = []
        self.is_joined = False
        self.socket = StillSocket(self.loop)
        self.connection = self.socket.protocol = Connection(self)
        self.connection.connection_made(self.socket)
        self.loop.after_turn = self.end_round

    def joined(self, connection: Connection) -> None:
        self.is_joined = True

    def left(self, connection: Connection) -> None:
        self.is_joined = False

    def closing(self, peer: object, reason: str, text: object = "") -> None:
        self.closed_for.append(reason)

    def crashed(self, error: BaseException) -> Internal:
        self.crashes.append(error)
        return Internal("It crashed")

    def receive(self, *pieces: bytes) -> None:
        """Have bytes arrive, all in one read."""
        assert self.socket.is_reading
        self.connection.data_received(b"".join(pieces))
        self.end_round()

    def end_round(self) -> None:
        """A round ends with each step of the loop."""
        while self._ends:
            self._ends.pop()()

    @property
    def answers(self) -> list[Any]:
        """The msgids that were answered, in this order."""
        unpacker = msgpack.Unpacker()
        unpacker.feed(b"".join(self.socket.written))
        return [answer[1] for answer in unpacker]


def connected(**limits: Any) -> Connected:
    """A connection under these limits."""
    return Connected(**limits)
