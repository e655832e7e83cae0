"""Who gets a turn, and when: what Pykka's own suite does not catch of a runtime that shares threads."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import defaultdict

import pykka
import pytest
from runtimes import PATIENCE, Doer, held

from sessiond.actors.mailbox import MESSAGES_PER_TURN

SENDERS = 4
ACTORS = 3
ROUNDS = 400


@pytest.fixture
def hurried_threads():
    """Have Python switch threads a hundred times as often as it may."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


class Witness(Doer):
    """Sees who is in a turn of its dispatcher while it is, and keeps what it gets by sender."""

    def __init__(self, dispatcher, inside):
        super().__init__(dispatcher)
        self._inside = inside
        self.received = defaultdict(list)
        self.crowds = 0

    def on_receive(self, message):
        self._inside.append(message)
        sender, number = message
        self.received[sender].append(number)
        for _ in range(20):  # time enough to be switched away from
            self.crowds += len(self._inside) != 1
        self._inside.pop()
        return message


def in_threads(count, work):
    """Run ``work(0)``, ``work(1)``, ... each in a thread of its own; raise what any of them raised."""
    failures = []

    def run(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
        assert not thread.is_alive(), "a sender hangs"
    for failure in failures:
        raise failure


def test_turns_exclude_each_other_and_every_sender_keeps_its_order(dispatcher, hurried_threads):
    """Asks and tells from several threads: one turn at a time in the whole dispatcher, in order, no reply lost."""
    inside = []
    refs = [Witness.start(dispatcher, inside) for _ in range(ACTORS)]

    def send(sender):
        futures = []
        for number in range(ROUNDS):
            ref = refs[number % ACTORS]
            message = (sender, number)
            if number % 4 == 0:
                assert ref.ask(message, timeout=PATIENCE) == message
            elif number % 4 == 1:
                futures.append(ref.ask(message, block=False))
            else:
                ref.tell(message)
        assert len(pykka.get_all(futures, timeout=PATIENCE)) == len(futures)

    in_threads(SENDERS, send)

    for index, ref in enumerate(refs):
        received = ref.proxy().received.get(timeout=PATIENCE)
        assert received == {sender: list(range(index, ROUNDS, ACTORS)) for sender in range(SENDERS)}
        assert ref.proxy().crowds.get(timeout=PATIENCE) == 0


def test_every_ask_is_answered_while_actors_come_and_go(dispatcher, hurried_threads):
    """An ask that races with a stop gets a reply or ActorDeadError, and never nothing."""
    refs = [Doer.start(dispatcher) for _ in range(SENDERS)]
    answered, refused = [], []

    def send(sender):
        for number in range(ROUNDS):
            place = (sender + number) % SENDERS
            if number % 10 == sender:
                refs[place].stop(block=bool(number % 4))
                refs[place] = Doer.start(dispatcher)
            try:
                answered.append(refs[place].ask(lambda _, number=number: number, timeout=PATIENCE))
                refs[place].tell(lambda _: None)
            except pykka.ActorDeadError as error:
                refused.append(error)

    in_threads(SENDERS, send)

    assert len(answered) + len(refused) >= SENDERS * ROUNDS
    assert answered


def test_a_stop_lets_what_came_before_it_pass_and_answers_what_comes_after(dispatcher):
    """Messages that wait when an actor stops are processed before the stop, answered as dead after it."""
    ref = Doer.start(dispatcher)
    with held(ref):
        before = ref.ask(lambda _: "before", block=False)
        stopped = ref.stop(block=False)
        ref.tell(lambda actor: actor.note("never"))
        after = [ref.ask(lambda _: "after", block=False) for _ in range(3 * MESSAGES_PER_TURN)]
        stopped_again = ref.stop(block=False)

    assert before.get(timeout=PATIENCE) == "before"
    assert stopped.get(timeout=PATIENCE) is True
    assert stopped_again.get(timeout=PATIENCE) is True
    for reply in after:
        with pytest.raises(pykka.ActorDeadError):
            reply.get(timeout=PATIENCE)


def test_a_message_that_arrives_during_a_turn_gets_one(dispatcher):
    """The wakeup must not be lost when a message comes while its actor's turn is running or ending."""
    ref = Doer.start(dispatcher)
    done = threading.Event()
    with held(ref):
        ref.tell(lambda _: done.set())
    assert done.wait(PATIENCE)


def test_a_turn_that_leaves_messages_waiting_is_followed_by_another(dispatcher):
    """More messages than one turn takes are all processed, though nobody sends or waits any more."""
    ref = Doer.start(dispatcher)
    done = threading.Event()
    with held(ref):
        for _ in range(3 * MESSAGES_PER_TURN):
            ref.tell(lambda _: None)
        ref.tell(lambda _: done.set())
    assert done.wait(PATIENCE)


def test_a_message_that_an_actor_sends_to_itself_gets_a_turn(dispatcher):
    """A tell from inside the turn of its own receiver is just another message."""
    ref = Doer.start(dispatcher)
    done = threading.Event()
    ref.tell(lambda actor: actor.actor_ref.tell(lambda _: done.set()))
    assert done.wait(PATIENCE)


def test_wakeups_are_not_lost_at_random_moments_either(dispatcher, hurried_threads):
    """Each tell is processed although nothing else ever wakes its actor, however the threads interleave."""
    ref = Doer.start(dispatcher)
    for _ in range(ROUNDS):
        done = threading.Event()
        ref.tell(lambda _, done=done: done.set())
        assert done.wait(PATIENCE)


def test_a_flooded_actor_does_not_starve_another(dispatcher):
    """After its share of messages a turn ends, and whoever else is ready comes next."""
    noted = []
    flooded, other = Doer.start(dispatcher), Doer.start(dispatcher)
    with held(flooded):
        for number in range(2 * MESSAGES_PER_TURN):
            flooded.tell(lambda _, number=number: noted.append(number))
        other.tell(lambda _: noted.append("other"))
    flooded.ask(lambda _: None, timeout=PATIENCE)
    other.ask(lambda _: None, timeout=PATIENCE)
    assert noted.index("other") <= MESSAGES_PER_TURN


def test_sending_never_runs_the_receivers_turn(dispatcher):
    """Tell and ask(block=False) only enqueue: they return while the receiver's dispatcher is busy."""
    busy, ref = Doer.start(dispatcher), Doer.start(dispatcher)
    with held(busy):
        ref.tell(lambda actor: actor.note("told"))
        reply = ref.ask(lambda actor: actor.noted, block=False)
        with pytest.raises(pykka.Timeout):
            reply.get(timeout=0)
    assert reply.get(timeout=PATIENCE) == ["told"]


def test_a_tell_runs_on_the_dispatchers_thread(dispatcher):
    """The thread that tells goes on, so whoever is told cannot hold it up."""
    threads = []
    done = threading.Event()
    ref = Doer.start(dispatcher)
    ref.tell(lambda _: (threads.append(threading.current_thread()), done.set()))
    assert done.wait(PATIENCE)
    assert threads != [threading.current_thread()]


@pytest.mark.parametrize("dispatcher", ["thread"], indirect=True)
def test_a_thread_that_waits_runs_the_turn_itself(dispatcher):
    """That makes a blocking ask ten times as cheap as waking another thread."""
    ref = Doer.start(dispatcher)
    ref.ask(lambda _: None)  # its first turn, for on_start, has been scheduled
    assert ref.ask(lambda _: threading.current_thread()) is threading.current_thread()
    assert ref.ask(lambda _: threading.current_thread(), block=False).get() is not None


@pytest.mark.parametrize("dispatcher", ["loop"], indirect=True)
def test_only_the_loops_thread_runs_turns_when_served(dispatcher):
    """Handlers may touch what belongs to the event loop: asks from other threads are posted to it."""
    ref = Doer.start(dispatcher)
    assert ref.ask(lambda _: threading.current_thread().name, timeout=PATIENCE) == "test-loop"


@pytest.mark.parametrize("timeout", [0, -1])
def test_an_ask_that_cannot_wait_never_runs_the_turn(dispatcher, timeout):
    """A timeout of 0 or less asks whether the reply is there, so the handler must not run on the asker's thread."""
    ref = Doer.start(dispatcher)
    threads = []
    done = threading.Event()

    def handle(_):
        threads.append(threading.current_thread())
        done.set()

    with held(ref), pytest.raises(pykka.Timeout):
        ref.ask(handle, timeout=timeout)
    assert done.wait(PATIENCE)
    assert threads != [threading.current_thread()]


@pytest.mark.parametrize("timeout", [0, -1])
def test_asking_without_waiting_leaves_an_idle_actors_turn_to_the_dispatcher(dispatcher, timeout):
    """Even where nothing would be in the way of running it here and now."""
    ref = Doer.start(dispatcher)
    threads = []
    done = threading.Event()
    with contextlib.suppress(pykka.Timeout):  # the dispatcher may be as fast as that
        ref.ask(lambda _: (threads.append(threading.current_thread()), done.set()), timeout=timeout)
    assert done.wait(PATIENCE)
    assert threads != [threading.current_thread()]


def test_a_future_that_is_polled_never_runs_the_turn(dispatcher):
    """The same for get(timeout=0) on a future that was asked for before."""
    busy, ref = Doer.start(dispatcher), Doer.start(dispatcher)
    with held(busy):
        reply = ref.ask(lambda _: threading.current_thread(), block=False)
        with pytest.raises(pykka.Timeout):
            reply.get(timeout=0)
    assert reply.get(timeout=PATIENCE) is not None


def test_an_ask_that_times_out_is_processed_all_the_same(dispatcher):
    """A timeout ends the waiting and nothing else."""
    busy, ref = Doer.start(dispatcher), Doer.start(dispatcher)
    done = threading.Event()
    with held(busy), pytest.raises(pykka.Timeout):
        ref.ask(lambda _: done.set(), timeout=0.001)
    assert done.wait(PATIENCE)


def test_messages_sent_before_the_actor_starts_are_kept(dispatcher):
    """An actor may be sent messages, by itself or through Pykka's registry, before its loop has started."""

    class Eager(Doer):
        def __init__(self, dispatcher):
            super().__init__(dispatcher)
            self.actor_ref.tell(lambda actor: actor.note("early"))

    assert Eager.start(dispatcher).ask(lambda actor: actor.noted, timeout=PATIENCE) == ["early"]


def test_on_start_comes_first_and_runs_though_no_message_comes(dispatcher):
    """An actor is set up in a turn of its own."""
    started = threading.Event()

    class Starter(Doer):
        def on_start(self):
            self.note("started")
            started.set()

    ref = Starter.start(dispatcher)
    assert started.wait(PATIENCE)
    assert ref.ask(lambda actor: actor.noted, timeout=PATIENCE) == ["started"]
