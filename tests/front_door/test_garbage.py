"""The collector looks at what is young and at nothing else, and finds what is garbage."""

from __future__ import annotations

import asyncio
import gc
import weakref

import msgpack
import pytest

from sessiond.config import Config
from sessiond.garbage import INTERVAL, YoungCollector
from sessiond.service import Service
from sessiond.transport.connection import Connection


class Timer:
    """A loop's ``call_later``, of which the test turns the hands."""

    def __init__(self):
        self.due = []

    def call_later(self, seconds, callback):
        self.due.append((seconds, callback))

    def fire(self):
        (_, callback), self.due = self.due[0], self.due[1:]
        callback()


class Recorder:
    """Stands in for the module ``gc``."""

    def __init__(self):
        self.calls = []

    def disable(self):
        self.calls.append("disable")

    def collect(self, generation=2):
        self.calls.append(generation)

    def freeze(self):
        self.calls.append("freeze")


class Cycle:
    def __init__(self):
        self.itself = self


@pytest.fixture
def collector():
    """The real collector, given back as it was."""
    yield gc
    gc.enable()
    gc.unfreeze()


def test_it_looks_at_everything_once_and_then_at_the_young_only():
    timer, recorder = Timer(), Recorder()
    YoungCollector(timer.call_later, collector=recorder).start()
    assert recorder.calls == ["disable", 2, 0, "freeze"]
    timer.fire()
    timer.fire()
    assert recorder.calls[4:] == [0, "freeze"] * 2


def test_it_wakes_up_at_its_interval():
    timer = Timer()
    YoungCollector(timer.call_later, collector=Recorder()).start()
    for _ in range(3):
        assert [seconds for seconds, _ in timer.due] == [INTERVAL]
        timer.fire()


def test_it_tells_how_long_each_look_took():
    """With what it freezes. The first look of all, at everything, comes before there is anybody to wait for it."""

    class Slow(Recorder):
        def collect(self, generation=2):
            clock.append(clock[-1] + 0.25)

        def freeze(self):
            clock.append(clock[-1] + 0.5)

    timer, clock, pauses = Timer(), [1000.0], []
    YoungCollector(timer.call_later, pauses.append, collector=Slow(), now=lambda: clock[-1]).start()
    timer.fire()
    assert pauses == [0.75, 0.75]


def test_a_storm_of_cycles_leaves_memory_flat(collector):
    """Cycles between one look and the next are all there ever are."""
    timer = Timer()
    YoungCollector(timer.call_later).start()
    alive = weakref.WeakSet()
    most = 0
    for _ in range(100):
        for _ in range(100):
            alive.add(Cycle())
        most = max(most, len(alive))
        timer.fire()
    assert most == 100
    assert len(alive) == 0


def test_what_is_frozen_is_freed_by_its_reference_count(collector):
    timer = Timer()
    kept = [{"a": [number]} for number in range(1000)]
    YoungCollector(timer.call_later).start()
    watched = weakref.ref(timer)
    frozen = gc.get_freeze_count()
    kept.clear()
    assert frozen - gc.get_freeze_count() >= 2000
    timer.due.clear()
    del timer
    assert watched() is None


def test_nothing_runs_between_looks(collector):
    """However much is allocated, no collection comes by itself."""
    YoungCollector(Timer().call_later).start()
    before = [generation["collections"] for generation in gc.get_stats()]
    kept = [[number] for number in range(100_000)]
    assert [generation["collections"] for generation in gc.get_stats()] == before
    assert len(kept) == 100_000


PING = msgpack.packb([0, 1, "ping", []])


@pytest.mark.parametrize("sent", [PING, PING * 3 + PING[:-1], PING + b"\xc1"], ids=["whole", "partial", "no frame"])
def test_a_connection_takes_its_cycles_apart(sent, collector):
    """It outlives many looks of the collector, so it must not need one when it ends."""

    async def converse():
        service = Service(Config(listen="127.0.0.1:0", metrics="127.0.0.1:0"))
        await service.start()
        gc.collect()  # what other tests have left
        gc.disable()
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(sent)
        await reader.read(1)
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10):
            front_end = service._front_end
            while front_end._connections or front_end.round.is_open:  # noqa: ASYNC110  (nothing tells when they are gone)
                await asyncio.sleep(0)
        left = [each for each in gc.get_objects() if isinstance(each, Connection)]
        await service.stop()
        return len(left)

    assert asyncio.run(converse()) == 0
