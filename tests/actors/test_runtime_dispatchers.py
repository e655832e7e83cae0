"""The two kinds of dispatcher: their threads, their timers, and how they end."""

from __future__ import annotations

import asyncio
import logging
import threading

import pykka
import pytest
from runtimes import PATIENCE, Doer, loop_dispatcher, settle

from sessiond.actors.dispatcher import LoopDispatcher, ThreadDispatcher, shared_dispatcher


def wait_for_timers(dispatcher):
    done = threading.Event()
    dispatcher.call_later(0.003, done.set)
    assert done.wait(PATIENCE)


def test_timers_run_when_they_are_due_and_not_when_they_were_set(dispatcher):
    ran = []
    done = threading.Event()
    dispatcher.call_later(0.1, lambda: (ran.append("later"), done.set()))
    dispatcher.call_later(0, lambda: ran.append("at once"))
    assert done.wait(PATIENCE)
    assert ran == ["at once", "later"]


def test_timers_run_on_the_dispatchers_thread(dispatcher):
    ran = []
    told = threading.Event()
    ref = Doer.start(dispatcher)
    ref.tell(lambda _: (ran.append(threading.current_thread()), told.set()))
    assert told.wait(PATIENCE)
    dispatcher.call_later(0, lambda: ran.append(threading.current_thread()))
    wait_for_timers(dispatcher)
    assert ran[0] is ran[1]


def test_what_is_to_be_called_soon_is_called_once_the_turn_is_over_and_in_order(dispatcher):
    ran, done = [], threading.Event()

    def turn(_):
        for what in ("first", "second"):
            dispatcher.call_soon(lambda what=what: ran.append(what))
        dispatcher.call_soon(done.set)
        ran.append("turn")

    Doer.start(dispatcher).tell(turn)
    assert done.wait(PATIENCE)
    assert ran == ["turn", "first", "second"]


def test_what_a_turn_leaves_for_later_comes_before_the_loop_goes_on():
    ran, done = [], threading.Event()

    def turn(_):
        loop = asyncio.get_running_loop()
        loop.call_soon(ran.append, "loop")
        loop.call_soon(done.set)
        dispatcher.call_soon(lambda: ran.append("soon"))
        ran.append("turn")

    with loop_dispatcher() as dispatcher:
        ref = Doer.start(dispatcher)
        ref.tell(turn)
        assert done.wait(PATIENCE)
        ref.stop()
    assert ran == ["turn", "soon", "loop"]


def test_what_a_turn_leaves_for_later_may_fail_and_keeps_nothing_else_from_coming(caplog):
    done = threading.Event()
    with loop_dispatcher() as dispatcher:
        ref = Doer.start(dispatcher)
        ref.tell(lambda _: (dispatcher.call_soon(lambda: 1 / 0), dispatcher.call_soon(done.set)))
        assert done.wait(PATIENCE)
        ref.stop()
    assert "ZeroDivisionError" in caplog.text


def test_a_turn_may_set_a_timer(dispatcher):
    done = threading.Event()
    Doer.start(dispatcher).tell(lambda _: dispatcher.call_later(0, done.set))
    assert done.wait(PATIENCE)


def test_a_timer_that_fails_is_logged_and_the_next_one_runs(dispatcher, caplog):
    def fail():
        raise RuntimeError

    dispatcher.call_later(0, fail)
    wait_for_timers(dispatcher)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert Doer.start(dispatcher).ask(lambda _: "alive", timeout=PATIENCE) == "alive"


def test_an_actor_that_fails_even_to_end_holds_up_nobody(dispatcher, caplog):
    """Its own teardown is foreign code too."""

    class Clumsy(Doer):
        def _actor_loop_teardown(self):
            raise RuntimeError

    Clumsy.start(dispatcher).tell(lambda actor: actor.stop())
    settle(dispatcher)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_thread_starts_when_there_is_something_to_do():
    """And not before: a program that only imports sessiond has none of its threads."""
    threads = threading.active_count()
    dispatcher = ThreadDispatcher("lazy")
    assert threading.active_count() == threads
    Doer.start(dispatcher)
    (thread,) = [each for each in threading.enumerate() if each.name == "lazy"]
    assert thread.daemon
    dispatcher.stop()
    assert not thread.is_alive()


def test_a_dispatcher_that_never_started_can_be_stopped():
    ThreadDispatcher().stop()


def test_what_was_ready_before_a_stop_still_runs():
    """And a timer that was not due does not."""
    dispatcher = ThreadDispatcher()
    ref = Doer.start(dispatcher)
    ran = []
    for number in range(100):
        ref.tell(lambda _, number=number: ran.append(number))
    dispatcher.call_later(1000, lambda: ran.append("timer"))
    dispatcher.stop()
    dispatcher.stop()
    assert ran == list(range(100))
    ref.stop()


def test_a_dispatcher_may_be_stopped_from_a_turn_of_its_own():
    """Its thread cannot wait for itself to end, and ends all the same."""
    dispatcher = ThreadDispatcher("brief")
    ref = Doer.start(dispatcher)
    ref.tell(lambda _: dispatcher.stop())
    for thread in threading.enumerate():
        if thread.name == "brief":
            thread.join(PATIENCE)
            assert not thread.is_alive()
    ref.stop()


def test_a_loop_that_has_closed_is_no_error_for_whoever_sends():
    """A program that ends closes its loop while others may still tell its actors something."""
    loop = asyncio.new_event_loop()
    dispatcher = LoopDispatcher(loop)
    early = Doer.start(dispatcher)
    loop.close()
    late = Doer.start(dispatcher)
    dispatcher.call_later(0, lambda: None)
    for ref in (early, late):
        ref.tell(lambda _: None)
        pykka.ActorRegistry.unregister(ref)  # nobody is left who could stop it


def test_actors_that_name_no_dispatcher_share_one():
    assert shared_dispatcher() is shared_dispatcher()


@pytest.mark.parametrize("dispatcher", ["loop"], indirect=True)
def test_turns_leave_the_loop_time_for_other_things(dispatcher):
    """However many turns are ready, the loop's own callbacks come through between them."""
    refs = [Doer.start(dispatcher) for _ in range(2)]
    heard = threading.Event()
    turns = []

    def ping_pong(number):
        def turn(_):
            turns.append(number)
            if not heard.is_set():
                refs[number % 2].tell(ping_pong(number + 1))

        return turn

    refs[0].tell(ping_pong(1))
    dispatcher._loop.call_soon_threadsafe(lambda: dispatcher._loop.call_later(0, heard.set))
    assert heard.wait(PATIENCE)
