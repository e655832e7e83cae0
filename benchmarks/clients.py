"""The same calls through client libraries, as a gateway written in Python would make them.

Fifty threads, or fifty tasks on asyncio's own event loop, share one client and each makes one call after the other.
redis-py runs the same scripts as the peer that speaks Redis directly, gives each of the fifty a connection from its
pool, and parses with hiredis: that is what its documentation recommends.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio

from benchmarks.names import ASYNC_CLIENT, CLIENT, REDIS_LUA, REDIS_PY, REDIS_PY_ASYNCIO, SESSIOND
from benchmarks.redis_scripts import ANNOTATE, CREATE, END, IDLE_TIMEOUT, MOVE
from sessiond import AsyncClient, Client
from sessiond.bench.workload import CHANGED_METADATA, Call

__all__ = ["CLIENTS", "CONCURRENT", "OPERATIONS_OF_A_CALL", "ClientPeer"]

CONCURRENT = 50
OPERATIONS_OF_A_CALL = 6

Work = Callable[[int, float], int]
"""Make calls against the server on a port for some seconds; how many were made."""


@dataclass(frozen=True)
class ClientPeer:
    """A client library."""

    name: str
    server: str
    """The contender that it speaks to."""
    work: Work


# sessiond


def _threads_of_client(port: int, seconds: float) -> int:
    with Client(port=port) as client:

        def make(call: Call) -> None:
            created = client.create_session(**call.fields())
            client.update_session_state(created.id, "ringing")
            client.update_session_state(created.id, "active")
            client.update_session_metadata(created.id, CHANGED_METADATA)
            client.get_session(created.id)
            client.end_session(created.id, "normal")

        return _in_threads(make, seconds)


def _tasks_of_async_client(port: int, seconds: float) -> int:
    async def work() -> int:
        async with AsyncClient(port=port) as client:

            async def make(call: Call) -> None:
                created = await client.create_session(**call.fields())
                await client.update_session_state(created.id, "ringing")
                await client.update_session_state(created.id, "active")
                await client.update_session_metadata(created.id, CHANGED_METADATA)
                await client.get_session(created.id)
                await client.end_session(created.id, "normal")

            return await _in_tasks(make, seconds)

    return asyncio.run(work())


# redis-py


class _Scripts:
    """The arguments of the scripts, for either kind of ``redis.Redis``."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.create = client.register_script(CREATE)
        self.move = client.register_script(MOVE)
        self.annotate = client.register_script(ANNOTATE)
        self.end = client.register_script(END)


def _creation(session_id: str, call: Call) -> dict[str, Any]:
    """The keys and arguments of ``CREATE``."""
    fields = call.fields()
    now = time.time()
    record = {
        "type": fields["type"],
        "state": "initializing",
        "gateway": fields["gateway"],
        "external_id": fields["external_id"],
        "caller": fields["caller"],
        "callee": fields["callee"],
        "direction": fields["direction"],
        "created_at": now,
        "updated_at": now,
        "version": 1,
        **{f"m:{key}": value for key, value in fields["metadata"].items()},
    }
    keys = [f"s:{session_id}", "ix:state:initializing", f"ix:gateway:{fields['gateway']}"]
    return {"keys": keys, "args": [session_id, IDLE_TIMEOUT, *itertools.chain.from_iterable(record.items())]}


def _move(session_id: str, state: str) -> dict[str, Any]:
    return {"keys": [f"s:{session_id}"], "args": [session_id, state, time.time(), IDLE_TIMEOUT]}


def _annotation(session_id: str) -> dict[str, Any]:
    changes = itertools.chain.from_iterable((f"m:{key}", value) for key, value in CHANGED_METADATA.items())
    return {"keys": [f"s:{session_id}"], "args": [IDLE_TIMEOUT, time.time(), *changes]}


def _end(session_id: str) -> dict[str, Any]:
    return {"keys": [f"s:{session_id}"], "args": [session_id]}


def _session_id(call: Call) -> str:
    return f"00000000-0000-4000-9000-{call.number:012x}"


def _threads_of_redis(port: int, seconds: float) -> int:
    with redis.Redis(port=port, decode_responses=True) as client:
        scripts = _Scripts(client)

        def make(call: Call) -> None:
            session_id = _session_id(call)
            scripts.create(**_creation(session_id, call))
            scripts.move(**_move(session_id, "ringing"))
            scripts.move(**_move(session_id, "active"))
            scripts.annotate(**_annotation(session_id))
            client.hgetall(f"s:{session_id}")
            scripts.end(**_end(session_id))

        return _in_threads(make, seconds)


def _tasks_of_redis(port: int, seconds: float) -> int:
    async def work() -> int:
        async with redis.asyncio.Redis(port=port, decode_responses=True) as client:
            scripts = _Scripts(client)

            async def make(call: Call) -> None:
                session_id = _session_id(call)
                await scripts.create(**_creation(session_id, call))
                await scripts.move(**_move(session_id, "ringing"))
                await scripts.move(**_move(session_id, "active"))
                await scripts.annotate(**_annotation(session_id))
                await client.hgetall(f"s:{session_id}")
                await scripts.end(**_end(session_id))

            return await _in_tasks(make, seconds)

    return asyncio.run(work())


# Fifty at once


def _in_threads(make: Callable[[Call], None], seconds: float) -> int:
    calls = map(Call, itertools.count())
    end = time.perf_counter() + seconds

    def work() -> int:
        made = 0
        while time.perf_counter() < end:
            make(next(calls))
            made += 1
        return made

    with ThreadPoolExecutor(CONCURRENT) as pool:
        return sum(each.result() for each in [pool.submit(work) for _ in range(CONCURRENT)])


async def _in_tasks(make: Callable[[Call], Awaitable[None]], seconds: float) -> int:
    calls = map(Call, itertools.count())
    end = time.perf_counter() + seconds

    async def work() -> int:
        made = 0
        while time.perf_counter() < end:
            await make(next(calls))
            made += 1
        return made

    return sum(await asyncio.gather(*(work() for _ in range(CONCURRENT))))


CLIENTS = (
    ClientPeer(ASYNC_CLIENT, SESSIOND, _tasks_of_async_client),
    ClientPeer(REDIS_PY_ASYNCIO, REDIS_LUA, _tasks_of_redis),
    ClientPeer(CLIENT, SESSIOND, _threads_of_client),
    ClientPeer(REDIS_PY, REDIS_LUA, _threads_of_redis),
)
