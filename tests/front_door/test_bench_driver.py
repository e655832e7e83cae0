"""The generator does what it was asked, leaves nothing behind, and tells the truth of a service that is in trouble.

Measurements here last for a minute at most and are ended when enough was answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket

import msgpack
import pytest
from clients import asynchronous
from serving import serving

from sessiond.actors.settings import Settings
from sessiond.bench import driver
from sessiond.bench.dialect import MessagePackRpc
from sessiond.bench.driver import Load, drive
from sessiond.bench.workload import CALL, Step
from sessiond.config import Config

MINUTE = {"duration": 60.0, "warm_up": 0.0}


class Enough:
    """Sets ``stop`` when so many requests were answered. Its method ``dialect`` is what makes dialects."""

    def __init__(self, answers):
        self.stop = asyncio.Event()
        self.left = answers
        self.connections = 0

    def dialect(self):
        self.connections += 1
        return _Counting(self)


class _Counting(MessagePackRpc):
    def __init__(self, enough):
        super().__init__()
        self._enough = enough

    def decode(self, data):
        for answer in super().decode(data):
            self._enough.left -= 1
            if self._enough.left == 0:
                self._enough.stop.set()
            yield answer


def driven(port, answers, on_progress=None, **load):
    """Drive the service until so many requests were answered; the result, and the number of connections."""

    async def run():
        enough = Enough(answers)
        load_ = Load(**(MINUTE | load))
        return await drive("127.0.0.1", port, enough.dialect, load_, on_progress, enough.stop), enough.connections

    return asyncio.run(run())


def live(served):
    return served.registry.proxy().count_sessions().get().count


@pytest.fixture
def served():
    with serving() as each:
        yield each


@pytest.mark.parametrize(("connections", "pipeline"), [(1, 1), (3, 2), (1, 64)])
def test_it_takes_calls_through_their_steps_and_ends_them(served, connections, pipeline):
    result, connected = driven(served.port, 500, connections=connections, pipeline=pipeline)
    assert connected == connections
    assert result.error_codes == {}
    assert result.lost is None
    assert result.requests >= 500 - connections * pipeline
    assert {step for step, times in result.steps.items() if times.count} == {*CALL}
    assert live(served) == 0
    ended = served.registry.proxy().count_sessions(ended=True).get().count
    assert ended >= result.calls >= 500 // len(CALL) - connections * pipeline


def test_it_has_as_many_under_way_as_it_was_asked(served):
    """With that many slots that are all at their first step, so many sessions are there at least once."""
    result, _ = driven(served.port, 12, connections=3, pipeline=4, steps=(Step.CREATE,))
    assert result.steps[Step.CREATE].count >= 12
    assert live(served) >= 12


def test_an_open_loop_begins_calls_by_itself(served):
    result, _ = driven(served.port, 60, connections=2, rate=10_000.0)
    assert result.error_codes == {}
    assert result.calls > 0
    assert live(served) == 0


def test_residents_are_up_while_it_measures_and_gone_after_it(served):
    counts = {}

    def look(progress):
        counts.setdefault(progress.phase, served.registry.proxy().count_sessions(state="active").get().count)

    result, _ = driven(served.port, 200, look, connections=2, resident=50)
    assert counts["measuring"] >= 50
    assert live(served) == 0
    assert result.steps[Step.TOUCH].count == 0
    assert result.calls < 30


def test_residents_are_touched(served):
    result, _ = driven(served.port, 300, connections=2, resident=5, rate=100.0, touches=50_000.0, spacing="even")
    assert result.steps[Step.TOUCH].count > 200
    assert result.error_codes == {}
    assert live(served) == 0


def test_phases_are_told_in_their_order(served):
    phases = []
    driven(served.port, 400, lambda progress: phases.append(progress.phase), resident=20)
    told = [phase for phase, _ in itertools.groupby(phases)]
    assert [phase for phase in told if phase != "ending"] == ["connecting", "creating", "measuring", "removing"]


def test_a_stop_before_the_measurement_removes_what_is_there(served):
    result, _ = driven(served.port, 10, resident=1000, connections=1)
    assert result.requests == 0
    assert live(served) == 0


def test_errors_are_counted_by_code_and_not_as_requests():
    with serving(Config(sessions=Settings(max_sessions=2))) as served:
        result, _ = driven(served.port, 100, connections=4)
        assert set(result.error_codes) == {"limit_exceeded"}
        assert set(result.errors[Step.CREATE]) == {"limit_exceeded"}
        assert live(served) == 0


# A service in trouble


@contextlib.asynccontextmanager
async def misbehaving(answer):
    """The port of a service that calls ``answer(request, writer)`` for each request."""

    async def converse(reader, writer):
        unpacker = msgpack.Unpacker()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                unpacker.feed(data)
                for request in unpacker:
                    answer(request, writer)
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def reply(request, writer):
    writer.write(msgpack.packb([1, request[1], None, {"id": "01890a5d-ac96-774b-bcce-b302099a8057"}]))


@asynchronous
async def test_a_service_that_hangs_up_is_lost():
    requests = itertools.count(1)

    def hang_up(request, writer):
        reply(request, writer)
        if next(requests) == 20:
            writer.close()

    async with misbehaving(hang_up) as port:
        result = await drive("127.0.0.1", port, MessagePackRpc, Load(connections=2, **MINUTE))
    assert result.lost.startswith("a connection was lost: ")
    assert result.requests >= 10


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it begins with b'HTTP"),
        (b"\x94\x01\x07\xc0\xc0", "nothing was asked in slot 7"),
    ],
)
def test_what_answers_in_another_way_is_lost(answer, text):
    async def run():
        async with misbehaving(lambda _, writer: writer.write(answer)) as port:
            return await drive("127.0.0.1", port, MessagePackRpc, Load(connections=1, **MINUTE))

    result = asyncio.run(run())
    assert result.lost.startswith("what it sends is no answer: ")
    assert text in result.lost


@pytest.mark.parametrize("resident", [0, 1])
def test_a_service_that_is_silent_is_lost(resident, monkeypatch):
    monkeypatch.setattr(driver, "PATIENCE", 0.0)
    monkeypatch.setattr(driver, "PROGRESS_INTERVAL", 0.001)

    async def run():
        stop = asyncio.Event()
        async with misbehaving(lambda *_: stop.set()) as port:
            load = Load(connections=1, resident=resident, **MINUTE)
            return await drive("127.0.0.1", port, MessagePackRpc, load, stop=stop)

    assert asyncio.run(run()).lost == "no answer for 0 s"


@asynchronous
async def test_a_service_that_is_not_there_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OSError, match=str(port)):
        await drive("127.0.0.1", port, MessagePackRpc, Load())


@pytest.mark.parametrize(("rate", "is_hidden"), [(1000.0, False), (None, True)], ids=["open loop", "closed loop"])
def test_an_open_loop_does_not_hide_that_the_service_stood_still(rate, is_hidden, monkeypatch):
    """The service stands still for 10 s once; a call was due every millisecond. Most of those answered then were due
    seconds ago. A closed loop asks nothing meanwhile, and shows one slow request."""
    now = itertools.count()
    stood = []
    monkeypatch.setattr(driver, "perf_counter", lambda: next(now) * 0.0001 + sum(stood))
    monkeypatch.setattr(driver, "SPIN", 1e9)
    requests = itertools.count()

    async def run():
        stop = asyncio.Event()

        def stand_still(request, writer):
            number = next(requests)
            if number == 5:
                stood.append(10.0)
            if number == 500:
                stop.set()
            reply(request, writer)

        async with misbehaving(stand_still) as port:
            load = Load(connections=1, rate=rate, spacing="even", steps=(Step.CREATE,), **MINUTE)
            return await drive("127.0.0.1", port, MessagePackRpc, load, stop=stop)

    times = asyncio.run(run()).steps[Step.CREATE]
    assert times.max >= 10
    assert (times.percentile(50) < 1) == is_hidden
