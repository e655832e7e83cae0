"""The server that the generator measures itself with."""

from __future__ import annotations

import asyncio
import os

import pytest
from clients import asynchronous

from sessiond.bench.echo import _make_room, echo_server


@asynchronous
async def test_it_writes_back_what_it_reads_until_it_is_let_go():
    async with echo_server() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x94\x00\x01")
        assert await reader.readexactly(3) == b"\x94\x00\x01"
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("inherited", "wanted"),
    [({1}, [{0, 2, 3}]), ({0, 1, 2, 3}, [set()])],
    ids=["pinned", "anywhere"],
)
def test_it_leaves_the_cores_of_its_generator(inherited, wanted, monkeypatch):
    """An empty set is refused by the system, and all stays as it is."""
    asked = []

    def refuse_none(_, cores):
        asked.append(cores)
        if not cores:
            raise OSError

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: inherited, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", refuse_none, raising=False)
    _make_room()
    assert asked == wanted
