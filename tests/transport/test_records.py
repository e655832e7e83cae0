"""Records of calls over the wire, by both clients; ``tests/stores`` has what is found."""

from __future__ import annotations

import threading

import pytest
from clients import CLIENTS
from recorded import recorded
from serving import serving

import sessiond
from sessiond import Client, Config
from sessiond.actors import errors, history
from sessiond.actors.call_record import CallRecord
from sessiond.actors.guard import Turn
from sessiond.actors.results import Author, HistoryEntry
from sessiond.stores.settings import StoreSettings


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Three calls of gw-1 and a fat one, one of gw-2."""
    with recorded(tmp_path_factory.mktemp("records") / "store.db") as (served, store):
        store.add_author(4, "gw-1", "e1")
        for number in range(1, 4):
            store.add(
                {"n": number}, gateway="gw-1", external_id="again", created_at=1.8e9, ended_at=1.8e9 + 30 * number,
                answered_at=1.8e9 + 10, timeline=history.begun("ringing", 4, 1.8e9),
            )  # fmt: skip
        store.add({"note": "x" * 16_000}, gateway="gw-1")
        store.add(gateway="gw-2", end_reason="busy", ended_by="callee")
        yield served


@pytest.fixture(params=CLIENTS)
def client(service, request):
    with CLIENTS[request.param](service.port) as client:
        yield client


def numbers(records):
    return [record.number for record in records]


def test_a_record_is_what_was_kept(client):
    record = client.get_record("id-2")
    assert isinstance(record, CallRecord)
    assert (record.number, record.gateway, record.metadata) == (2, "gw-1", {"n": 2})
    assert (record.setup_duration, record.ring_duration) == (10.0, 0.0)
    assert (record.talk_duration, record.duration) == (50.0, 60.0)
    began = HistoryEntry(1.8e9, Author("gateway", "gw-1", "e1"), "created", state="ringing")
    assert (record.history, record.history_dropped) == ([began], 0)
    assert client.get_record({"gateway": "gw-1", "external_id": "again"}).number == 3


def test_pages_are_walked_to_the_end(client):
    first = client.list_records(gateway="gw-1", limit=3)
    assert numbers(first.records) == [1, 2, 3]
    rest = client.list_records(gateway="gw-1", cursor=first.cursor, fields=["number", "history"])
    assert rest.records == [{"number": 4, "history": []}]
    assert rest.cursor is None
    assert numbers(client.records(limit=2)) == [1, 2, 3, 4, 5]
    assert numbers(client.records(limit=1, order="desc", gateway="gw-1", ended_after=1.8e9)) == [3, 2, 1]
    assert numbers(client.records(end_reason=["busy", "failed"], ended_by="callee")) == [5]


def test_what_is_wrong_is_raised_as_its_class(client):
    with pytest.raises(errors.NotFound, match="No record"):
        client.get_record("nobody")
    with pytest.raises(errors.InvalidRequest) as refusal:
        client.list_records(ended_by="nobody")
    assert refusal.value.details["field"] == "ended_by"
    cursor = client.list_records(limit=1).cursor
    with pytest.raises(errors.InvalidRequest) as refusal:
        client.list_records(gateway="gw-1", cursor=cursor)
    assert refusal.value.details["field"] == "cursor"


def test_in_process_the_same_comes_of_it(service):
    manager = service.registry.proxy()
    assert numbers(manager.list_records(gateway="gw-1", limit=2).get(timeout=20).records) == [1, 2]
    assert manager.list_records(fields=["number"], limit=1).get(timeout=20).records == [{"number": 1}]
    assert manager.get_record("id-5").get(timeout=20).end_reason == "busy"
    with pytest.raises(errors.InvalidRequest, match="ended_after"):
        manager.list_records(ended_after=-1).get(timeout=20)


@pytest.mark.parametrize("kind", CLIENTS)
def test_without_a_store_there_are_no_records(kind):
    with serving() as served, CLIENTS[kind](served.port) as client:
        for ask in (client.list_records, lambda: client.get_record("x")):
            with pytest.raises(errors.InvalidRequest, match=r"keeps no records of calls: it has no \[store\]"):
                ask()


@pytest.fixture
def config(tmp_path):
    return Config(store=StoreSettings(kind="sqlite", path=str(tmp_path / "sessiond.db")))


def test_a_walk_goes_on_over_a_restart(config):
    """Of a service with a store of its own, and each record is there as soon as its end is acknowledged."""
    found = []
    with serving(config) as served, Client(port=served.port) as client:
        for n in range(5):
            session = client.create_session(type="sip", external_id=f"call-{n}", metadata={"n": n, "odd": bool(n % 2)})
            client.update_session_state(session.id, "active")
            client.end_session(session.id, "busy", sip_code=486)
            found.append(client.get_record(session.id))
            assert [entry.change for entry in found[-1].history] == ["created", "state", "ended"]
        first = client.list_records(limit=2)
    with serving(config) as served, Client(port=served.port) as client:
        rest = client.list_records(cursor=first.cursor)
        assert [*first.records, *rest.records] == found
        assert list(client.records(metadata={"odd": True, "n": 3})) == [found[3]]
        assert client.get_record({"external_id": "call-2"}) == found[2]


def test_in_process_a_thread_that_asks_for_records_gets_them(config):
    registry = sessiond.start(config)
    try:
        manager = registry.proxy()
        ids = [manager.create_session(type="sip").get(timeout=20).id for _ in range(3)]
        for id_ in ids:
            manager.end_session(id_).get(timeout=20)
        assert [record.id for record in manager.list_records(order="desc").get(timeout=20).records] == ids[::-1]
        assert manager.get_record(ids[0]).get(timeout=20).ended_by == "gateway"
    finally:
        sessiond.stop(registry)


def test_whoever_waits_for_records_when_the_service_stops_is_told_so(config):
    registry = sessiond.start(config)
    reads, goes_on = threading.Event(), threading.Event()
    registry.ask(Turn(lambda actor: actor.context.store.read(lambda _: reads.set() or goes_on.wait(20)) and None))
    assert reads.wait(20)
    asked = registry.proxy().list_records()
    registry.ask(Turn(lambda _: None))  # by now that has been asked for
    stopping = threading.Thread(target=sessiond.stop, args=(registry,))
    stopping.start()
    try:
        with pytest.raises(errors.Unavailable, match="stopped"):
            asked.get(timeout=20)
    finally:
        goes_on.set()
        stopping.join()
