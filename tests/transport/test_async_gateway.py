"""A gateway that stays registered and agrees with the service."""

from __future__ import annotations

import asyncio
import logging

import pytest
from clients import PATIENCE, asynchronous
from proxies import Cut
from serving import serving
from tapped import call, create, live, other, policy, tapped

from sessiond import AsyncGateway, Client
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


# Registered


@asynchronous
async def test_it_gives_signs_of_life():
    """Three in a lease, whose length the service tells."""
    with tapped() as service:
        pause = Paused()
        async with gateway(service, Calls(), pause=pause) as gw:
            await gw.synced()
            for _ in range(3):
                await pause.elapse()
            await pause.is_waiting.wait()
            assert set(pause.waits) == {30.0 / BEATS}
            assert service.methods.count("ping") >= 4
            assert service.methods.count("sync_sessions") == 1


@asynchronous
async def test_each_run_has_an_epoch_of_its_own():
    """If none is given. It can carry out commands if it has any, and says so."""

    async def warn(arguments):
        return None

    epochs = set()
    with tapped() as service:
        for commands, capabilities in ((None, {"x"}), ({"warn_session": warn}, {"x", "commands"})):
            async with gateway(service, Calls(), epoch=None, commands=commands, capabilities=["x"]) as gw:
                [shown] = [each for each in service.client.list_gateways().gateways if each.state == "live"]
                assert (shown.name, shown.epoch, set(shown.capabilities)) == (gw.name, gw.epoch, capabilities)
                epochs.add(gw.epoch)
            while any(each.state == "live" for each in service.client.list_gateways().gateways):
                pass
    assert len(epochs) == 2


@asynchronous
async def test_it_registers_and_compares_again_with_a_service_that_was_restarted():
    """At once, though the next sign of life is not due."""
    with tapped() as service, serving() as restarted, Client(port=restarted.port) as client:
        async with gateway(service, Calls(a="active")) as gw:
            await gw.synced()
            link = gw.client._line._link
            gw._synced.clear()
            service.become(restarted)
            await link.closed.wait()
            await gw.synced()
            assert live(service.client) == live(client) == {"a": "active"}
            assert [each[0][0] for each in service.heard] == ["register_gateway"] * 2


@asynchronous
async def test_a_lost_connection_costs_no_call():
    """The gateway is back before the grace is over, and its sessions are what they were."""
    with tapped() as service:
        async with gateway(service, Calls(a="active", b="held")) as gw:
            await gw.synced()
            before = {each.id: each.version for each in service.client.sessions()}
            link = gw.client._line._link
            gw._synced.clear()
            service.cut()
            await link.closed.wait()
            await gw.synced()
            after = {each.id: each.version for each in service.client.sessions(suspect=False)}
            assert after == before


@asynchronous
async def test_a_service_that_is_away_is_waited_for():
    """The gateway has its calls all the same; what goes wrong is tried again soon."""
    with tapped() as service:
        port = service.port
    pause = Paused()
    async with AsyncGateway("gw-1", port=port, timeout=0.05, sessions=Calls(a="held"), pause=pause) as gw:
        await pause.elapse()
        await pause.is_waiting.wait()
        assert RETRY / 2 <= min(pause.waits) <= max(pause.waits) <= RETRY
        assert not gw._synced.is_set()


@asynchronous
async def test_who_is_refused_at_first_is_told_at_once():
    with tapped(policy("refuse")) as service, other(service.served, "e0"), pytest.raises(Conflict):
        async with gateway(service, Calls()):
            raise AssertionError


@asynchronous
async def test_who_is_refused_later_is_told_once():
    """However often it is refused; and anew after it was taken in between."""
    with tapped(policy("refuse")) as service, serving(policy("refuse")) as taken, other(taken, "e0"):
        refusals, pause = [], Paused()
        async with gateway(service, Calls(), on_refused=refusals.append, pause=pause) as gw:
            await gw.synced()
            for number in (1, 2):
                service.become(taken)
                while len(refusals) < number:
                    await pause.elapse()
                for _ in range(3):
                    gw.client._line._standing._retry_at = 0.0
                    await pause.elapse()
                assert [each.details["epoch"] for each in refusals] == ["e0"] * number
                service.become(service.served)
                gw.client._line._standing._retry_at = 0.0
                gw._synced.clear()
                while not gw._synced.is_set():
                    await pause.elapse()


@asynchronous
async def test_who_is_replaced_leaves_off():
    """For good: it takes nothing back."""
    with tapped(policy("take_over")) as service:
        is_replaced = asyncio.Event()

        async def on_replaced():
            is_replaced.set()

        async with gateway(service, Calls(), on_replaced=on_replaced) as gw:
            await gw.synced()
            with other(service.served, "e2") as younger:
                await is_replaced.wait()
                with pytest.raises(Conflict):
                    await gw.synced()
                with pytest.raises(Conflict):
                    await gw.client.ping()
                assert younger.ping() == "pong"
            assert len(service.heard) == 1


# Of one mind


@asynchronous
async def test_what_the_service_does_not_know_is_created_again():
    """As it is now, and held by this run of the gateway."""
    with tapped() as service:
        async with gateway(service, Calls(a="ringing", b="held", c="active")) as gw:
            await gw.synced()
            assert live(service.client) == {"a": "ringing", "b": "held", "c": "active"}
            assert {each.epoch for each in service.client.sessions()} == {"e1"}


@asynchronous
async def test_what_happens_to_a_call_that_is_created_again_is_not_lost():
    """Neither its end nor a new state, which the service refuses to hear before it knows the call."""
    with tapped() as service:
        calls = Calls(a="ringing", b="ringing")

        def happen():
            if calls.asked == 2:  # the creates are made of what this says
                del calls["a"]
                calls["b"] = "active"

        calls.then = happen
        async with gateway(service, calls) as gw:
            await gw.synced()
            assert live(service.client) == {"b": "active"}


@asynchronous
async def test_what_is_over_before_it_is_created_again_is_not():
    with tapped() as service:
        calls = Calls(a="ringing")
        calls.then = calls.clear
        async with gateway(service, calls) as gw:
            await gw.synced()
            assert list(service.client.sessions(ended="any")) == []


@asynchronous
async def test_what_the_service_has_ended_is_told():
    """If the gateway still has it. One that fails to hear it does not keep the others from hearing."""
    with tapped() as service:
        for name in ("a", "b", "c"):
            service.client.end_session(create(service.client, name), "timeout")
        calls, told = Calls(a="active", b="active", c="active"), []

        def on_ended(external_id, reason):
            told.append((external_id, reason))
            if external_id == "b":
                raise ZeroDivisionError

        calls.then = lambda: calls.pop("a", None)
        async with gateway(service, calls, on_ended=on_ended) as gw:
            await gw.synced()
        assert told == [("b", "timeout"), ("c", "timeout")]


@asynchronous
async def test_what_the_gateway_has_not_is_ended():
    """Page by page; but not what another run holds, nor what has no id of the gateway's."""
    with tapped() as service, other(service.served) as worker, other(service.served, "e0") as another_run:
        for number in range(300):
            create(worker, f"over-{number}")
        create(another_run, "another run's")
        worker.create_session(type="sip")
        async with gateway(service, Calls(up="active")) as gw:
            await gw.synced()
            assert live(service.client) == {"up": "active", "another run's": "active", None: "initializing"}
            assert service.client.count_sessions(ended=True, by="end_reason").groups == {"failed": 300}


@asynchronous
async def test_a_run_that_is_new_claims_what_it_has_and_the_rest_ends():
    with tapped() as service:
        with other(service.served, "e0") as killed:
            create(killed, "up")
            create(killed, "over")
        while service.client.count_sessions(suspect=True).count < 2:
            pass
        async with gateway(service, Calls(up="active")) as gw:
            await gw.synced()
            while service.client.count_sessions(suspect=True).count:
                pass
            [up] = service.client.sessions()
            assert (up.external_id, up.epoch) == ("up", "e1")
            [over] = service.client.sessions(ended=True)
            assert (over.external_id, over.end_reason) == ("over", "gateway_lost")


@asynchronous
async def test_what_is_missing_is_looked_for_again():
    """A call that begins while the calls are compared is up."""
    with tapped() as service, other(service.served) as worker:
        create(worker, "new")
        calls = Calls()
        calls.then = lambda: calls.update(new="active")
        async with gateway(service, calls) as gw:
            await gw.synced()
            assert calls.asked == 2
            assert live(service.client) == {"new": "active"}


@asynchronous
async def test_what_changes_meanwhile_is_not_ended():
    """Something was heard of the session after it was looked at."""
    with tapped() as service, other(service.served) as worker:
        id_ = create(worker, "changing")
        service.before["end_session"] = lambda: worker.update_session(id_, caller="+1")
        async with gateway(service, Calls()) as gw:
            await gw.synced()
            assert "end_session" in service.methods
            assert live(service.client) == {"changing": "active"}


@asynchronous
async def test_many_calls_are_named_in_parts():
    """As many in each request as a frame may hold."""
    with tapped() as service, other(service.served) as worker:
        calls = Calls({str(number): "active" for number in range(600)})
        for name in calls:
            create(worker, name)
        async with gateway(service, calls) as gw:
            await gw.synced()
            asked = [params[1] for method, params in service.heard[0] if method == "sync_sessions"]
            assert [(len(each["external_ids"]), each["final"]) for each in asked] == [
                (256, False), (256, False), (88, True),
            ]  # fmt: skip
            assert service.client.count_sessions().count == 600


@asynchronous
@pytest.mark.parametrize("method", ["sync_sessions", "get_session", "end_session"])
async def test_an_answer_that_does_not_come_is_not_taken_for_an_empty_one(method):
    """Nothing is done on half of the truth; the whole is asked for again."""
    with tapped() as service, other(service.served) as worker:
        create(worker, "over")
        failures = []

        def fail_first():
            if not failures:
                failures.append(method)
                raise Cut

        service.before[method] = fail_first
        pause = Paused()
        async with gateway(service, Calls(up="active"), pause=pause) as gw:
            while not gw._synced.is_set():
                await pause.elapse()
            assert live(service.client) == {"up": "active"}
            assert len(failures) == 1


@asynchronous
async def test_a_gateway_that_cannot_tell_its_calls_does_not_say_that_it_has_none(caplog):
    with tapped() as service, other(service.served) as worker:
        create(worker, "up")
        is_well = []

        async def sessions():
            if not is_well:
                raise ZeroDivisionError
            return [call("up")]

        pause = Paused()
        with caplog.at_level(logging.ERROR, "sessiond.gateway"):
            async with gateway(service, sessions, pause=pause) as gw:
                await pause.elapse()
                await pause.is_waiting.wait()
                assert "sync_sessions" not in service.methods
                is_well.append(True)
                await pause.elapse()
                await gw.synced()
                assert live(service.client) == {"up": "active"}
        assert "could not be compared" in caplog.text


# Commands


@asynchronous
async def test_it_carries_out_commands():
    """The session of a call ends when the call has, and one that has no call is ended."""
    with tapped() as service:
        calls = Calls(a="active", b="active")

        async def terminate(arguments):
            if calls.pop(arguments["external_id"], None) is None:
                raise NotFound("No such call")

        async with gateway(service, calls, commands={"terminate_session": terminate}) as gw:
            await gw.synced()
            create(service.client, "over")
            for name, outcome in (("a", "done"), ("over", "not_found")):
                address = {"gateway": "gw-1", "external_id": name}
                answer = await asyncio.to_thread(service.client.terminate_session, address)
                assert answer.gateway == outcome
            assert live(service.client) == calls == {"b": "active"}


@asynchronous
async def test_a_command_whose_connection_is_lost_is_carried_out_all_the_same():
    """The service asks again on the next one, and is told what the first time came to, or that the call is gone."""
    with tapped() as service:
        calls, begun, may_end = Calls(a="active"), asyncio.Event(), asyncio.Event()

        async def terminate(arguments):
            begun.set()
            await may_end.wait()
            if calls.pop(arguments["external_id"], None) is None:
                raise NotFound("No such call")

        async with gateway(service, calls, commands={"terminate_session": terminate}) as gw:
            await gw.synced()
            [session] = service.client.sessions()
            asking = asyncio.create_task(asyncio.to_thread(service.client.terminate_session, session.id))
            await begun.wait()
            link = gw.client._line._link
            gw._synced.clear()
            service.cut()
            await link.closed.wait()
            await gw.synced()
            may_end.set()
            assert (await asking).gateway in {"done", "not_found"}
            [session] = service.client.sessions(ended=True)
            assert (session.end_reason, session.ended_by) == ("admin", "admin")
            assert calls == {}


@asynchronous
async def test_it_reports_its_calls_when_the_service_asks_for_them():
    async def warn(arguments):
        raise AssertionError

    with tapped() as service:
        calls = Calls(a="active")
        async with gateway(service, calls, commands={"warn_session": warn}) as gw:
            await gw.synced()
            calls["b"] = "held"
            assert (await asyncio.to_thread(service.client.request_sync, "gw-1")).gateway == "done"
            await gw.synced()
            assert live(service.client) == {"a": "active", "b": "held"}


@asynchronous
async def test_it_compares_its_calls_when_it_is_told_to():
    """The service is told nothing of a call that begins, and hears of it all the same."""
    with tapped() as service:
        async with gateway(service, calls := Calls()) as gw:
            await gw.synced()
            calls["a"] = "active"
            gw.sync_soon()
            await gw.synced()
            assert live(service.client) == {"a": "active"}


@asynchronous
async def test_a_pause_ends_early_if_something_happens():
    happened = asyncio.Event()
    asyncio.get_running_loop().call_soon(happened.set)
    await pause_for(happened, PATIENCE)
    await pause_for(asyncio.Event(), 0.0)
