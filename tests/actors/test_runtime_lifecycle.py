"""How actors begin and end, what an idle one costs and what is left of a stopped one: nothing."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import types
from collections import deque

import pykka
import pytest
from pykka._envelope import Envelope
from runtimes import PATIENCE, Doer, collector_off, held, settle

from sessiond.actors.errors import Overloaded
from sessiond.actors.future import ReplyFuture
from sessiond.actors.mailbox import MESSAGES_PER_TURN, Mailbox

BYTES_PER_ACTOR = 700
"""Some 600 as measured, in Pykka's registry, where sessions are not."""


class Trouble(Exception):
    pass


def fail(_):
    raise Trouble


# Stopped actors


def stop_by_ref(ref):
    ref.stop()


def stop_by_itself(ref):
    ref.tell(lambda actor: actor.stop())


def stop_by_failure(ref):
    ref.tell(fail)


def stop_with_messages_waiting(ref):
    with held(ref):
        ref.stop(block=False)
        ref.tell(lambda _: None)
        ref.ask(lambda _: None, block=False)


def take_many_turns(ref):
    with held(ref):
        for _ in range(3 * MESSAGES_PER_TURN):
            ref.tell(lambda _: None)


def wait_in_vain(ref):
    with held(ref), pytest.raises(pykka.Timeout):
        ref.ask(lambda _: None, timeout=0.001)


def nothing(_):
    pass


@pytest.mark.parametrize("stop", [stop_by_ref, stop_by_itself, stop_by_failure, stop_with_messages_waiting])
@pytest.mark.parametrize("live", [nothing, take_many_turns, wait_in_vain])
def test_a_stopped_actor_is_freed_by_reference_counting_alone(dispatcher, live, stop):
    """Whatever it did and however it stopped: a million actors are no work for the cyclic collector."""
    settle(dispatcher)
    with collector_off():
        ref = Doer.start(dispatcher)
        ref.ask(lambda _: None, timeout=PATIENCE)
        live(ref)
        stop(ref)
        assert ref.actor_stopped.wait(PATIENCE)
        settle(dispatcher)
        assert ref._actor_weakref() is None


def test_a_stopped_actors_mailbox_is_empty(dispatcher):
    """What waited has been answered and let go."""
    ref = Doer.start(dispatcher)
    stop_with_messages_waiting(ref)
    assert ref.actor_stopped.wait(PATIENCE)
    settle(dispatcher)
    assert ref.actor_inbox.empty()


def test_what_reaches_a_mailbox_after_it_closed_is_answered(dispatcher):
    """An ask that found its actor alive and came too late gets ActorDeadError, not silence."""
    ref = Doer.start(dispatcher)
    ref.stop()
    settle(dispatcher)
    late = ReplyFuture()
    ref.actor_inbox.put(Envelope("late", reply_to=late))
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=PATIENCE)
    ref.actor_inbox.put(Envelope("late and told"))
    assert ref.actor_inbox.empty()


def test_what_reaches_a_mailbox_while_it_closes_is_answered(dispatcher):
    """The same between the stop and the end of the turn, before and after Pykka has answered what waited."""
    late, later = ReplyFuture(), ReplyFuture()

    class Slow(Doer):
        def on_stop(self):
            self.actor_inbox.put(Envelope("late", reply_to=late))

        def _actor_loop_teardown(self):
            super()._actor_loop_teardown()
            self.actor_inbox.put(Envelope("later", reply_to=later))

    Slow.start(dispatcher).stop()
    for reply in (late, later):
        with pytest.raises(pykka.ActorDeadError):
            reply.get(timeout=PATIENCE)


def test_a_mailbox_that_is_closed_in_its_own_turn_stays_closed(dispatcher):
    """Its owner may close it at any moment: the end of the turn must not open it again."""
    ref = Doer.start(dispatcher)

    def close(actor):
        pykka.ActorRegistry.unregister(ref)
        actor.actor_stopped.set()
        actor.actor_inbox.close()

    ref.ask(close, timeout=PATIENCE)
    settle(dispatcher)
    late = ReplyFuture()
    ref.actor_inbox.put(Envelope("late", reply_to=late))
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=PATIENCE)


# Idle actors


def test_an_idle_actor_owns_no_queue_no_lock_and_no_event(dispatcher):
    """Not even after it was busy and its mailbox full."""
    ref = Doer.start(dispatcher)
    take_many_turns(ref)
    ref.ask(lambda _: None, timeout=PATIENCE)
    settle(dispatcher)

    actor = ref.local()
    own = [actor, ref, ref.actor_inbox, ref.actor_stopped]
    shared = {id(dispatcher), id(actor.noted)}
    held_by_them = [
        thing
        for owner in own
        for thing in (*gc.get_referents(owner), *gc.get_referents(getattr(owner, "__dict__", None)))
        if id(thing) not in shared and not isinstance(thing, type)
    ]
    machinery = (deque, threading.Event, threading.Condition, type(threading.Lock()), type(threading.RLock()))
    assert not [thing for thing in held_by_them if isinstance(thing, (*machinery, types.FrameType, BaseException))]


def test_an_idle_actor_is_small(dispatcher):
    """Memory decides how many sessions fit: everything that Pykka gives an actor stays below a ceiling."""
    count = 500
    tracemalloc.start()
    try:
        settle(dispatcher)
        before = tracemalloc.get_traced_memory()[0]
        refs = [Doer.start(dispatcher) for _ in range(count)]
        for ref in refs:
            ref.tell(lambda _: None)
        settle(dispatcher)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / count < BYTES_PER_ACTOR


# Bounded mailboxes, and messages that go ahead


class Urgent:
    """Goes ahead of what waits."""


class Small(Doer):
    """Takes in three messages and no more."""

    _capacity = 3
    _control = (Urgent,)

    def on_receive(self, message):
        return self.note("urgent") if isinstance(message, Urgent) else super().on_receive(message)


def filled(ref):
    for number in range(Small._capacity):
        ref.tell(lambda actor, number=number: actor.note(number))


def test_a_full_mailbox_refuses_asks_and_tells(dispatcher):
    """The sender gets a typed error at once, and what was taken in before is processed."""
    ref = Small.start(dispatcher)
    with held(ref):
        filled(ref)
        with pytest.raises(Overloaded):
            ref.tell(lambda _: None)
        with pytest.raises(Overloaded):
            ref.ask(lambda _: None, timeout=PATIENCE)
        reply = ref.ask(lambda _: None, block=False)
        with pytest.raises(Overloaded):
            reply.get(timeout=0)
    settle(dispatcher)
    assert ref.ask(lambda actor: actor.noted, timeout=PATIENCE) == [0, 1, 2]


def test_control_messages_are_always_taken_in_and_go_first(dispatcher):
    """A full mailbox must not keep an actor from being stopped or ended."""
    ref = Small.start(dispatcher)
    with held(ref):
        filled(ref)
        ref.tell(Urgent())
    settle(dispatcher)
    assert ref.ask(lambda actor: actor.noted, timeout=PATIENCE) == ["urgent", 0, 1, 2]


# Failures


def test_an_actor_that_fails_in_a_tell_stops_alone(dispatcher):
    """Pykka's rule: on_failure and not on_stop; what waits is answered; nobody else is touched."""
    ends = []

    class Fragile(Doer):
        def on_stop(self):
            ends.append("on_stop")

        def on_failure(self, exception_type, exception_value, traceback):
            ends.append(exception_type)

    fragile, other = Fragile.start(dispatcher), Doer.start(dispatcher)
    with held(fragile):
        fragile.tell(fail)
        waiting = fragile.ask(lambda _: None, block=False)
    with pytest.raises(pykka.ActorDeadError):
        waiting.get(timeout=PATIENCE)
    assert ends == [Trouble]
    assert other.ask(lambda _: "alive", timeout=PATIENCE) == "alive"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_base_exception_stops_every_actor_and_the_dispatcher_goes_on(dispatcher, error):
    """Pykka's rule for the base runtime; whoever starts actors afterwards finds their dispatcher at work."""
    fragile, *others = [Doer.start(dispatcher) for _ in range(3)]

    def leave(_):
        raise error

    fragile.tell(leave)
    for ref in (fragile, *others):
        assert ref.actor_stopped.wait(PATIENCE)
    assert pykka.ActorRegistry.get_all() == []
    assert Doer.start(dispatcher).ask(lambda _: "new", timeout=PATIENCE) == "new"


def test_all_actors_may_be_stopped_from_inside_a_turn(dispatcher):
    """Stop_all blocks until each actor has stopped, and so must not wait for the turn it is called in."""
    refs = [Doer.start(dispatcher) for _ in range(5)]
    done = threading.Event()

    def stop_the_others(actor):
        pykka.ActorRegistry.unregister(actor.actor_ref)
        pykka.ActorRegistry.stop_all(timeout=PATIENCE)
        done.set()

    refs[0].tell(stop_the_others)
    assert done.wait(PATIENCE)
    assert [ref.is_alive() for ref in refs] == [True, False, False, False, False]
    refs[0].stop()


@pytest.mark.parametrize("error", [Trouble, SystemExit])
def test_an_actor_that_cannot_start_is_dead_and_answers_so(dispatcher, error):
    """Whatever on_start raises, asks that waited for it do not wait for ever."""

    class Stillborn(Doer):
        def on_start(self):
            raise error

    ref = Stillborn.start(dispatcher)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask(lambda _: None, timeout=PATIENCE)
    assert ref not in pykka.ActorRegistry.get_all()


def test_an_actor_may_stop_itself_as_it_starts(dispatcher):
    """What was sent to it before the stop is processed, as Pykka does."""
    released = threading.Event()

    class Brief(Doer):
        def on_start(self):
            assert released.wait(PATIENCE)
            self.stop()

    ref = Brief.start(dispatcher)
    reply = ref.ask(lambda _: "before", block=False)
    released.set()
    assert reply.get(timeout=PATIENCE) == "before"
    assert ref.actor_stopped.wait(PATIENCE)


def test_an_actor_whose_on_stop_fails_has_stopped_all_the_same(dispatcher):
    """The failure is logged, and whoever asked for the stop is answered."""

    class Clumsy(Doer):
        def on_stop(self):
            raise Trouble

    ref = Clumsy.start(dispatcher)
    assert ref.stop(timeout=PATIENCE) is True
    assert not ref.is_alive()


# What Pykka calls the inbox and the stopped event


def test_waiting_for_a_stop_that_does_not_come_times_out(dispatcher):
    """The flag stands in for an event that costs a lock only once somebody waits."""
    ref = Doer.start(dispatcher)
    assert ref.actor_stopped.wait(0.001) is False
    ref.stop()
    assert ref.actor_stopped.wait(0) is True


def test_a_mailbox_knows_whether_something_waits(dispatcher):
    """Also before any actor is bound to it."""
    mailbox = Mailbox(dispatcher, capacity=2)
    assert mailbox.empty()
    mailbox.put(Envelope("early"))
    assert not mailbox.empty()
