"""Delivers the records of calls to every sink, each on a thread of its own, so that none holds up another."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from sessiond.actors.clock import Clock, SystemClock
from sessiond.actors.store import Post
from sessiond.records.courier import LOOK, Courier
from sessiond.records.file_sink import FileWriter
from sessiond.records.reading import Reader
from sessiond.records.retention import Purging, Retention
from sessiond.records.settings import FileSink, RecordSettings, SinkSettings
from sessiond.records.sink import Interrupted, Sink, SinkError
from sessiond.records.webhook import DeadLetterFile, Webhook

__all__ = ["Delivery", "Keeping", "position_name"]

logger = logging.getLogger(__name__)

ALL = (1 << 63) - 1
"""The highest number that a record can have."""
GATHER = 0.1
"""Seconds for which records gather once there is nothing left to do: a sink takes many at once as well as one."""
SHARE = 0.25
"""Of a core, which a thread takes at most: it shares Python's lock with the service."""
SPARE = 1.0
"""Seconds beyond its patience that a sink is waited for at the end."""


class Keeping(Purging, Protocol):
    """What delivery needs of the store, on the dispatcher's thread."""

    def put(self, name: str, value: int) -> int:
        """A named number has this value."""
        ...


def position_name(sink: str) -> str:
    """What a store calls the number of the last record that ``sink`` has had."""
    return f"sink:{sink}"


class Delivery:
    """All sinks of a service, and how long records are kept for them."""

    def __init__(
        self,
        settings: RecordSettings,
        sinks: Iterable[SinkSettings],
        path: str,
        store: Keeping,
        post: Post,
        call_later: Callable[[float, Callable[[], None]], None],
        clock: Clock | None = None,
    ) -> None:
        """Prepare to deliver; nothing runs before ``start``.

        Args:
            settings: how long records are kept.
            sinks: where they go.
            path: the store's database.
            store: keeps positions and deletes records.
            post: runs what concerns the store on the dispatcher's thread.
            call_later: the dispatcher's.
            clock: where the time comes from, by default the machine's clocks. Not one that can be held.
        """
        self.couriers: list[Courier] = []
        """One for each sink, from the start on; metrics look at them."""
        self._sinks = tuple(sinks)
        self._path = path
        self._store = store
        self._post = post
        self._clock = clock or SystemClock()
        self._threads: list[_CourierThread] = []
        self._retention = Retention(settings.keep, store, self.position, call_later, post, self._clock)

    def start(self, values: Mapping[str, int]) -> None:
        """Deliver from now on what comes after the positions among ``values``, those that the store had at its start.

        Raises:
            SinkError: a sink cannot be used as it is configured.
        """
        for settings in self._sinks:
            courier = self._courier(settings, values.get(position_name(settings.name), 0))
            try:
                courier.sink.prepare()
            except SinkError as error:
                raise SinkError(f"sink {settings.name}: {error}") from None
            self.couriers.append(courier)
        self._threads = [_CourierThread(courier) for courier in self.couriers]
        for thread in self._threads:
            thread.start()
        self._retention.start()

    def wake(self) -> None:
        """Tell that there are new records. Costs next to nothing; from any thread."""
        for thread in self._threads:
            thread.wake()

    def position(self) -> int:
        """The number up to which every sink has had all records."""
        return min((courier.position for courier in self.couriers), default=ALL)

    def stop(self) -> None:
        """Break off what is under way, and wait until the threads have ended.

        Positions are posted until then, so whoever runs what is posted must not be the one who waits.
        """
        self._retention.stop()
        for thread in self._threads:
            thread.stop()
        for thread in self._threads:
            thread.finish()

    def _courier(self, settings: SinkSettings, position: int) -> Courier:
        sink: Sink
        if isinstance(settings, FileSink):
            sink, dead_letters = FileWriter(settings, self._clock), None
        else:
            sink, dead_letters = Webhook(settings, self._clock), DeadLetterFile(settings)
        name = position_name(settings.name)

        def advance(number: int) -> None:
            self._post(lambda: self._put(name, number))

        draw = random.random
        return Courier(settings.name, sink, Reader(self._path), position, advance, self._clock, draw, dead_letters)

    def _put(self, name: str, number: int) -> None:
        self._store.put(name, number)


class _CourierThread:
    """Has a courier take its steps."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._rung = threading.Event()
        self._stopping = threading.Event()
        # A daemon: a disk or a resolver that does not answer keeps no process from its end.
        self._thread = threading.Thread(target=self._run, name=f"sink-{courier.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        if not self._rung.is_set():
            self._rung.set()

    def stop(self) -> None:
        self._stopping.set()
        self._rung.set()
        self._courier.sink.interrupt()

    def finish(self) -> None:
        self._thread.join(self._courier.sink.patience + SPARE)
        if self._thread.is_alive():
            logger.warning("The sink %s does not stop; what it has not had yet it will get later", self._courier.name)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._rung.clear()
                self._rest(*self._step())
        except Interrupted:
            pass
        finally:
            self._courier.close()

    def _step(self) -> tuple[float, float]:
        """Seconds until the next step, and those of work that this one was."""
        begin = time.thread_time()
        try:
            pause = self._courier.step()
        except Interrupted:
            raise
        except Exception:
            logger.exception("Crash in the sink %s", self._courier.name)
            self._courier.failures += 1
            pause = LOOK
        return pause, time.thread_time() - begin

    def _rest(self, pause: float, worked: float) -> None:
        if self._stopping.wait(max(min(pause, GATHER), worked * (1 / SHARE - 1))):
            return
        if pause:
            self._rung.wait(pause)
