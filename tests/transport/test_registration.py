"""Clients that speak as a gateway's."""

from __future__ import annotations

import asyncio

import pytest
from clients import CLIENTS, PATIENCE, asynchronous, await_loss, line_of
from hypothesis import given
from hypothesis import strategies as st
from proxies import Cut
from scripted import Refusal, Scripted, scripted
from tapped import other, policy, tapped

from sessiond import AsyncClient, Client, Registration
from sessiond.actors.errors import Conflict, LimitExceeded, NotFound, Unavailable
from sessiond.actors.settings import GatewaySettings
from sessiond.config import Config
from sessiond.transport import async_commands
from sessiond.transport import client_requests as requests
from sessiond.transport.registration import MAX_PAUSE, Standing

REGISTERED = {"gateway": "gw-1", "epoch": None, "outcome": "registered", "lease": 30.0, "grace": 120.0} | {
    "sessions": 0, "suspect": 0, "instance": "i",
}  # fmt: skip
GATEWAY = Registration(name="gw-1", epoch="e1")

# Whether the service has us as the gateway that we say we are


@given(st.floats(0, 1), st.integers(1, 30))
def test_a_refusal_is_raised_for_a_while(draw, times):
    """Longer each time, and new each time."""
    standing, now = Standing(lambda: draw), 0.0
    standing.check(now)
    for _ in range(times):
        standing.refused(Conflict("Taken", epoch="e0"), now)
        with pytest.raises(Conflict, match="Taken") as caught:
            standing.check(now)
        assert caught.value.details == {"epoch": "e0", "registration": "refused"}
        assert caught.value is not standing.refusal()
        now += MAX_PAUSE
        standing.check(now)
    standing.accepted()
    standing.check(0.0)


def test_who_was_replaced_does_not_come_back():
    """Else two instances might take the place from each other for ever."""
    standing = Standing(lambda: 0.0)
    assert not standing.is_replaced
    standing.replaced()
    assert standing.is_replaced
    with pytest.raises(Conflict, match="place"):
        standing.check(1e12)


# Both clients


@pytest.fixture(params=CLIENTS)
def connect(request):
    return CLIENTS[request.param]


def refuse(code, **details):
    def method(*_):
        raise Refusal(code, **details)

    return method


def test_each_connection_is_registered_first(connect):
    """Before what waits for it, and again after it was lost."""
    registration = Registration(name="gw-1", epoch="e1", capabilities=("x",), lease=9.0, metadata={"site": "b"})
    options = {"epoch": "e1", "capabilities": ["x"], "lease": 9.0, "metadata": {"site": "b"}}
    with tapped() as service, connect(service.port, gateway=registration) as client:
        assert client.ping() == "pong"
        service.cut()
        await_loss(client)
        assert client.ping() == "pong"
        assert service.heard == [[("register_gateway", ["gw-1", options]), ("ping", [])]] * 2
        [shown] = service.client.list_gateways().gateways
        assert (shown.name, shown.epoch, shown.state) == ("gw-1", "e1", "live")
        assert (shown.capabilities, shown.metadata) == (["x"], {"site": "b"})


def test_what_is_not_given_is_left_to_the_service(connect):
    with tapped() as service, connect(service.port, gateway=Registration(name="gw-1")) as client:
        client.ping()
        assert service.heard[0][0] == ("register_gateway", ["gw-1", {}])
        assert service.client.heartbeat_gateway("gw-1").lease == 30.0


@pytest.mark.parametrize(
    ("settings", "of_another", "kind", "details"),
    [
        ({"policy": "refuse"}, "gw-1", Conflict, {"gateway": "gw-1", "epoch": "e0"}),
        ({"max_gateways": 1}, "gw-2", LimitExceeded, {"limit": "max_gateways", "maximum": 1}),
    ],
    ids=["conflict", "limit_exceeded"],
)
def test_a_refused_registration_is_raised_by_requests(connect, settings, of_another, kind, details):
    """None of which is sent, nor is it asked for each of them whether that still holds."""
    config = Config(gateways=GatewaySettings(**settings, grace=1.0))
    with tapped(config) as service, connect(service.port, gateway=GATEWAY) as client:
        with other(service.served, "e0", of_another):
            for _ in range(10):
                with pytest.raises(kind) as caught:
                    client.ping()
                assert caught.value.details.items() >= {**details, "registration": "refused"}.items()
            assert service.methods == ["register_gateway"]
        while of_another in {each.name for each in service.client.list_gateways().gateways if each.state == "live"}:
            pass
        if kind is Conflict:
            line_of(client)._standing._retry_at = 0.0
            assert client.ping() == "pong"


def test_a_connection_that_is_lost_before_it_is_registered(connect):
    """Another one is made, as for any request."""
    with tapped() as service, connect(service.port, gateway=GATEWAY) as client:

        def cut_first():
            if len(service.heard) == 1:
                raise Cut

        service.before["register_gateway"] = cut_first
        assert client.ping() == "pong"
        assert [method for each in service.heard for method, _ in each][-2:] == ["register_gateway", "ping"]
        assert len(service.heard) == 2


def test_a_registration_that_is_not_answered(connect):
    """Is no connection, and not one that might have carried out anything."""
    with (
        scripted(register_gateway=lambda *_: Scripted.SILENCE) as peer,
        connect(peer.port, gateway=GATEWAY, timeout=0.1) as client,
    ):
        with pytest.raises(Unavailable) as caught:
            client.update_session_state("a", "held", if_version=1)
        assert caught.value.details == {}


def test_a_gateway_that_was_replaced_stays_away(connect):
    """It reads that when it wants to ask for something, and takes nothing back."""
    with tapped(policy("take_over")) as service, connect(service.port, gateway=GATEWAY) as client:
        client.ping()
        with other(service.served, "e2") as younger:
            await_loss(client)
            for call in (client.server_info, client.ping, client.ping):
                with pytest.raises(Conflict, match="place of this gateway"):
                    call()
            assert younger.ping() == "pong"
        assert len(service.heard) == 1


def test_a_gateway_hears_that_it_was_replaced_while_it_waits_for_an_answer(connect):
    """Also when the connection on which it was told so is still there."""
    with scripted(register_gateway=lambda *_: REGISTERED) as peer, connect(peer.port, gateway=GATEWAY) as client:

        def replace(*_):
            peer.notify("gateway_replaced", {"gateway": "gw-1", "epoch": "e2"})
            return Scripted.SILENCE

        peer.methods["server_info"] = replace
        for call in (client.server_info, client.ping):
            with pytest.raises(Conflict, match="place of this gateway"):
                call()
        assert len(peer.heard) == 1


def test_other_notifications_change_nothing(connect):
    """Nor does one of that name for a client that is no gateway's."""
    with scripted() as peer, connect(peer.port) as client:
        client.ping()
        peer.notify("gateway_replaced", {})
        peer.notify("anything", 1)
        assert client.ping() == "pong"


# What the service asks for


def test_what_nobody_can_carry_out_is_refused(connect):
    """So that the service does not wait for it. The blocking client does this when it reads the next time."""
    with scripted() as peer, connect(peer.port) as client:
        client.ping()
        peer.post(7, "terminate_session", {"id": "a"})
        client.ping()
        error, result = peer.answer()
        assert error[2] == {"code": "unknown_method", "method": "terminate_session"}
        assert result is None


def test_a_blocking_client_cannot_promise_to_listen():
    with pytest.raises(ValueError, match="use Gateway"):
        Client(gateway=Registration(name="gw-1", capabilities=("commands",)))


def commanded(**commands):
    """A scripted peer, and a client that carries out ``commands``."""

    async def run(test):
        with scripted() as peer:
            async with AsyncClient(port=peer.port, timeout=PATIENCE, commands=commands) as client:
                await client.ping()
                await test(peer, client)

    return run


@asynchronous
async def test_a_command_is_answered_with_what_its_handler_returns():
    async def warn(arguments):
        return {"heard": arguments["text"]}

    async def test(peer, client):
        assert await asyncio.to_thread(peer.ask, "warn_session", {"text": "Hello"}) == (None, {"heard": "Hello"})

    await commanded(warn_session=warn)(test)


@asynchronous
@pytest.mark.parametrize(
    ("raised", "code"),
    [(NotFound("No such call", id="a"), "not_found"), (ZeroDivisionError(), "internal"), (TypeError(), "internal")],
    ids=lambda value: type(value).__name__,
)
async def test_a_command_is_answered_with_what_its_handler_raises(raised, code):
    """What is no error of ours is told as ``internal``, as are results that cannot be sent."""

    async def fail(arguments):
        if isinstance(raised, TypeError):
            return object()
        raise raised

    async def test(peer, client):
        error, result = await asyncio.to_thread(peer.ask, "terminate_session", {"id": "a"})
        assert (error[2]["code"], result) == (code, None)
        assert await client.ping() == "pong"

    await commanded(terminate_session=fail)(test)


@asynchronous
async def test_arguments_of_another_shape_are_refused():
    async def warn(arguments):
        raise AssertionError

    async def test(peer, client):
        error, _ = await asyncio.to_thread(peer.ask, "warn_session", 1, 2)
        assert error[2]["code"] == "invalid_request"

    await commanded(warn_session=warn)(test)


@asynchronous
async def test_a_repeated_command_is_carried_out_once():
    """While it is under way; both get the one answer. Afterwards it is another one."""
    begun, may_end, times = asyncio.Event(), asyncio.Event(), []

    async def terminate(arguments):
        times.append(arguments)
        begun.set()
        await may_end.wait()
        return len(times)

    async def test(peer, client):
        peer.post(1, "terminate_session", {"id": "a"})
        await begun.wait()
        peer.post(2, "terminate_session", {"id": "a"})
        await client.ping()
        may_end.set()
        assert [await asyncio.to_thread(peer.answer) for _ in range(2)] == [(None, 1)] * 2
        assert await asyncio.to_thread(peer.ask, "terminate_session", {"id": "a"}) == (None, 2)

    await commanded(terminate_session=terminate)(test)


@asynchronous
async def test_commands_are_bounded(monkeypatch):
    """What is too much is told to come back later, and what is under way is left off when the client is closed."""
    monkeypatch.setattr(async_commands, "MAX_COMMANDS", 2)

    async def for_ever(arguments):
        await asyncio.Event().wait()

    async def test(peer, client):
        for number in range(2):
            peer.post(number, "terminate_session", {"id": number})
        error, _ = await asyncio.to_thread(peer.ask, "terminate_session", {"id": 2})
        assert error[2]["code"] == "overloaded"

    await commanded(terminate_session=for_ever)(test)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@asynchronous
async def test_an_answer_to_a_lost_connection_is_nobodys():
    """The service will ask again on the next one."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def terminate(arguments):
        begun.set()
        await may_end.wait()

    async def test(peer, client):
        peer.post(1, "terminate_session", {"id": "a"})
        await begun.wait()
        peer.cut()
        await client._line._link.closed.wait()
        may_end.set()
        assert await client.ping() == "pong"

    await commanded(terminate_session=terminate)(test)


# Requests together


def test_requests_that_are_sent_together_fail_one_by_one():
    """Each outcome stands in the place of its request, with both clients."""
    asked = [requests.ping(), requests.call("fail", []), requests.call("nil", []), requests.ping()]
    with scripted(fail=refuse("not_found")) as peer, Client(port=peer.port) as client:
        first, failed, nil, last = client.perform_all(asked)
        assert (first, nil, last) == ("pong", None, "pong")
        assert isinstance(failed, NotFound)
        client.close()
        assert all(isinstance(each, Unavailable) for each in client.perform_all(asked))

    async def test():
        with scripted(fail=refuse("not_found")) as peer:
            async with AsyncClient(port=peer.port) as client:
                huge = requests.call("ping", ["x" * 300_000])
                first, failed, nil, last, *_ = await client.perform_all([*[each.renewed() for each in asked], huge])
                assert (first, nil, last) == ("pong", None, "pong")
                assert isinstance(failed, NotFound)

    asyncio.run(test())
