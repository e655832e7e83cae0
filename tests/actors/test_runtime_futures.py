"""Replies that come later: pending ones, and futures that are awaited on an event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
import traceback

import pykka
import pytest
from runtimes import PATIENCE, Doer

from sessiond.actors.dispatcher import LoopDispatcher
from sessiond.actors.future import Pending, ReplyFuture


class Trouble(Exception):
    pass


def fail(_):
    raise Trouble


class Clerk(Doer):
    """Promises answers, and gives them in a later turn."""

    def __init__(self, dispatcher):
        super().__init__(dispatcher)
        self.pending = Pending()
        self._asked = threading.Event()

    def promise(self, _=None):
        self._asked.set()
        return self.pending

    def give(self, value):
        self.pending.set(value)

    def refuse(self, error):
        self.pending.fail(error)


@pytest.fixture
def clerk(dispatcher):
    return Clerk.start(dispatcher)


def give(value):
    return lambda clerk: clerk.give(value)


# Pending replies


def test_a_pending_reply_becomes_what_it_is_completed_with(clerk):
    """A future stays open until the pending reply is complete."""
    reply = clerk.ask(Clerk.promise, block=False)
    with pytest.raises(pykka.Timeout):
        reply.get(timeout=0.001)
    clerk.ask(give("here"), timeout=PATIENCE)
    assert reply.get(timeout=PATIENCE) == "here"


def test_a_blocked_asker_is_woken_by_the_turn_that_completes_its_reply(clerk):
    """A blocking ask waits for a pending reply as well."""
    replies = []
    asker = threading.Thread(target=lambda: replies.append(clerk.ask(Clerk.promise, timeout=PATIENCE)), daemon=True)
    asked = clerk.local()._asked
    asker.start()
    assert asked.wait(PATIENCE)
    clerk.tell(give("here"))
    asker.join(PATIENCE)
    assert replies == ["here"]


def test_a_pending_reply_comes_through_a_proxy(clerk):
    """A method that returns one is no different to its caller."""
    proxy = clerk.proxy()
    reply = proxy.promise()
    proxy.give("here").get(timeout=PATIENCE)
    assert reply.get(timeout=PATIENCE) == "here"


def test_a_pending_reply_can_be_awaited(clerk):
    """The event loop goes on until it is complete."""

    async def wait():
        reply = clerk.ask(Clerk.promise, block=False)
        clerk.tell(give("here"))
        return await reply

    assert asyncio.run(wait()) == "here"


def test_a_pending_reply_may_fail(clerk):
    """Its exception is raised at the asker."""
    reply = clerk.ask(Clerk.promise, block=False)
    clerk.ask(lambda clerk: clerk.refuse(Trouble("no")), timeout=PATIENCE)
    with pytest.raises(Trouble, match="no"):
        reply.get(timeout=PATIENCE)


def test_a_pending_reply_may_be_complete_before_it_is_returned(clerk):
    """Then it is a reply like any other."""
    clerk.ask(give("already"), timeout=PATIENCE)
    assert clerk.ask(Clerk.promise, timeout=PATIENCE) == "already"


def test_one_pending_reply_may_answer_many_askers(clerk):
    """Each of them gets it."""
    replies = [clerk.ask(Clerk.promise, block=False) for _ in range(3)]
    clerk.tell(give("for all"))
    assert pykka.get_all(replies, timeout=PATIENCE) == ["for all"] * 3


@pytest.mark.parametrize("inner_first", [True, False])
def test_a_pending_reply_may_be_completed_with_another(clerk, inner_first):
    """Whoever waits for the outer one gets what the inner one is completed with."""
    inner = Pending()
    reply = clerk.ask(Clerk.promise, block=False)
    steps = [give(inner), lambda _: inner.set("innermost")]
    for step in reversed(steps) if inner_first else steps:
        clerk.ask(step, timeout=PATIENCE)
    assert reply.get(timeout=PATIENCE) == "innermost"


def test_a_pending_reply_may_fail_by_another(clerk):
    """The same for an exception."""
    inner = Pending()
    reply = clerk.ask(Clerk.promise, block=False)
    clerk.ask(give(inner), timeout=PATIENCE)
    clerk.ask(lambda _: inner.fail(Trouble()), timeout=PATIENCE)
    with pytest.raises(Trouble):
        reply.get(timeout=PATIENCE)


def test_a_pending_reply_is_completed_once(clerk):
    """As a future is."""
    clerk.ask(give("once"), timeout=PATIENCE)
    with pytest.raises(queue.Full):
        clerk.ask(give("twice"), timeout=PATIENCE)


def test_nobody_need_wait_for_a_pending_reply(clerk):
    """A message that was told may return one too."""
    clerk.tell(Clerk.promise)
    clerk.ask(give("unheard"), timeout=PATIENCE)
    assert clerk.is_alive()


# Futures on an event loop


def test_awaiting_a_reply_does_not_block_the_event_loop(dispatcher):
    """What the loop does meanwhile may be what lets the reply come."""
    ref = Doer.start(dispatcher)

    async def wait():
        released = threading.Event()
        reply = ref.ask(lambda _: released.wait(PATIENCE), block=False)
        asyncio.get_running_loop().call_soon(released.set)
        return await reply

    assert asyncio.run(wait()) is True


@pytest.mark.parametrize(
    ("derive", "expected"),
    [
        (lambda reply: reply.map(lambda value: [value]), [True]),
        (lambda reply: reply.join(reply), [True, True]),
        (lambda reply: reply.map(lambda value: [value]).filter(bool), [True]),
    ],
    ids=["map", "join", "filter"],
)
def test_awaiting_a_derived_future_does_not_block_the_event_loop(dispatcher, derive, expected):
    """Pykka computes these in a blocking get(); on a loop that runs on another thread."""
    ref = Doer.start(dispatcher)

    async def wait():
        released = threading.Event()
        derived = derive(ref.ask(lambda _: released.wait(PATIENCE), block=False))
        asyncio.get_running_loop().call_soon(released.set)
        return await derived

    assert asyncio.run(wait()) == expected


def test_awaiting_a_stop_does_not_block_the_event_loop(dispatcher):
    """The future of stop(block=False) is a derived one as well."""
    ref = Doer.start(dispatcher)

    async def wait():
        released = threading.Event()
        ref.tell(lambda _: released.wait(PATIENCE))
        stopped = ref.stop(block=False)
        asyncio.get_running_loop().call_soon(released.set)
        return await stopped

    assert asyncio.run(wait()) is True


def test_a_complete_reply_can_be_awaited(dispatcher):
    """Also more than once."""
    reply = Doer.start(dispatcher).ask(lambda _: "here", block=False)
    assert reply.get(timeout=PATIENCE) == "here"

    async def wait():
        return await reply, await reply

    assert asyncio.run(wait()) == ("here", "here")


def test_many_replies_can_be_awaited_together(dispatcher):
    """As a server that embeds the actors would."""
    refs = [Doer.start(dispatcher) for _ in range(20)]

    async def wait():
        replies = [ref.ask(lambda _, number=number: number, block=False) for number, ref in enumerate(refs)]
        return await asyncio.gather(*(asyncio.wait_for(reply, PATIENCE) for reply in replies))

    assert asyncio.run(wait()) == list(range(20))


def test_awaiting_raises_what_the_handler_raised(dispatcher):
    """With the handler's traceback."""
    ref = Doer.start(dispatcher)

    async def wait():
        await ref.ask(fail, block=False)

    with pytest.raises(Trouble) as caught:
        asyncio.run(wait())
    assert "fail" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


@pytest.mark.parametrize("dispatcher", ["loop"], indirect=True)
def test_the_loop_that_runs_the_turns_may_await_them(dispatcher: LoopDispatcher):
    """Awaiting leaves the loop free to run the very turn that is awaited."""
    ref = Doer.start(dispatcher)

    async def wait():
        return await ref.ask(lambda _: threading.current_thread().name, block=False)

    assert asyncio.run_coroutine_threadsafe(wait(), dispatcher._loop).result(PATIENCE) == "test-loop"


@pytest.mark.parametrize("dispatcher", ["loop"], indirect=True)
def test_the_loop_that_runs_the_turns_may_ask_and_block(dispatcher: LoopDispatcher):
    """A blocking ask on the loop's own thread runs the turn there and then."""
    ref = Doer.start(dispatcher)

    async def wait():
        return ref.ask(lambda _: threading.current_thread().name, timeout=PATIENCE)

    assert asyncio.run_coroutine_threadsafe(wait(), dispatcher._loop).result(PATIENCE) == "test-loop"


def test_a_reply_that_nobody_awaits_any_more_harms_nobody(clerk):
    """The awaiting task may have been cancelled."""

    async def give_up():
        reply = clerk.ask(Clerk.promise, block=False)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reply, 0.001)
        clerk.ask(give("late"), timeout=PATIENCE)
        await asyncio.sleep(0)
        return await reply

    assert asyncio.run(give_up()) == "late"


def test_a_reply_that_comes_after_its_loop_was_closed_harms_nobody(clerk):
    """The turn that replies must not fail because of an asker that is gone."""

    async def give_up():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(clerk.ask(Clerk.promise, block=False), 0.001)

    asyncio.run(give_up())
    clerk.ask(give("late"), timeout=PATIENCE)
    assert clerk.is_alive()


def test_a_handlers_reply_that_comes_after_its_loop_was_closed_harms_nobody(dispatcher):
    """The same for a turn that was running when the asker gave up."""
    ref = Doer.start(dispatcher)
    released = threading.Event()

    async def give_up():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ref.ask(lambda _: released.wait(PATIENCE), block=False), 0.001)

    asyncio.run(give_up())
    released.set()
    assert ref.ask(lambda _: "alive", timeout=PATIENCE) == "alive"


# What Pykka says of futures, where ours does it in its own way


def test_a_future_outside_any_loop_is_still_awaitable_as_pykkas_is():
    """Pykka's own tests drive coroutines by hand."""
    reply = ReplyFuture()

    async def wait():
        return await reply

    waiting = wait()
    waiting.send(None)
    reply.set("here")
    with pytest.raises(StopIteration) as stopped:
        waiting.send(None)
    assert stopped.value.value == "here"


@pytest.mark.parametrize("timeout", [0, -1, 1e-9])
def test_a_future_that_nobody_was_sent_times_out(timeout):
    """A future may be used without an actor."""
    with pytest.raises(pykka.Timeout):
        ReplyFuture().get(timeout=timeout)


def test_a_future_wakes_every_thread_that_waits():
    """More than one thread may wait for the same reply, and some of them may have given up."""
    reply = ReplyFuture()
    got = []
    threads = [threading.Thread(target=lambda: got.append(reply.get()), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    while reply._event is None:  # nobody waits yet
        assert threads[0].is_alive()
    reply.wait(0.001)
    reply.set("here")
    for thread in threads:
        thread.join(PATIENCE)
    assert got == ["here"] * 3
