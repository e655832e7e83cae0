"""How many messages wait is known by kind of actor, and whatever becomes of them, they wait no more afterwards."""

from __future__ import annotations

import random
import threading

import pykka
import pytest
from pykka._envelope import Envelope
from runtimes import DISPATCHERS, Doer, held, settle
from services import send, service

from sessiond.actors.errors import Overloaded
from sessiond.actors.mailbox import Mailbox
from sessiond.actors.session import SessionActor


class Porter(Doer):
    """An actor of a kind of its own."""

    def _kind(self):
        return "porter"


@pytest.fixture(params=DISPATCHERS)
def dispatcher(request):
    with DISPATCHERS[request.param]() as running:
        yield running


def test_what_waits_is_counted_until_its_turn(dispatcher):
    porter = Porter.start(dispatcher)
    with held(porter):
        for _ in range(3):
            porter.tell(lambda _: None)
        assert dispatcher.waiting["porter"].messages == 3
    assert porter.ask(lambda _: dispatcher.waiting["porter"].messages) == 0


def test_actors_of_a_kind_are_counted_together(dispatcher):
    porters = [Porter.start(dispatcher) for _ in range(3)]
    settle(dispatcher)
    with held(Doer.start(dispatcher)):
        for porter in porters:
            porter.tell(lambda _: None)
        assert dispatcher.waiting["porter"].messages == 3
    settle(dispatcher)
    assert dispatcher.waiting["porter"].messages == 0


def test_what_is_refused_does_not_wait(dispatcher):
    mailbox = Mailbox(dispatcher, capacity=2, kind="small")
    for _ in range(2):
        mailbox.put(Envelope("fits"))
    with pytest.raises(Overloaded):
        mailbox.put(Envelope("one too many"))
    assert dispatcher.waiting["small"].messages == 2
    mailbox.close()
    mailbox.put(Envelope("late"))
    assert dispatcher.waiting["small"].messages == 0


def test_what_is_left_when_an_actor_stops_waits_no_more(dispatcher):
    porter = Porter.start(dispatcher)
    with held(porter):
        porter.stop(block=False)
        left = [porter.ask(lambda _: None, block=False) for _ in range(5)]
    for each in left:
        with pytest.raises(pykka.ActorDeadError):
            each.get(timeout=20)
    settle(dispatcher)
    assert dispatcher.waiting["porter"].messages == 0


def test_what_a_session_leaves_to_its_successor_is_counted_once():
    """Messages that waited when it crashed, and when it ended, change hands."""

    class Faulty(SessionActor):
        def touch(self):
            raise ZeroDivisionError

    with service(Faulty) as sessions:
        ref = sessions.ref(sessions.create(state="active"))
        waiting = sessions.dispatcher.waiting["session"]
        with held(Doer.start(sessions.dispatcher)):
            answers = [send(ref, method) for method in ("touch", "get", "get", "end", "get", "get")]
            assert waiting.messages == 6
        for each in answers[1:]:
            each.get(timeout=20)
        sessions.settle()
        assert waiting.messages == 0


def test_whatever_many_threads_do_nothing_is_left(dispatcher):
    """The two counts are changed by different threads and still come out even."""
    porters = [Porter.start(dispatcher) for _ in range(3)]

    def send_some(seed):
        draw = random.Random(seed)
        for _ in range(300):
            porter = draw.choice(porters)
            if draw.random() < 0.3:
                porter.ask(lambda _: None, timeout=20)
            else:
                porter.tell(lambda _: None)

    threads = [threading.Thread(target=send_some, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for porter in porters:
        porter.ask(lambda _: None, timeout=20)  # it is the last
    assert dispatcher.waiting["porter"].messages == 0
