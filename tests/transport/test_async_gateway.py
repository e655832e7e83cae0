"""A gateway that stays registered and agrees with the service."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from clients import PATIENCE, asynchronous
from gateway_peer import serving_gateways
from scripted import Refusal

from sessiond import AsyncGateway, Gateway
from sessiond.actors.errors import Conflict, NotFound
from sessiond.transport.async_gateway import BEATS, RETRY, pause_for


class Paused:
    """How a gateway waits: until something happens or the test lets time pass."""

    def __init__(self):
        self.waits = []
        self.is_waiting = asyncio.Event()
        self._elapsed = asyncio.Event()

    async def __call__(self, event, seconds):
        self.waits.append(seconds)
        self.is_waiting.set()
        self._elapsed.clear()
        waiting = [asyncio.ensure_future(each.wait()) for each in (event, self._elapsed)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        self.is_waiting.clear()

    async def elapse(self):
        """Let the time pass that the gateway waits for, once it waits."""
        await self.is_waiting.wait()
        self.is_waiting.clear()
        self._elapsed.set()


def call(name, state="active"):
    return {"type": "sip", "external_id": name, "state": state}


class Calls(dict):
    """What a gateway has: external ids and states. It counts how often it is asked."""

    asked = 0
    then = None

    def __call__(self):
        self.asked += 1
        now = [call(name, state) for name, state in self.items()]
        if self.then is not None:
            self.then()
        return now


def gateway(peer, calls, **options):
    return AsyncGateway("gw-1", **{"port": peer.port, "epoch": "e1", "timeout": PATIENCE, "sessions": calls} | options)


def heard(peer):
    return [method for each in peer.heard for method, _ in each]


# Registered


@asynchronous
async def test_it_gives_signs_of_life():
    """Three in a lease, whose length the service tells."""
    with serving_gateways() as (peer, _):
        pause = Paused()
        async with gateway(peer, Calls(), pause=pause) as gw:
            await gw.synced()
            for _ in range(3):
                await pause.elapse()
            await pause.is_waiting.wait()
            assert set(pause.waits) == {30.0 / BEATS}
            assert heard(peer).count("ping") >= 4
            assert heard(peer).count("sync_sessions") == 1


@asynchronous
async def test_each_run_has_an_epoch_of_its_own():
    """If none is given. It can carry out commands if it has any, and says so."""

    async def warn(arguments):
        return None

    with serving_gateways() as (peer, _):
        for commands, capabilities in ((None, ["x"]), ({"warn_session": warn}, ["x", "commands"])):
            async with gateway(peer, Calls(), epoch=None, commands=commands, capabilities=["x"]) as gw:
                method, (name, options) = peer.heard[-1][0]
                assert (method, name) == ("register_gateway", gw.name)
                assert options == {"epoch": gw.epoch, "capabilities": capabilities}
        assert len({each[0][1][1]["epoch"] for each in peer.heard}) == 2


@asynchronous
async def test_it_registers_and_compares_again_after_a_lost_connection():
    """At once, though the next sign of life is not due."""
    with serving_gateways() as (peer, book):
        calls = Calls(a="active")
        async with gateway(peer, calls) as gw:
            await gw.synced()
            book.sessions.clear()
            link = gw.client._line._link
            gw._synced.clear()
            peer.cut()
            await link.closed.wait()
            await gw.synced()
            assert book.live == {"a": "active"}
            assert [each[0][0] for each in peer.heard] == ["register_gateway"] * 2


@asynchronous
async def test_a_service_that_is_away_is_waited_for():
    """The gateway has its calls all the same; what goes wrong is tried again soon."""
    with serving_gateways() as (peer, _):
        port = peer.port
    pause = Paused()
    async with AsyncGateway("gw-1", port=port, timeout=0.05, sessions=Calls(a="held"), pause=pause) as gw:
        await pause.elapse()
        await pause.is_waiting.wait()
        assert RETRY / 2 <= min(pause.waits) <= max(pause.waits) <= RETRY
        assert not gw._synced.is_set()


@asynchronous
async def test_who_is_refused_at_first_is_told_at_once():
    with serving_gateways() as (peer, _):
        peer.methods["register_gateway"] = refuse
        with pytest.raises(Conflict):
            async with gateway(peer, Calls()):
                raise AssertionError


def refuse(*_):
    raise Refusal("conflict", epoch="e0")


@asynchronous
async def test_who_is_refused_later_is_told_once():
    """However often it is refused; and anew after it was taken in between."""
    with serving_gateways() as (peer, book):
        refusals, pause = [], Paused()
        async with gateway(peer, Calls(), on_refused=refusals.append, pause=pause) as gw:
            await gw.synced()
            for number in (1, 2):
                peer.methods["register_gateway"] = refuse
                peer.cut()
                while len(refusals) < number:
                    await pause.elapse()
                for _ in range(3):
                    gw.client._line._standing._retry_at = 0.0
                    await pause.elapse()
                assert [each.details["epoch"] for each in refusals] == ["e0"] * number
                peer.methods["register_gateway"] = book.register_gateway
                gw.client._line._standing._retry_at = 0.0
                gw._synced.clear()
                while not gw._synced.is_set():
                    await pause.elapse()


@asynchronous
async def test_who_is_replaced_leaves_off():
    """For good: it takes nothing back."""
    with serving_gateways() as (peer, _):
        is_replaced = asyncio.Event()

        async def on_replaced():
            is_replaced.set()

        async with gateway(peer, Calls(), on_replaced=on_replaced) as gw:
            await gw.synced()
            peer.notify("gateway_replaced", {"gateway": "gw-1", "epoch": "e2"})
            await is_replaced.wait()
            with pytest.raises(Conflict):
                await gw.synced()
            with pytest.raises(Conflict):
                await gw.client.ping()
            assert len(peer.heard) == 1


# Of one mind


@asynchronous
async def test_what_the_service_does_not_know_is_created_again():
    """As it is now."""
    with serving_gateways() as (peer, book):
        async with gateway(peer, Calls(a="ringing", b="held", c="active")) as gw:
            await gw.synced()
            assert book.live == {"a": "ringing", "b": "held", "c": "active"}
            assert {each.gateway for each in book.sessions.values()} == {"gw-1"}


@asynchronous
async def test_what_happens_to_a_call_that_is_created_again_is_not_lost():
    """Neither its end nor a new state, which the service refuses to hear before it knows the call."""
    with serving_gateways() as (peer, book):
        calls = Calls(a="ringing", b="ringing")

        def happen():
            if calls.asked == 2:  # the creates are made of what this says
                del calls["a"]
                calls["b"] = "active"

        calls.then = happen
        async with gateway(peer, calls) as gw:
            await gw.synced()
            assert book.live == {"b": "active"}


@asynchronous
async def test_what_is_over_before_it_is_created_again_is_not():
    with serving_gateways() as (peer, book):
        calls = Calls(a="ringing")
        calls.then = calls.clear
        async with gateway(peer, calls) as gw:
            await gw.synced()
            assert book.sessions == {}


@asynchronous
async def test_what_the_service_has_ended_is_told():
    """If the gateway still has it. One that fails to hear it does not keep the others from hearing."""
    with serving_gateways() as (peer, book):
        for name in ("a", "b", "c"):
            book.add(name, state="ended", end_reason="idle_timeout")
        calls, told = Calls(a="active", b="active", c="active"), []

        def on_ended(external_id, reason):
            told.append((external_id, reason))
            if external_id == "b":
                raise ZeroDivisionError

        calls.then = lambda: calls.pop("a", None)
        async with gateway(peer, calls, on_ended=on_ended) as gw:
            await gw.synced()
        assert told == [("b", "idle_timeout"), ("c", "idle_timeout")]


@asynchronous
async def test_what_the_gateway_has_not_is_ended():
    """Page by page; but not what another run holds, nor what has no id of the gateway's."""
    with serving_gateways() as (peer, book):
        for number in range(10):
            book.add(f"over-{number}")
        book.add("another run's", epoch="e0")
        book.add(None)
        async with gateway(peer, Calls(up="active")) as gw:
            await gw.synced()
            assert set(book.live) == {"up", "another run's", None}
            assert {each.end_reason for each in book.sessions.values() if each.state == "ended"} == {"failed"}


@asynchronous
async def test_what_is_missing_is_looked_for_again():
    """A call that begins while the calls are compared is up."""
    with serving_gateways() as (peer, book):
        book.add("new")
        calls = Calls()
        calls.then = lambda: calls.update(new="active")
        async with gateway(peer, calls) as gw:
            await gw.synced()
            assert book.live == {"new": "active"}


@asynchronous
async def test_what_changes_meanwhile_is_not_ended():
    """Something was heard of the session after it was looked at."""
    with serving_gateways() as (peer, book):
        id_ = book.add("changing")
        get = book.get_session

        def change_after(target):
            found = get(target)
            book._change(id_, caller="+1")
            return found

        peer.methods["get_session"] = change_after
        async with gateway(peer, Calls()) as gw:
            await gw.synced()
            assert book.live == {"changing": "active"}


@asynchronous
async def test_many_calls_are_named_in_parts():
    """As many in each request as a frame may hold."""
    with serving_gateways() as (peer, book):
        calls = Calls({str(number): "active" for number in range(600)})
        for name in calls:
            book.add(name)
        async with gateway(peer, calls) as gw:
            await gw.synced()
            assert book.parts == [256, 256, 88]
            assert len(book.live) == 600


@asynchronous
@pytest.mark.parametrize("method", ["sync_sessions", "get_session", "end_session"])
async def test_an_answer_that_does_not_come_is_not_taken_for_an_empty_one(method):
    """Nothing is done on half of the truth; the whole is asked for again."""
    with serving_gateways() as (peer, book):
        book.add("over")
        answer, failures = peer.methods[method], []

        def fail_first(*params):
            if not failures:
                failures.append(params)
                raise Refusal("unavailable")
            return answer(*params)

        peer.methods[method] = fail_first
        pause = Paused()
        async with gateway(peer, Calls(up="active"), pause=pause) as gw:
            while not gw._synced.is_set():
                await pause.elapse()
            assert book.live == {"up": "active"}
            assert len(failures) == 1


@asynchronous
async def test_a_gateway_that_cannot_tell_its_calls_does_not_say_that_it_has_none(caplog):
    with serving_gateways() as (peer, book):
        book.add("up")
        is_well = []

        async def sessions():
            if not is_well:
                raise ZeroDivisionError
            return [call("up")]

        pause = Paused()
        with caplog.at_level(logging.ERROR, "sessiond.gateway"):
            async with gateway(peer, sessions, pause=pause) as gw:
                await pause.elapse()
                await pause.is_waiting.wait()
                assert "sync_sessions" not in heard(peer)
                is_well.append(True)
                await pause.elapse()
                await gw.synced()
                assert book.live == {"up": "active"}
        assert "could not be compared" in caplog.text


# Commands


@asynchronous
async def test_it_carries_out_commands_and_reports_its_calls_by_itself():
    with serving_gateways() as (peer, book):

        async def terminate(arguments):
            if arguments["external_id"] != "a":
                raise NotFound("No such call")
            return {}

        calls = Calls(a="active")
        async with gateway(peer, calls, commands={"terminate_session": terminate}) as gw:
            await gw.synced()
            assert await asyncio.to_thread(peer.ask, "terminate_session", {"external_id": "a"}) == (None, {})
            error, _ = await asyncio.to_thread(peer.ask, "terminate_session", {"external_id": "b"})
            assert error[2]["code"] == "not_found"
            calls["b"] = "held"
            assert await asyncio.to_thread(peer.ask, "report_sessions", {}) == (None, {})
            await gw.synced()
            assert book.live == {"a": "active", "b": "held"}


@asynchronous
async def test_a_pause_ends_early_if_something_happens():
    happened = asyncio.Event()
    asyncio.get_running_loop().call_soon(happened.set)
    await pause_for(happened, PATIENCE)
    await pause_for(asyncio.Event(), 0.0)


# For threads


def test_a_gateway_of_threads():
    """Its functions are called on other threads, and its client speaks as the gateway on another connection."""
    with serving_gateways() as (peer, book):
        book.add("ended", state="ended", end_reason="admin")
        is_told, threads = threading.Event(), set()

        def sessions():
            threads.add(threading.current_thread())
            return [call("a"), call("ended")]

        def on_ended(external_id, reason):
            assert (external_id, reason) == ("ended", "admin")
            threads.add(threading.current_thread())
            is_told.set()

        def warn(arguments):
            threads.add(threading.current_thread())
            return {"said": arguments["text"]}

        with Gateway(
            "gw-1",
            port=peer.port,
            timeout=PATIENCE,
            sessions=sessions,
            commands={"warn_session": warn},
            on_ended=on_ended,
        ) as gw:
            gw.synced(PATIENCE)
            assert is_told.wait(PATIENCE)
            assert book.live == {"a": "active"}
            assert peer.ask("warn_session", {"text": "Hello"}) == (None, {"said": "Hello"})
            assert gw.client.ping() == "pong"
            registered = [each[0][1] for each in peer.heard]
            assert [name for name, _ in registered] == [gw.name] * 2
            assert [options["epoch"] for _, options in registered] == [gw.epoch] * 2
            assert [options.get("capabilities") for _, options in registered] == [["commands"], None]
        assert threading.current_thread() not in threads
        assert not any(each.is_alive() for each in threads)


def test_a_gateway_of_threads_that_is_refused():
    with serving_gateways() as (peer, _):
        peer.methods["register_gateway"] = refuse
        with pytest.raises(Conflict), Gateway("gw-1", port=peer.port, sessions=list):
            raise AssertionError


def test_a_gateway_of_threads_hears_that_it_was_replaced():
    with serving_gateways() as (peer, _):
        is_replaced = threading.Event()
        with Gateway(
            "gw-1", port=peer.port, timeout=PATIENCE, sessions=list, on_replaced=is_replaced.set, on_refused=print
        ) as gw:
            gw.synced(PATIENCE)
            peer.notify("gateway_replaced", {"gateway": "gw-1", "epoch": "e2"})
            assert is_replaced.wait(PATIENCE)
