"""Both clients against a service that serves."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from clients import CLIENTS
from proxies import proxying
from serving import serving

from sessiond import Config, Limit, Session, SessionActor, Settings
from sessiond.actors import errors
from sessiond.actors.results import Count, Created, Ended, Updated
from sessiond.transport.methods import METHODS


class Crashing(SessionActor):
    """A session that cannot be touched."""

    def touch(self) -> Updated:
        raise ZeroDivisionError


@pytest.fixture(scope="module")
def service():
    limits = (Limit(name="trunk", by="metadata.trunk", concurrent=2),)
    with serving(Config(sessions=Settings(max_sessions=2000), limit=limits), session_class=Crashing) as served:
        yield served


@pytest.fixture(params=CLIENTS)
def client(service, request):
    with CLIENTS[request.param](service.port) as client:
        yield client


def create(client, **fields):
    return client.create_session(**({"type": "sip"} | fields)).id


def test_a_call_from_its_first_ring_to_its_end(client):
    """Every result is the object that the service made."""
    created = client.create_session(type="sip", gateway="gw", caller="+15550100", metadata={"codec": "opus", "n": 1})
    assert created == Created(created.id, 1, "initializing", True)
    assert client.update_session_state(created.id, "ringing") == Updated(2)
    assert client.update_session_state(created.id, "active", if_version=2) == Updated(3)
    assert client.update_session_state(created.id, "ringing") == Updated(3, stale=True)
    assert client.update_session(created.id, caller=None, callee="+15550101", idle_timeout=60.0) == Updated(4)
    assert client.update_session_metadata(created.id, {"codec": None, "n": 2.5, "ok": True}) == Updated(5)
    session = client.get_session(created.id)
    assert isinstance(session, Session)
    assert (session.state, session.caller, session.callee) == ("active", None, "+15550101")
    assert session.metadata == {"n": 2.5, "ok": True}
    ended = client.end_session(created.id, "busy", sip_code=486, ended_by="callee")
    assert isinstance(ended, Ended)
    session = client.get_session(created.id)
    assert (session.end_reason, session.sip_code, session.ended_by) == ("busy", 486, "callee")
    assert (session.version, session.ended_at) == (ended.version, ended.ended_at)
    assert client.end_session(created.id) == ended


def test_a_session_can_be_named_by_its_address(client):
    """The gateway's own id of the call will do."""
    address = {"gateway": "gw", "external_id": f"call-{create(client)}"}
    session_id = create(client, **address)
    assert client.get_session(address).id == session_id
    assert client.update_session_state(address, "active") == Updated(2)
    client.end_session(address)
    assert client.get_session(address).state == "ended"


def test_a_create_may_come_twice(client):
    """By the request_id that the caller gave."""
    fields = {"type": "sip", "request_id": f"request-{create(client)}"}
    first = client.create_session(**fields)
    assert client.create_session(**fields) == Created(first.id, 1, "initializing", False)


def test_lists_and_counts(client):
    """Whole sessions, or the fields that were asked for; a page, or all pages."""
    gateway = create(client)
    ids = [create(client, gateway=gateway) for _ in range(5)]
    client.update_session_state(ids[0], "active")
    page = client.list_sessions(gateway=gateway, limit=2)
    assert [session.id for session in page.sessions] == ids[:2]
    assert page.cursor is not None
    page = client.list_sessions(gateway=gateway, cursor=page.cursor, fields=["id", "state"])
    assert page.sessions == [{"id": id_, "state": "initializing"} for id_ in ids[2:]]
    assert page.cursor is None
    assert [session.id for session in client.sessions(gateway=gateway, limit=2)] == ids
    assert [session.id for session in client.sessions(gateway=gateway, limit=5, order="desc")] == ids[::-1]
    assert list(client.sessions(gateway="nobody")) == []
    assert client.count_sessions(gateway=gateway) == Count(5)
    assert client.count_sessions(gateway=gateway, by="state") == Count(5, {"active": 1, "initializing": 4})


def test_a_long_page_comes_through(client):
    """Longer than what is read at once, and than what a request may be."""
    gateway = create(client)
    metadata = {str(number): "x" * 4000 for number in range(4)}
    ids = [create(client, gateway=gateway, metadata=metadata) for _ in range(50)]
    first = client.list_sessions(gateway=gateway)
    assert sum(len(value) for session in first.sessions for value in session.metadata.values()) > 200_000
    assert [session.id for session in client.sessions(gateway=gateway)] == ids


def test_the_service_tells_about_itself(client):
    """Ping, information, and any method by its name."""
    assert client.ping() == "pong"
    assert client.server_info()["methods"] == sorted(METHODS)
    assert client.call("ping") == "pong"
    created = client.call("create_session", {"type": "sip"})
    assert client.call("get_session", created["id"])["version"] == 1


def raises(kind, call, *args, **options):
    with pytest.raises(errors.SessiondError) as caught:
        call(*args, **options)
    assert type(caught.value) is kind
    return caught.value.details


def test_every_error_is_raised_as_its_class(client):
    """With the details that the service gave."""
    session_id = create(client)
    assert raises(errors.InvalidRequest, client.create_session, type="sip", direction="up")["field"] == "direction"
    assert raises(errors.InvalidRequest, client.create_session, type="sip", colour="red")["field"] == "colour"
    assert raises(errors.UnknownMethod, client.call, "transfer_session", session_id)["method"] == "transfer_session"
    assert raises(errors.NotFound, client.get_session, "nobody")["id"] == "nobody"
    assert raises(errors.VersionConflict, client.end_session, session_id, if_version=9)["version"] == 1
    assert raises(errors.InvalidTransition, client.update_session_state, session_id, "held")["wanted"] == "held"
    address = {"gateway": "gw", "external_id": session_id}
    twins = [create(client, **address) for _ in range(2)]
    assert sorted(raises(errors.Conflict, client.get_session, address)["ids"]) == sorted(twins)
    raises(errors.Internal, client.touch_session, session_id)
    client.end_session(session_id)
    raises(errors.SessionEnded, client.update_session_state, session_id, "active")


def test_a_limit_is_raised_as_its_class(service, client):
    """As many sessions as may live."""
    left = 2000 - client.count_sessions().count
    ids = [create(client) for _ in range(left)]
    assert raises(errors.LimitExceeded, create, client)["maximum"] == 2000
    for id_ in ids:
        client.end_session(id_)


def test_a_configured_limit_is_raised_and_explained(client):
    """With the sessions behind it, page by page."""
    trunk = create(client)
    ids = [create(client, metadata={"trunk": trunk}) for _ in range(2)]
    details = raises(errors.LimitExceeded, create, client, metadata={"trunk": trunk})
    assert (details["limit"], details["value"], details["current"], details["maximum"]) == ("trunk", trunk, 2, 2)
    first = client.explain_limit("trunk", value=trunk, limit=1)
    assert (first.by, first.value, first.current, first.maximum, first.per_second) == (
        "metadata.trunk", trunk, 2, 2, None,
    )  # fmt: skip
    rest = client.explain_limit("trunk", value=trunk, cursor=first.cursor)
    assert [session.id for session in (*first.sessions, *rest.sessions)] == ids
    assert isinstance(first.sessions[0], Session)
    assert rest.cursor is None
    assert client.explain_limit("trunk", value=1).sessions == []
    assert raises(errors.InvalidRequest, client.explain_limit, "trunk")["field"] == "value"
    assert raises(errors.NotFound, client.explain_limit, "trank")["limit"] == "trank"


@pytest.mark.parametrize("kind", CLIENTS)
def test_twenty_threads_share_a_connection(service, kind):
    """Each gets its own answers, and the service sees one client."""
    together = threading.Barrier(20)

    def work(number):
        together.wait()
        for turn in range(25):
            session_id = create(client, caller=f"{number}-{turn}")
            assert client.update_session_state(session_id, "active").version == 2
            assert client.get_session(session_id).caller == f"{number}-{turn}"
            raises(errors.NotFound, client.get_session, f"{number}-{turn}")
            assert client.end_session(session_id).version == 3
        return number

    with proxying(service.port) as proxy, CLIENTS[kind](proxy.port) as client, ThreadPoolExecutor(20) as threads:
        assert list(threads.map(work, range(20))) == list(range(20))
        assert proxy.connections == 1


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_connects_when_it_is_used(service, kind):
    """And no earlier: gateways make clients before they fork."""
    with proxying(service.port) as proxy, CLIENTS[kind](proxy.port) as client:
        assert proxy.connections == 0
        client.ping()
        assert proxy.connections == 1


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_closed_client_is_of_no_use(service, kind):
    """Closing it again does no harm."""
    with CLIENTS[kind](service.port) as client:
        client.ping()
        client.close()
        raises(errors.Unavailable, client.ping)
        client.close()
