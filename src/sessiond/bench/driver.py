"""The generator of load: connections, and the slots on them that carry calls from one step to the next.

Nothing is awaited per request. Whatever arrives in one read is answered by one write: the next steps of the calls that
the answers belong to. The time of a request begins when it was due, which is when the answer before it was read or,
for the first request of an open loop's call, when that call was to begin: if the service, or this generator, stands
still meanwhile, the time says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import cast

from sessiond.bench.dialect import Dialect, UnreadableError
from sessiond.bench.measured import Load, Progress, Result
from sessiond.bench.work import Arrivals, Calls, Job, OpenLoop, Work
from sessiond.bench.workload import Call, Step

__all__ = ["Load", "Progress", "Result", "drive"]

CONNECTS_WITHIN = 5.0
"""Seconds for each connection."""
PATIENCE = 10.0
"""Seconds without any answer after which, outside of the measured time, the service counts as lost."""
PROGRESS_INTERVAL = 0.5
"""Seconds."""
SPIN = 0.002
"""Seconds before something is due from which on the loop does not sleep any more: timers are a millisecond coarse."""

OnProgress = Callable[[Progress], None]


async def drive(
    host: str,
    port: int,
    dialect: Callable[[], Dialect],
    load: Load,
    on_progress: OnProgress | None = None,
    stop: asyncio.Event | None = None,
) -> Result:
    """Do to the service at ``host`` and ``port`` what ``load`` says, each connection in a dialect of its own.

    ``on_progress`` is called when a phase begins, and every half second. ``stop`` ends the measurement when it is set;
    the sessions that are up are ended all the same.

    Raises:
        OSError: the service cannot be reached.
    """
    driver = _Driver(load, on_progress or (lambda _: None), stop or asyncio.Event())
    try:
        await driver.connect(host, port, dialect)
        with _no_collections():
            await driver.run()
    finally:
        await driver.close()
    return driver.result


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector from standing in the way; nothing here makes cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Connection(asyncio.Protocol):
    """One connection and its slots."""

    def __init__(self, driver: _Driver, dialect: Dialect, pipeline: int) -> None:
        self._driver = driver
        self._dialect = dialect
        self._jobs: list[Job | None] = [None] * pipeline
        self.transport: asyncio.Transport
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._driver.lose(f"a connection was lost: {exc or 'the service closed it'}")

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._next_frames(data)
        except UnreadableError as error:
            self._driver.lose(f"what it sends is no answer: {error}")
            return
        if frames:
            self.transport.write(b"".join(frames))

    def _next_frames(self, data: bytes) -> list[bytes]:
        """The requests that are due after the answers in ``data``."""
        now = perf_counter()
        driver, jobs, encode = self._driver, self._jobs, self._dialect.encode
        frames = []
        for slot, error in self._dialect.decode(data):
            job = jobs[slot] if slot < len(jobs) else None
            if job is None:
                raise UnreadableError(f"nothing was asked in slot {slot}")
            driver.record(job, error, now)
            if not job.advance(error, now):
                job = jobs[slot] = driver.next_job(self, slot, now)
                if job is None:
                    continue
            frames.append(encode(slot, job.steps[job.at], job.call))
        return frames

    def begin(self, slot: int, job: Job) -> None:
        """Send the first request of ``job`` in ``slot``, which is free."""
        self._jobs[slot] = job
        self.transport.write(self._dialect.encode(slot, job.steps[job.at], job.call))


class _Driver:
    """All connections, and what they work on."""

    def __init__(self, load: Load, on_progress: OnProgress, stop: asyncio.Event) -> None:
        self.result = Result()
        self._load = load
        self._on_progress = on_progress
        self._stop = stop
        self._connections: list[_Connection] = []
        self._free: deque[tuple[_Connection, int]] = deque()
        """Slots, the one that has been free for longest first, so that all connections are used alike."""
        self._work: Work = _NOTHING
        self._is_pacing = False
        """Whether ``_pace`` will be called, for what is due later."""
        self._measured_from = self._measured_until = math.inf
        """Requests that are due between these are measured."""
        self._answers = 0
        self._residents: list[Call] = []
        self._news = asyncio.Event()
        """Set when the work is done, when it is to stop, and when the service is lost."""
        self._is_closing = False
        self._loop = asyncio.get_running_loop()

    # What connections call

    def record(self, job: Job, error: str | None, now: float) -> None:
        """The present step of ``job`` was answered."""
        self._answers += 1
        step = job.steps[job.at]
        if error is not None:
            self.result.errors[step][error] += 1
        elif self._measured_from <= job.since < self._measured_until:
            self.result.steps[step].record(now - job.since)
            if step is Step.END and not job.is_spoiled:
                self.result.calls += 1

    def next_job(self, connection: _Connection, slot: int, now: float) -> Job | None:
        """What ``slot`` does now; without anything to do it is free."""
        job = self._work.take(now)
        if job is None:
            self._free.append((connection, slot))
            if self._work.due() < math.inf:
                self._go_on()
            elif self._is_idle():
                self._news.set()
        return job

    def lose(self, reason: str) -> None:
        """The service is of no more use."""
        if not self._is_closing and self.result.lost is None:
            self.result.lost = reason
            self._work = _NOTHING
            self._news.set()

    # From connecting to closing

    async def connect(self, host: str, port: int, dialect: Callable[[], Dialect]) -> None:
        """Open all connections.

        Raises:
            OSError: one cannot be opened.
        """
        self._tell("connecting", 0, self._load.connections)
        for _ in range(self._load.connections):
            async with asyncio.timeout(CONNECTS_WITHIN):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self, dialect(), self._load.pipeline), host, port
                )
            self._connections.append(connection)
        self._free.extend((connection, slot) for slot in range(self._load.pipeline) for connection in self._connections)

    async def run(self) -> None:
        """Everything between connecting and closing."""
        stopping = self._loop.create_task(self._stop.wait())
        stopping.add_done_callback(lambda _: self._news.set())
        try:
            await self._create_residents()
            await self._measure()
            await self._finish("ending", _NOTHING, 0)
            left = [call for call in self._residents if call.session_id]
            await self._finish("removing", Calls(left, (Step.END,)), len(left))
        finally:
            stopping.cancel()

    async def close(self) -> None:
        """Close all connections."""
        self._is_closing = True
        self._work = _NOTHING
        for connection in self._connections:
            connection.transport.abort()
        for connection in self._connections:
            await connection.closed.wait()

    # Phases

    async def _create_residents(self) -> None:
        self._residents = [Call(number) for number in range(self._load.resident)]
        work = Calls(self._until_stopped(self._residents), self._load.resident_steps)
        await self._finish("creating", work, self._load.resident * len(self._load.resident_steps))

    def _until_stopped(self, calls: Iterable[Call]) -> Iterator[Call]:
        return itertools.takewhile(lambda _: not self._stop.is_set(), calls)

    async def _measure(self) -> None:
        if self.result.lost is not None:
            return
        now = perf_counter()
        self._measured_from = now + self._load.warm_up
        self._measured_until = self._measured_from + self._load.duration
        self._start(self._calls(now))
        while now < self._measured_until and not self._is_over():
            await self._wait(self._tell_time(now))
            now = perf_counter()
        self._measured_until = min(now, self._measured_until)
        self.result.seconds = max(0.0, self._measured_until - self._measured_from)
        if isinstance(self._work, OpenLoop):
            self._work.skip(self._measured_from)
            self.result.behind = self._work.skip(self._measured_until)

    def _tell_time(self, now: float) -> float:
        """Tell how far the measurement is; the seconds until it is to be told again."""
        if now < self._measured_from:
            self._tell("warming up", self._load.warm_up - (self._measured_from - now), self._load.warm_up)
            return min(PROGRESS_INTERVAL, self._measured_from - now)
        self._tell("measuring", now - self._measured_from, self._load.duration)
        return min(PROGRESS_INTERVAL, self._measured_until - now)

    def _calls(self, now: float) -> Work:
        """What is measured: it goes on for ever."""
        load = self._load
        calls = map(Call, itertools.count(load.resident))
        if load.rate is None:
            return Calls(calls, load.steps)
        chance = random.Random(load.resident)  # noqa: S311  (nobody is to be surprised, and each run is the same)
        gap = chance.expovariate if load.spacing == "poisson" else _reciprocal
        arrivals = [Arrivals(calls.__next__, load.steps, functools.partial(gap, load.rate), now)]
        residents = [call for call in self._residents if call.session_id]
        if load.touches and residents:
            touched = functools.partial(chance.choice, residents)
            arrivals.append(Arrivals(touched, (Step.TOUCH,), functools.partial(gap, load.touches), now))
        return OpenLoop(*arrivals)

    async def _finish(self, phase: str, work: Work, requests: int) -> None:
        """Do ``work``, which has an end, and what is still under way. A service that does not answer is lost."""
        if self.result.lost is not None:
            return
        before = answers = self._answers
        answered_at = perf_counter()
        self._start(work)
        while not self._is_idle() and self.result.lost is None:
            self._tell(phase, self._answers - before, requests)
            await self._wait(PROGRESS_INTERVAL)
            if answers != self._answers:
                answers, answered_at = self._answers, perf_counter()
            elif perf_counter() - answered_at > PATIENCE:
                self.lose(f"no answer for {PATIENCE:g} s")

    # Inside

    def _start(self, work: Work) -> None:
        self._work = work
        self._pace()

    def _pace(self) -> None:
        """Give free slots what is due, and be back when something else is, unless none is free: see ``next_job``."""
        self._is_pacing = False
        now = perf_counter()
        while self._free and (job := self._work.take(now)) is not None:
            connection, slot = self._free.popleft()
            connection.begin(slot, job)
        if self._free and self._work.due() < math.inf:
            self._go_on(self._work.due() - now)

    def _go_on(self, seconds: float = 0.0) -> None:
        """See to it that ``_pace`` is called when something is due in ``seconds``."""
        if self._is_pacing:
            return
        self._is_pacing = True
        if seconds < SPIN:
            self._loop.call_soon(self._pace)
        else:
            self._loop.call_later(seconds - SPIN, self._pace)

    async def _wait(self, seconds: float) -> None:
        """Return after ``seconds``, or sooner if there is news."""
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _is_idle(self) -> bool:
        return len(self._free) == self._load.connections * self._load.pipeline

    def _is_over(self) -> bool:
        return self._stop.is_set() or self.result.lost is not None

    def _tell(self, phase: str, done: float, total: float) -> None:
        self._on_progress(Progress(phase, done, total, self._answers))


_NOTHING = Calls((), ())


def _reciprocal(rate: float) -> float:
    return 1 / rate
