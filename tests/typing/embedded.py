"""What a strict type checker sees of the session manager inside a program. Nothing here runs: ``mypy`` reads it."""

from __future__ import annotations

from typing import Any, assert_type

import pykka

import sessiond
from sessiond.actors.call_record import CallRecords
from sessiond.actors.results import (
    Commanded,
    Count,
    Created,
    Ended,
    Explanation,
    Failure,
    Page,
    Terminated,
    Updated,
    Watched,
)


def the_registry() -> None:
    """``start`` gives a ref whose proxy has the methods of the contract, each returning a typed future."""
    registry = assert_type(sessiond.start(), sessiond.RegistryRef)
    assert_type(sessiond.start(sessiond.Config(sessions=sessiond.Settings(idle_timeout=60))), sessiond.RegistryRef)
    limit = sessiond.Limit(name="trunks", by="metadata.trunk", concurrent=30)
    assert_type(sessiond.start(sessiond.Config(limit=(limit,))), sessiond.RegistryRef)
    manager = registry.proxy()

    assert_type(manager.create_session(type="sip", caller="+15550100"), pykka.Future[Created])
    assert_type(manager.create_session(type="sip").get().id, str)
    assert_type(manager.get_session("id").get(), sessiond.Session)
    assert_type(manager.get_session("id").get().answered_at, float | None)
    assert_type(manager.update_session("id", caller=None, if_version=3).get(), Updated)
    assert_type(manager.update_session_state("id", "held", at=1.5).get(timeout=1), Updated)
    assert_type(manager.update_session_metadata("id", {"a": 1, "b": None}).get(), Updated)
    assert_type(manager.touch_session("id").get().version, int)
    assert_type(manager.end_session("id", "busy", ended_by="callee", sip_code=486).get(), Ended)
    assert_type(manager.terminate_session("id", "fraud", wait=0).get(), Terminated)
    assert_type(manager.modify_session("id", {"hold": True}, timeout=2.5).get(), Commanded)
    assert_type(manager.end_sessions(gateway="gw", dry_run=False, most=10).get().failed, list[Failure])
    assert_type(manager.list_sessions(type="sip", state=["active", "held"], limit=10).get(), Page)
    assert_type(manager.count_sessions(by="state").get(), Count)
    assert_type(manager.explain_limit("trunks", value="t-3", limit=10).get(), Explanation)
    assert_type(manager.list_records(end_reason=["busy"], ended_after=1.5, limit=10).get(), CallRecords)
    assert_type(manager.get_record("id").get().talk_duration, float)
    assert_type(manager.watch(registry, gateway="g").get(), Watched)
    assert_type(manager.watch(sessiond.Mirror().apply, since=3, instance="i").get().gap, bool)
    manager.unwatch(3).get()
    assert_type(manager.ping().get(), str)
    assert_type(manager.server_info().get(), dict[str, Any])
    assert_type(registry.stop(block=True), bool)
    sessiond.stop(registry)


def an_address(registry: sessiond.RegistryRef) -> None:
    """Where a method takes an id it takes an address."""
    manager = registry.proxy()
    assert_type(manager.get_session({"external_id": "call"}).get(), sessiond.Session)
    assert_type(manager.end_session({"gateway": "g", "external_id": "call"}).get(), Ended)


def a_session(registry: sessiond.RegistryRef) -> None:
    """A session's ref and its proxy are typed as well."""
    ref = assert_type(registry.proxy().session_ref("id").get(), sessiond.SessionRef)
    session = ref.proxy()
    assert_type(session.get().get(), sessiond.Session)
    assert_type(session.touch().get(), Updated)
    assert_type(session.update(caller="x", idle_timeout=None).get(), Updated)
    assert_type(session.update_state("ringing").get().stale, bool)
    assert_type(session.update_metadata({"a": None}).get(), Updated)
    assert_type(session.end("normal", q850_cause=16).get().duration, float)
    assert_type(ref.stop(block=True), bool)
    assert_type(ref.is_alive(), bool)


async def awaited(registry: sessiond.RegistryRef) -> None:
    """Futures can be awaited."""
    assert_type(await registry.proxy().touch_session("id"), Updated)


def refused(registry: sessiond.RegistryRef) -> None:
    """What the service would refuse, the type checker refuses first: each of these must stay an error."""
    manager = registry.proxy()
    manager.create_session(caller="x")  # type: ignore[call-arg]
    manager.create_session(type="sip", colour="red")  # type: ignore[call-arg]
    manager.update_session_state("id")  # type: ignore[call-arg]
    manager.update_session("id", gateway="g")  # type: ignore[call-arg]
    manager.update_session_metadata("id", {"a": []})  # type: ignore[dict-item]
    manager.end_session("id", sip_code="486")  # type: ignore[arg-type]
    manager.get_session(5)  # type: ignore[arg-type]
