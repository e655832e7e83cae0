"""The actors of the service itself: restarted in place, with backoff, and given up when that does not help."""

from __future__ import annotations

import pykka
import pytest
from pykka.messages import ProxyCall
from runtimes import PATIENCE

from sessiond.actors.errors import Internal, InvalidRequest, Unavailable
from sessiond.actors.future import Pending
from sessiond.actors.service import FIRST_BACKOFF, ServiceActor
from sessiond.actors.supervision import CrashLog, LogRate, RestartWindow
from sessiond.actors.surveyor import SurveyorActor

RESTARTS = 5


class Worker(ServiceActor):
    """Works when told to, and fails at it when told so."""

    name = "worker"

    def __init__(self, context):
        super().__init__(context)
        self.resumed = 0

    def resume(self):
        self.resumed += 1

    def on_receive(self, message):
        if isinstance(message, BaseException):
            raise message
        return super().on_receive(message)

    def request(self, error):
        raise error


@pytest.fixture
def worker(manager):
    ref = Worker.start(manager.context)
    yield ref
    ref.stop()


def resumed(worker):
    return worker.proxy().resumed.get(timeout=PATIENCE)


def fail(manager, worker, error=RuntimeError):
    worker.tell(error())
    manager.settle()


def test_an_actor_takes_up_its_work_when_it_starts(worker):
    assert resumed(worker) == 1


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt, MemoryError, RecursionError])
def test_a_crash_in_its_own_work_restarts_an_actor_in_place(manager, worker, error):
    """After a pause, and with the same ref."""
    fail(manager, worker, error)
    assert resumed(worker) == 1
    assert [seconds for seconds, _ in manager.dispatcher.timers[1:]] == [FIRST_BACKOFF]
    manager.dispatcher.fire()
    manager.settle()
    assert resumed(worker) == 2
    assert worker.is_alive()
    assert manager.context.tally.restarts == {"worker": 1}


def test_each_further_restart_waits_twice_as_long(manager, worker):
    """Up to five within a minute; then the actor is given up."""
    waits = []
    for _ in range(RESTARTS):
        manager.dispatcher.timers.clear()
        fail(manager, worker)
        waits += manager.dispatcher.fire()
        manager.settle()
    assert waits == [FIRST_BACKOFF * 2**restart for restart in range(RESTARTS)]
    assert manager.given_up == []
    fail(manager, worker)
    assert manager.given_up == ["worker"]
    assert manager.context.tally.restarts == {"worker": RESTARTS}


def test_a_pause_begins_anew_after_a_quiet_minute(manager, worker):
    for _ in range(3 * RESTARTS):
        manager.dispatcher.timers.clear()
        fail(manager, worker)
        assert manager.dispatcher.fire() == [FIRST_BACKOFF]
        manager.clock.advance(60)
    assert manager.given_up == []


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt, pykka.ActorDeadError])
def test_a_crash_in_a_request_is_the_answer_to_it_and_no_more(manager, worker, error):
    """Or clients could bring the service down."""
    for _ in range(3 * RESTARTS):
        with pytest.raises(Internal):
            worker.proxy().request(error()).get(timeout=PATIENCE)
    assert resumed(worker) == 1
    assert manager.context.tally.restarts == {}
    assert manager.given_up == []


def test_a_request_that_nobody_waits_for_brings_nothing_down_either(manager):
    """A call that is told is a client's request too, however wrong."""
    for _ in range(3 * RESTARTS):
        manager.registry.tell(ProxyCall(("no_such_method",), (), {}))
        manager.registry.proxy().create_session.defer(5, 6, 7)
    manager.settle()
    assert manager.given_up == []
    assert manager.ping() == "pong"


def test_our_own_errors_are_no_crashes(manager, worker):
    for _ in range(3 * RESTARTS):
        fail(manager, worker, lambda: InvalidRequest("no"))
    assert manager.context.tally.restarts == {}


def test_an_actor_that_was_stopped_while_it_paused_stays_stopped(manager, worker):
    """The timer of its restart finds nobody."""
    fail(manager, worker)
    worker.stop()
    manager.dispatcher.fire()
    manager.settle()
    assert not worker.is_alive()


def test_an_actor_that_cannot_take_up_its_work_is_tried_again(manager, monkeypatch):
    """A crash in ``resume`` is one of the actor's own."""
    worker = Worker.start(manager.context)
    manager.settle()

    def crash(_):
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(Worker, "resume", crash)
        fail(manager, worker)
        manager.dispatcher.fire()
        manager.settle()
    assert manager.context.tally.restarts == {"worker": 2}
    manager.dispatcher.fire()
    manager.settle()
    assert resumed(worker) == 2
    worker.stop()


# The window of restarts


def test_so_many_restarts_are_allowed_within_so_many_seconds():
    window = RestartWindow(2, 60)
    assert [window.crashed("a", now) for now in (0, 1, 2)] == [1, 2, None]


def test_crashes_leave_the_window_one_by_one():
    """It slides: a crash counts for exactly its seconds."""
    window = RestartWindow(2, 60)
    assert [window.crashed("a", now) for now in (0, 30, 60, 89, 150)] == [1, 2, 2, None, 1]


def test_actors_are_counted_apart():
    window = RestartWindow(1, 60)
    assert [window.crashed(actor, 0) for actor in "abab"] == [1, 1, None, None]


def test_a_window_forgets_actors_that_have_not_crashed_lately():
    """Sessions come and go by the million; those that crashed once must not stay."""
    window = RestartWindow(3, 60)
    for number in range(50_000):
        window.crashed(number, number)
    assert len(window._crashes) <= 1100


def test_a_window_forgets_no_actor_that_has():
    window = RestartWindow(1, 60)
    for number in range(5000):
        assert window.crashed(number, 0) == 1
    assert all(window.crashed(number, 59) is None for number in range(5000))


# The log


def test_the_log_tells_each_crash_while_they_are_few(caplog):
    log = CrashLog()
    for number in range(20):
        log.log(f"worker {number}", RuntimeError("no"), 10.0 * number)
    assert [record.getMessage() for record in caplog.records] == [f"Crash in worker {number}" for number in range(20)]
    assert all(record.exc_info[1].args == ("no",) for record in caplog.records)


def test_the_log_counts_what_it_does_not_tell(caplog):
    log = CrashLog()
    for _ in range(1000):
        log.log("worker", RuntimeError(), 1.0)
    assert len(caplog.records) == LogRate.LINES
    log.log("worker", RuntimeError(), 1.0 + LogRate.SECONDS)
    assert caplog.records[-1].getMessage() == "Crash in worker (990 more were not logged)"
    log.log("worker", RuntimeError(), 1.0 + LogRate.SECONDS)
    assert caplog.records[-1].getMessage() == "Crash in worker"


# The surveyor


class Endless:
    """Work that is never done, or crashes at its second step."""

    def __init__(self, error=None):
        self.steps = 0
        self._error = error

    def step(self):
        self.steps += 1
        if self._error is not None and self.steps > 1:
            raise self._error


def survey(manager, *works):
    """Have the registry do its first step of each and hand it to the surveyor; a future for each."""
    return [manager.registry.ask(ProxyCall(("_work",), (work,), {}), block=False) for work in works]


def test_a_long_work_keeps_no_request_waiting(manager):
    """Creates go on between its steps."""
    work = Endless()
    survey(manager, work)
    manager.create()
    seen = work.steps
    manager.create()
    assert work.steps >= seen >= 1


def test_long_works_take_turns(manager):
    works = [Endless() for _ in range(3)]
    survey(manager, *works)
    for _ in range(20):
        manager.settle()
    steps = [work.steps for work in works]
    assert min(steps) > 1
    assert max(steps) - min(steps) <= 2


def test_the_surveyor_takes_one_step_in_a_turn():
    """Others get theirs between any two steps, each of which is short."""
    assert SurveyorActor._share == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [(InvalidRequest("no"), InvalidRequest), (RuntimeError(), Internal), (SystemExit(), Internal)],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_a_work_that_fails_later_is_answered(manager, error, told):
    """And is no crash of the surveyor."""
    (reply,) = survey(manager, Endless(error))
    with pytest.raises(told):
        reply.get(timeout=PATIENCE)
    assert manager.context.tally.restarts == {}


class Waiting:
    """Work that waits before each step, and is done after three."""

    def __init__(self):
        self.awaited = []

    def step(self):
        if len(self.awaited) == 3:
            return "done"
        self.awaited.append(Pending())
        return self.awaited[-1]


def test_a_work_that_waits_takes_its_next_step_however_that_comes_out(manager):
    work = Waiting()
    (reply,) = survey(manager, work)
    manager.settle()
    work.awaited[0].set("read")
    manager.settle()
    work.awaited[1].fail(Unavailable("no"))
    manager.settle()
    assert not reply.done()
    work.awaited[2].set("read")
    assert reply.get(timeout=PATIENCE) == "done"


def test_a_work_that_waits_keeps_no_other_waiting(manager):
    waiting, busy = Waiting(), Endless()
    survey(manager, waiting, busy)
    for _ in range(5):
        manager.settle()
    assert len(waiting.awaited) == 1
    assert busy.steps > 1


def test_what_a_work_waits_for_may_come_after_the_service_has_stopped(manager):
    work = Waiting()
    (reply,) = survey(manager, work)
    manager.settle()
    manager.registry.stop()
    with pytest.raises(Unavailable):
        reply.get(timeout=PATIENCE)
    work.awaited[0].set("read")
    assert len(work.awaited) == 1


def test_stopping_the_service_answers_works_that_are_not_done(manager):
    """Nobody waits for ever for a list of a service that is gone."""
    replies = survey(manager, Endless(), Endless())
    manager.settle()
    manager.registry.stop()
    for reply in replies:
        with pytest.raises(Unavailable):
            reply.get(timeout=PATIENCE)
