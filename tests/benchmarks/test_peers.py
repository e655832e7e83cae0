"""Each peer carries out whole calls, and keeps what it should: else its numbers would mean nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import pytest

from benchmarks.filling import fill
from benchmarks.processes import free_port, started
from benchmarks.redis_dialect import LuaScripts, PlainCommands
from benchmarks.redis_scripts import SCRIPTS
from sessiond.bench.dialect import MessagePackRpc
from sessiond.bench.workload import CALL, RESIDENT, Call, Step

CORE = min(os.sched_getaffinity(0))
CALLS = 200


def make(port, dialect, steps):
    """Calls through these steps; raises if one of them fails."""
    asyncio.run(fill(port, dialect(), map(Call, range(CALLS)), steps))


@pytest.fixture(params=["plain_dict", "threading_actors"])
def peer(request):
    with started([sys.executable, "-m", f"benchmarks.peers.{request.param}"], CORE) as server:
        yield server


def test_a_peer_in_python_carries_out_whole_calls(peer):
    make(peer.port, MessagePackRpc, RESIDENT)
    make(peer.port, MessagePackRpc, CALL)


def test_a_peer_in_python_refuses_what_cannot_be(peer):
    with pytest.raises(RuntimeError, match="invalid_transition"):
        make(peer.port, MessagePackRpc, (Step.CREATE, Step.ACTIVE, Step.RINGING))
    with pytest.raises(RuntimeError, match="not_found"):
        make(peer.port, MessagePackRpc, (Step.CREATE, Step.END, Step.GET))


@pytest.fixture
def redis():
    port = free_port()
    with started(["redis-server", "--port", str(port), "--save", ""], CORE, port) as server:
        yield server


def ask(port, *words):
    """What Redis replies to one command, if that fits into one packet."""
    command = [f"${len(word)}\r\n{word}\r\n" for word in words]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"*{len(words)}\r\n{''.join(command)}".encode())
        return connection.recv(4096).decode()


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("dialect", [LuaScripts, PlainCommands])
def test_redis_holds_what_is_up_and_nothing_of_what_has_ended(redis, dialect):
    for script in SCRIPTS:
        ask(redis.port, "SCRIPT", "LOAD", script)
    make(redis.port, dialect, RESIDENT)
    make(redis.port, dialect, CALL)
    assert ask(redis.port, "SCARD", "ix:state:active") == f":{CALLS}\r\n"
    assert ask(redis.port, "SCARD", "ix:gateway:gw-07") == f":{CALLS // 20}\r\n"
    hashes_and_sets = CALLS + 1 + 20
    assert ask(redis.port, "DBSIZE") == f":{hashes_and_sets}\r\n"


@pytest.mark.needs("redis-server")
def test_a_script_finds_no_session_that_is_not_there(redis):
    for script in SCRIPTS:
        ask(redis.port, "SCRIPT", "LOAD", script)
    with pytest.raises(RuntimeError, match="NOTFOUND"):
        make(redis.port, LuaScripts, (Step.CREATE, Step.END, Step.METADATA))


def test_a_server_that_does_not_start_is_told():
    with pytest.raises(RuntimeError, match="did not start"), started([sys.executable, "-c", ""], CORE):
        pass


@pytest.mark.parametrize("module", ["sessiond.bench.echo", "benchmarks.peers.plain_dict"])
def test_a_server_runs_where_it_is_told_to_even_if_it_chooses_itself(module):
    for core in os.sched_getaffinity(0):
        with started([sys.executable, "-m", module], core) as server:
            assert os.sched_getaffinity(server.pid) == {core}


def test_what_the_kernel_says_of_a_server_is_read(peer):
    before = peer.cpu_seconds
    while peer.cpu_seconds == before:
        make(peer.port, MessagePackRpc, CALL)
    assert 1e6 < peer.resident_bytes < 1e9
