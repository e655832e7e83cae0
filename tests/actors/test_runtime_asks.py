"""Asks between actors, from inside turns, and what comes back when they fail."""

from __future__ import annotations

import threading
import traceback

import pykka
import pytest
from runtimes import PATIENCE, Doer, held, thread_dispatcher

from sessiond.actors.future import Pending, ReplyFuture


def ask(ref, message):
    return ref.ask(message, timeout=PATIENCE)


def test_an_actor_that_asks_itself_is_told(dispatcher):
    """Waiting for one's own reply would be for ever; it raises at once, and the actor lives on."""
    ref = Doer.start(dispatcher)
    with pytest.raises(RuntimeError, match="waits for its own reply"):
        ask(ref, lambda actor: ask(actor.actor_ref, lambda _: None))
    assert ask(ref, lambda _: "alive") == "alive"


def test_an_actor_that_asks_itself_on_the_dispatchers_thread_is_told_too(dispatcher):
    """The same in a turn that nobody waits for."""
    ref = Doer.start(dispatcher)
    outcome = []
    done = threading.Event()

    def ask_itself(actor):
        try:
            ask(actor.actor_ref, lambda _: None)
        except RuntimeError as error:
            outcome.append(error)
        done.set()

    ref.tell(ask_itself)
    assert done.wait(PATIENCE)
    assert len(outcome) == 1


def test_a_ring_of_asks_is_told(dispatcher):
    """A asks B and B asks A: the innermost ask raises, and both live on."""
    first, second = Doer.start(dispatcher), Doer.start(dispatcher)
    with pytest.raises(RuntimeError, match="waits for its own reply"):
        ask(first, lambda _: ask(second, lambda _: ask(first, lambda _: None)))
    assert ask(first, lambda _: "alive") == ask(second, lambda _: "alive")


@pytest.mark.parametrize("awaited", [True, False], ids=["awaited", "told"])
def test_a_chain_of_asks_needs_no_thread_per_link(dispatcher, awaited):
    """Thirty actors that ask one another, all on the one thread of the dispatcher."""
    refs = [Doer.start(dispatcher) for _ in range(30)]

    def handle(depth):
        return lambda _: 1 + ask(refs[depth + 1], handle(depth + 1)) if depth + 1 < len(refs) else 1

    if awaited:
        assert ask(refs[0], handle(0)) == len(refs)
        return
    result = []
    done = threading.Event()
    refs[0].tell(lambda actor: (result.append(handle(0)(actor)), done.set()))
    assert done.wait(PATIENCE)
    assert result == [len(refs)]


def test_a_turn_that_waits_lets_the_turns_run_that_it_waits_for(dispatcher):
    """A waits for a reply of B that C completes: on the same thread, inside A's turn."""
    first, second, third = (Doer.start(dispatcher) for _ in range(3))
    pending = Pending()

    def answer_later(_):
        third.tell(lambda _: pending.set("at last"))
        return pending

    assert ask(first, lambda _: ask(second, answer_later)) == "at last"


@pytest.mark.parametrize("dispatcher", ["thread"], indirect=True)  # a blocked event loop runs no timers
def test_a_turn_that_waits_lets_timers_run(dispatcher):
    """A waits for a reply that a timer completes."""
    first, second = Doer.start(dispatcher), Doer.start(dispatcher)
    pending = Pending()

    def answer_later(_):
        dispatcher.call_later(0, lambda: second.tell(lambda _: pending.set("in time")))
        return pending

    done = threading.Event()
    replies = []
    first.tell(lambda _: (replies.append(ask(second, answer_later)), done.set()))
    assert done.wait(PATIENCE)
    assert replies == ["in time"]


def test_a_wait_inside_a_turn_times_out(dispatcher):
    """A turn that waits in vain goes on after its timeout."""
    first, second = Doer.start(dispatcher), Doer.start(dispatcher)
    with pytest.raises(pykka.Timeout):
        ask(first, lambda _: second.ask(lambda _: Pending(), timeout=0.01))
    assert ask(first, lambda _: "alive") == "alive"


@pytest.mark.parametrize("awaited", [True, False], ids=["awaited", "told"])
def test_a_turn_that_waits_lets_the_turns_run_that_become_due_meanwhile(dispatcher, awaited):
    """Another thread sends what A waits for while A waits: to an actor that had nothing to do until then."""
    first, second, third = (Doer.start(dispatcher) for _ in range(3))
    pending = Pending()
    asked, done = threading.Event(), threading.Event()
    replies = []

    def complete():
        assert asked.wait(PATIENCE)
        third.tell(lambda _: pending.set("done"))

    def answer_later(_):
        asked.set()
        return pending

    def wait(_):
        replies.append(ask(second, answer_later))
        done.set()

    helper = threading.Thread(target=complete, daemon=True)
    helper.start()
    if awaited:
        ask(first, wait)
    else:
        first.tell(wait)
    assert done.wait(PATIENCE)
    helper.join(PATIENCE)
    assert replies == ["done"]


def test_an_ask_inside_a_turn_may_stop_other_actors(dispatcher):
    """A blocking stop from a turn is an ask like any other."""
    first, second = Doer.start(dispatcher), Doer.start(dispatcher)
    assert ask(first, lambda _: second.stop()) is True
    assert not second.is_alive()
    assert ask(first, lambda _: second.stop()) is False


def test_an_ask_of_an_actor_on_another_dispatcher(dispatcher):
    """Two services in one program may ask each other."""
    with thread_dispatcher() as elsewhere:
        here, there = Doer.start(dispatcher), Doer.start(elsewhere)
        assert ask(here, lambda _: ask(there, lambda _: "hello")) == "hello"
        assert ask(there, lambda _: ask(here, lambda _: "hello")) == "hello"
        there.stop()


class Trouble(Exception):
    pass


def fail(_):
    raise Trouble


def frames(error):
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_an_exception_comes_back_with_the_traceback_of_the_handler(dispatcher):
    """The asker sees where it was raised, not only where it was raised again."""
    ref = Doer.start(dispatcher)
    with pytest.raises(Trouble) as caught:
        ask(ref, fail)
    assert "fail" in frames(caught.value)
    assert ask(ref, lambda _: "alive") == "alive"


def test_a_traceback_does_not_grow_when_its_exception_is_raised_again(dispatcher):
    """Each get() starts from the handler's traceback, or a future that is asked often would hold ever more frames."""
    ref = Doer.start(dispatcher)
    reply = ref.ask(fail, block=False)
    lengths = set()
    for _ in range(5):
        with pytest.raises(Trouble) as caught:
            reply.get(timeout=PATIENCE)
        lengths.add(len(frames(caught.value)))
        assert "fail" in frames(caught.value)
    assert len(lengths) == 1


def test_a_dead_actor_is_found_dead_by_ask_and_tell(dispatcher):
    """After its stop an actor takes in nothing."""
    ref = Doer.start(dispatcher)
    ref.stop()
    with pytest.raises(pykka.ActorDeadError):
        ask(ref, lambda _: None)
    with pytest.raises(pykka.ActorDeadError):
        ref.tell(lambda _: None)
    assert ref.stop() is False


def test_replies_come_through_proxies(dispatcher):
    """Calls, reads and writes of a proxy are asks as well."""
    proxy = Doer.start(dispatcher).proxy()
    proxy.noted = ["written"]
    proxy.note("called").get(timeout=PATIENCE)
    assert proxy.noted.get(timeout=PATIENCE) == ["written", "called"]


def test_an_asker_that_gives_up_at_once_leaves_its_message_to_the_dispatcher(dispatcher):
    """A blocking ask wakes nobody, as it runs the turn itself; if it does not come to that it must wake after all."""
    ref = Doer.start(dispatcher)
    done = threading.Event()
    with held(Doer.start(dispatcher)), pytest.raises(pykka.Timeout):
        ref.ask(lambda _: done.set(), timeout=1e-9)
    assert done.wait(PATIENCE)


def test_an_asker_that_is_interrupted_leaves_its_message_to_the_dispatcher(dispatcher, monkeypatch):
    """The same for Ctrl-C."""
    ref = Doer.start(dispatcher)
    done = threading.Event()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ReplyFuture, "get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ref.ask(lambda _: done.set())
    assert done.wait(PATIENCE)
