"""The operators' port of a real service."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess

import msgpack
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from sessiond.actors.session import SessionActor
from sessiond.config import Config
from sessiond.metrics import page
from sessiond.service import Service

OPENMETRICS = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(page, "PAUSE", 0)


@contextlib.asynccontextmanager
async def serving(**arguments):
    service = Service(Config(listen="127.0.0.1:0", metrics="127.0.0.1:0"), **arguments)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@contextlib.asynccontextmanager
async def gateway(service):
    """Calls of the service's methods, one after the other: ``await call("ping")``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    unpacker = msgpack.Unpacker()

    async def call(method, *params):
        writer.write(msgpack.packb([0, 1, method, params]))
        while True:
            for _, _, error, result in unpacker:
                return error or result
            unpacker.feed(await reader.read(65536))

    try:
        yield call
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def promtool(text: str) -> tuple[int, str, str]:
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    return lint.returncode, lint.stdout, lint.stderr


def samples(families) -> dict:
    return {(each.name, *sorted(each.labels.values())): each.value for family in families for each in family.samples}


async def test_what_gateways_did_is_on_the_page(visiting):
    async with serving() as service, visiting(service.metrics_port) as visitor, gateway(service) as call:
        created = await call("create_session", {"type": "sip", "state": "ringing"})
        await call("update_session_state", created["id"], "active")
        await call("update_session_state", "nobody", "active")
        await call("no_such_method")
        found = samples(parse((await visitor.get("/metrics")).body))
        assert found["sessiond_sessions", "active", "sip"] == 1
        assert found["sessiond_sessions", "ringing", "sip"] == 0
        assert found["sessiond_requests_total", "create_session", "ok"] == 1
        assert found["sessiond_requests_total", "ok", "update_session_state"] == 1
        assert found["sessiond_requests_total", "not_found", "update_session_state"] == 1
        assert found["sessiond_requests_total", "unknown", "unknown_method"] == 1
        assert found["sessiond_request_duration_seconds_count", "update_session_state"] == 2
        assert found["sessiond_connections",] == 1


async def test_restarted_sessions_are_counted(visiting):
    class Faulty(SessionActor):
        def touch(self):
            raise ZeroDivisionError

    async with (
        serving(session_class=Faulty) as service,
        visiting(service.metrics_port) as visitor,
        gateway(service) as call,
    ):
        created = await call("create_session", {"type": "sip"})
        await call("touch_session", created["id"])
        found = samples(parse((await visitor.get("/metrics")).body))
        assert found["sessiond_actor_restarts_total", "session"] == 1
        assert found["sessiond_requests_total", "internal", "touch_session"] == 1


async def test_counters_only_grow(visiting):
    async with serving() as service, visiting(service.metrics_port) as visitor, gateway(service) as call:
        before = {}
        for kind in ("sip", "webrtc", "fax"):
            session = await call("create_session", {"type": kind, "state": "active"})
            await call("end_session", session["id"], None)
            await call("nonsense")
            families = list(parse((await visitor.get("/metrics")).body))
            after = samples(family for family in families if family.type in {"counter", "histogram"})
            assert all(after[name] >= count for name, count in before.items())
            before = after
        assert before["sessiond_sessions_ended_total", "normal", "other"] == 1


async def test_both_formats_say_the_same(visiting):
    async with serving() as service, visiting(service.metrics_port) as visitor, gateway(service) as call:
        await call("create_session", {"type": "sip"})
        plain, opened = await visitor.get("/metrics"), await visitor.get("/metrics", OPENMETRICS)
        assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        stable = [
            {name: value for name, value in found.items() if not name[0].startswith("process_")}
            for found in (samples(parse(plain.body)), samples(parse_openmetrics(opened.body)))
        ]
        assert stable[0] == stable[1]


@pytest.mark.needs("promtool")
async def test_prometheus_finds_no_fault_with_it(visiting):
    async with serving() as service, visiting(service.metrics_port) as visitor, gateway(service) as call:
        session = await call("create_session", {"type": 'odd "\n\\', "state": "active"})
        await call("end_session", session["id"], "because")
        await call("nonsense")
        text = (await visitor.get("/metrics")).body
    assert promtool(text) == (0, "", "")


async def test_many_scrapes_at_once_are_all_answered(visiting):
    async with serving() as service, contextlib.AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(visiting(service.metrics_port)) for _ in range(20)]
        replies = await asyncio.gather(*(visitor.get("/metrics") for visitor in visitors))
        assert {reply.status for reply in replies} == {200}


async def test_health_and_readiness(visiting):
    """A service is ready from its start to the signal to stop, and healthy, and measured, for longer."""
    async with serving() as service, visiting(service.metrics_port) as visitor:
        assert (await visitor.get("/healthz"))[::2] == (200, "ok\n")
        assert (await visitor.get("/readyz"))[::2] == (200, "ok\n")
        async with gateway(service) as call:
            await call("ping")
            stopping = asyncio.create_task(service.stop())
            await asyncio.sleep(0)
            assert (await visitor.get("/readyz"))[::2] == (503, "draining\n")
            assert (await visitor.get("/healthz")).status == 200
            assert (await visitor.get("/metrics")).status == 200
            assert not stopping.done()
        await stopping
        assert await visitor.rest() == b""
        assert service.failed.is_set() is False


async def test_a_service_that_was_given_up_is_not_ready(visiting):
    async with serving() as service, visiting(service.metrics_port) as visitor:
        service._give_up("reaper")
        assert (await visitor.get("/readyz"))[::2] == (503, "the reaper crashed\n")


@pytest.mark.parametrize("taken", ["metrics", "listen"])
async def test_a_service_without_one_of_its_ports_does_not_start(taken):
    async with serving() as service:
        ports = {"metrics": service.metrics_port, "listen": service.port}
        free = {"metrics": "127.0.0.1:0", "listen": "127.0.0.1:0"}
        second = Service(Config(**free | {taken: f"127.0.0.1:{ports[taken]}"}))
        with pytest.raises(OSError, match="in use"):
            await second.start()
        assert second.registry.is_alive() is False
