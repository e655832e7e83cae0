"""What the asyncio client owes to its event loop."""

from __future__ import annotations

import asyncio

import pytest
from clients import asynchronous
from proxies import proxying, swallowing
from serving import serving

from sessiond import AsyncClient
from sessiond.actors.errors import RequestTimeout, Unavailable
from sessiond.transport.codec import MAX_FRAME


@pytest.fixture(scope="module")
def service():
    with serving() as served:
        yield served


@pytest.fixture
def proxy(service):
    with proxying(service.port) as proxy:
        yield proxy


class Writes(list):
    """What a client hands to its socket."""

    def __init__(self, client: AsyncClient):
        transport = client._line._link.transport
        write = transport.write

        def record(data):
            self.append(data)
            write(data)

        client._line._link.transport = type("Recording", (), {"write": staticmethod(record)})
        client._line._link.transport.is_closing = transport.is_closing
        client._line._link.transport.close = transport.close


@asynchronous
async def test_requests_of_one_turn_of_the_loop_are_sent_together(service):
    """A system call for sixteen of them, so that the service need not wait for the last."""
    async with AsyncClient(port=service.port) as client:
        await client.ping()
        writes = Writes(client)
        assert await asyncio.gather(*[client.ping() for _ in range(50)]) == ["pong"] * 50
        assert [write.count(b"ping") for write in writes] == [16, 16, 16, 2]


@asynchronous
async def test_no_task_is_made_for_a_request(service):
    """Nor a timer: there is one for all."""
    async with AsyncClient(port=service.port) as client:
        await client.ping()
        before = asyncio.all_tasks()
        timer = client._line._timer
        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(client.ping()) for _ in range(5)}
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == before | tasks
            assert client._line._timer is timer


@asynchronous
async def test_a_cancelled_request_does_not_disturb_the_others(proxy):
    """Its answer is ignored."""
    async with AsyncClient(port=proxy.port) as client:
        await client.ping()
        cancelled, other = asyncio.create_task(client.server_info()), asyncio.create_task(client.ping())
        await asyncio.sleep(0)
        cancelled.cancel()
        assert await other == "pong"
        assert await client.ping() == "pong"
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert proxy.connections == 1


@asynchronous
async def test_a_request_that_is_cancelled_before_it_is_sent_is_not_sent(service):
    """Nobody wants it any more."""
    async with AsyncClient(port=service.port) as client:
        await client.ping()
        writes = Writes(client)
        cancelled = asyncio.create_task(client.create_session(type="sip", caller="nobody"))
        asyncio.get_running_loop().call_soon(cancelled.cancel)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert await client.ping() == "pong"
        assert b"nobody" not in b"".join(writes)


def test_a_client_may_be_used_on_one_loop_after_another(service):
    """As by two calls of ``asyncio.run``; each has a connection of its own."""
    client = AsyncClient(port=service.port)

    async def use():
        assert await client.ping() == "pong"
        client._line._link.transport.close()
        await client._line._link.closed.wait()

    asyncio.run(use())
    asyncio.run(use())

    async def close():
        await client.close()
        with pytest.raises(Unavailable):
            await client.ping()

    asyncio.run(close())


@asynchronous
async def test_overdue_requests_fail_in_their_order(proxy):
    """Each at its own time, on one timer."""
    async with AsyncClient(port=proxy.port) as client:
        await client.ping()
        proxy.to_service = swallowing
        line = client._line
        line._timer.cancel()
        line._timer, line._timeout = None, 0.05
        failed = []

        async def ask(number):
            with pytest.raises(RequestTimeout):
                await client.ping()
            failed.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(ask(number))
                await asyncio.sleep(0)
        assert failed == list(range(5))
        assert not line._calls
        assert line._timer is None


@asynchronous
async def test_leaving_while_connecting(service):
    """Closing waits for nothing that may never come."""
    client = AsyncClient(port=service.port)
    waiting = asyncio.create_task(client.ping())
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(Unavailable, match="closed"):
        await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


@asynchronous
async def test_what_cannot_be_sent_fails_alone(service):
    """A request that is too long is not the others' business."""
    async with AsyncClient(port=service.port) as client:
        results = await asyncio.gather(client.ping(), client.call("x", "y" * MAX_FRAME), return_exceptions=True)
        assert results[0] == "pong"
        assert results[1].details == {"field": "params"}
