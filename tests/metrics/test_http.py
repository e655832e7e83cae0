"""The HTTP server, over real sockets, with clients that keep the rules and clients that do not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging

import pytest

from sessiond.metrics import http
from sessiond.metrics.http import Answer, HttpServer

GET = b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n"


async def page(accepted: str) -> Answer:
    return Answer(200, f"accepted: {accepted}".encode())


async def faulty(_accepted: str) -> Answer:
    raise ZeroDivisionError


async def huge(_accepted: str) -> Answer:
    return Answer(200, bytes(1 << 26))


@contextlib.asynccontextmanager
async def serving():
    server = HttpServer({"/page": page, "/faulty": faulty, "/huge": huge})
    port = await server.open("127.0.0.1", 0)
    try:
        yield port
    finally:
        await server.close()


async def test_a_page_is_answered_with_what_the_client_accepts(visiting):
    async with serving() as port, visiting(port) as visitor:
        status, headers, body = await visitor.get("/page?x=1", "Accept: a/b", "accept: c/d")
        assert (status, body) == (200, "accepted: a/b,c/d")
        assert headers == {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))}


async def test_head_is_answered_like_get_without_the_body(visiting):
    async with serving() as port, visiting(port) as visitor:
        got = await visitor.get("/page")
        visitor.send(GET.replace(b"GET", b"HEAD"))
        assert await visitor.reply(with_body=False) == got._replace(body="")
        assert await visitor.get("/page") == got


async def test_what_is_not_there_says_what_is(visiting):
    async with serving() as port, visiting(port) as visitor:
        for path in ("/", "/page/", "http://test/page", "*"):
            reply = await visitor.get(path)
            assert (reply.status, reply.body) == (404, "There are /page, /faulty, /huge\n")


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "CONNECT", "NONSENSE"])
async def test_pages_can_only_be_read(visiting, method):
    async with serving() as port, visiting(port) as visitor:
        visitor.send(GET.replace(b"GET", method.encode()))
        reply = await visitor.reply()
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


async def test_a_fault_of_a_page_is_told_and_logged_and_no_more(visiting, caplog):
    async with serving() as port, visiting(port) as visitor:
        assert (await visitor.get("/faulty")).status == 500
        assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]
        assert (await visitor.get("/page")).status == 200


async def test_one_connection_serves_many_requests(visiting):
    async with serving() as port, visiting(port) as visitor:
        assert [(await visitor.get("/page")).status for _ in range(20)] == [200] * 20


async def test_pipelined_requests_are_answered_in_order(visiting):
    async with serving() as port, visiting(port) as visitor:
        visitor.send(b"".join(GET.replace(b"test\r\n", b"test\r\nAccept: %d\r\n" % n) for n in range(300)))
        assert [(await visitor.reply()).body for _ in range(300)] == [f"accepted: {n}" for n in range(300)]


async def test_the_loop_turns_between_pipelined_requests(visiting):
    loop = asyncio.get_running_loop()
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    async with serving() as port, visiting(port) as visitor:
        turn()
        visitor.send(GET * 100)
        for _ in range(100):
            await visitor.reply()
        assert turns >= 100


async def test_a_request_may_arrive_byte_by_byte(visiting):
    async with serving() as port, visiting(port) as visitor:
        for byte in GET:
            visitor.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await visitor.reply()).status == 200


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 20000\r\n\r\n" + bytes(20_000), b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
async def test_a_body_is_read_over(visiting, body):
    async with serving() as port, visiting(port) as visitor:
        visitor.send(GET.removesuffix(b"\r\n") + body + GET)
        assert [(await visitor.reply()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "last", [b"GET /page HTTP/1.0\r\n\r\n", GET.replace(b"test\r\n", b"test\r\nConnection: close\r\n")]
)
async def test_the_connection_is_closed_for_whoever_wants_it_closed(visiting, last):
    async with serving() as port, visiting(port) as visitor:
        visitor.send(last)
        reply = await visitor.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await visitor.rest() == b""


async def test_a_client_that_has_said_all_still_gets_its_answer(visiting):
    async with serving() as port, visiting(port) as visitor:
        visitor.send(GET)
        visitor.end()
        assert (await visitor.reply()).status == 200
        assert await visitor.rest() == b""


@pytest.mark.parametrize(
    ("garbage", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # a client that speaks TLS
        (b"\x94\x00\x01\xa4ping\x90\r\n\r\n", 400),  # a gateway that has the ports mixed up
        (b"GET /page\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /page HTTP/1.1\r\nHost: test\r\nbad header\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /" + b"x" * 9000, 431),
        (b"GET /page HTTP/1.1\r\n" + b"x: y\r\n" * 2000, 431),
    ],
)
async def test_what_is_no_request_is_refused(visiting, garbage, status):
    async with serving() as port, visiting(port) as visitor:
        visitor.send(garbage)
        reply = await visitor.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert await visitor.rest() == b""


async def test_requests_before_a_wrong_one_are_answered(visiting):
    async with serving() as port, visiting(port) as visitor:
        visitor.send(GET + b"nonsense\r\n\r\n" + GET)
        assert [(await visitor.reply()).status for _ in range(2)] == [200, 400]
        assert await visitor.rest() == b""


async def test_a_request_that_has_begun_must_be_whole_in_time(visiting):
    loop = asyncio.get_running_loop()
    async with serving() as port, visiting(port) as slow, visiting(port) as other:
        slow.send(GET + GET[:10])
        await slow.reply()  # so the server has the first bytes of the second request, too
        loop.step(http.REQUEST_SECONDS - 0.5)
        assert (await other.get("/page")).status == 200
        assert not slow.is_closed()
        loop.step(0.5)
        assert await slow.rest() == b""
        assert (await other.get("/page")).status == 200


async def test_a_client_without_requests_is_closed_in_time(visiting):
    loop = asyncio.get_running_loop()
    async with serving() as port, visiting(port) as idle, visiting(port) as used:
        await idle.get("/page")
        await used.get("/page")
        loop.step(http.IDLE_SECONDS - 1)
        assert (await used.get("/page")).status == 200
        assert not idle.is_closed()
        loop.step(1)
        assert await idle.rest() == b""
        assert (await used.get("/page")).status == 200


async def test_a_client_that_never_asks_is_closed_sooner(visiting):
    """Or a few that say nothing would take all the places of those who ask whether the service is well."""
    loop = asyncio.get_running_loop()
    async with serving() as port, visiting(port) as silent, visiting(port) as other:
        await other.get("/page")
        loop.step(http.REQUEST_SECONDS)
        assert await silent.rest() == b""


async def test_a_client_that_does_not_read_is_given_up_and_keeps_nobody_waiting(visiting):
    loop = asyncio.get_running_loop()
    async with serving() as port, visiting(port) as deaf, visiting(port) as other:
        await other.get("/page")
        deaf.send(GET.replace(b"/page", b"/huge"))
        await deaf.reply(with_body=False)
        loop.step(http.WRITE_SECONDS - 1)
        assert (await other.get("/page")).status == 200
        loop.step(1)
        assert (await other.get("/page")).status == 200
        assert len(await deaf.rest()) < 1 << 26


async def test_connections_are_capped(visiting, monkeypatch):
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 2)
    async with serving() as port, visiting(port) as first, visiting(port) as second:
        assert [(await visitor.get("/page")).status for visitor in (first, second)] == [200, 200]
        async with visiting(port) as third:
            assert await third.rest() in {b"", b"reset"}
        first.end()
        assert await first.rest() == b""
        async with visiting(port) as fourth:
            assert (await fourth.get("/page")).status == 200
        assert (await second.get("/page")).status == 200


async def test_close_leaves_no_connection_open(visiting):
    server = HttpServer({"/page": page})
    port = await server.open("127.0.0.1", 0)
    async with visiting(port) as visitor, visiting(port) as silent:
        assert (await visitor.get("/page")).status == 200
        await server.close()
        assert [await each.rest() for each in (visitor, silent)] == [b"", b""]
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_an_address_in_use_is_an_error():
    async with serving() as port:
        with pytest.raises(OSError, match="in use"):
            await HttpServer({}).open("127.0.0.1", port)


async def test_clients_that_come_and_go_are_no_events(visiting, caplog):
    """Neither a line in the log for each port scan, nor a cycle of objects, which nobody takes apart when we serve."""
    caplog.set_level(logging.INFO)
    async with serving() as port:

        async def visits() -> None:
            for sent in (b"", GET, GET[:9], b"nonsense\r\n\r\n", bytes(9000)):
                async with visiting(port) as visitor:
                    visitor.send(sent)
                    visitor.end()
                    await visitor.rest()

        await visits()
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await visits()
            gc.collect()
            left = {type(each).__module__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert not caplog.records
    assert not {name for name in left if name.startswith(("h11", "sessiond", "asyncio.streams"))}
