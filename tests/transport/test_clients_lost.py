"""Both clients when connections are lost, answers are late, and services are gone."""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from clients import CLIENTS, PATIENCE, SOON, await_loss, hurry, line_of, relax
from proxies import Cut, Proxy, cut, first, noticed, proxying, swallowing
from serving import serving

from sessiond import Client
from sessiond.actors.errors import Internal, RequestTimeout, Unavailable
from sessiond.transport.client_repeats import Reconnection
from sessiond.transport.codec import encode_result


@pytest.fixture(scope="module")
def service():
    with serving() as served:
        yield served


@pytest.fixture
def proxy(service):
    with proxying(service.port) as proxy:
        yield proxy


@pytest.fixture(params=CLIENTS)
def connect(request):
    return CLIENTS[request.param]


@pytest.fixture
def client(connect, proxy):
    with connect(proxy.port) as client:
        yield client


@pytest.fixture
def attempt_failed(monkeypatch):
    """Set when an attempt to connect has failed."""
    has_failed, failed = threading.Event(), Reconnection.failed

    def notice(self, now):
        failed(self, now)
        has_failed.set()

    monkeypatch.setattr(Reconnection, "failed", notice)
    return has_failed


def create(client, **fields):
    return client.create_session(**({"type": "sip"} | fields)).id


def unknown(call, *args, **options):
    """It fails, and nobody knows whether it was carried out."""
    with pytest.raises(Unavailable) as caught:
        call(*args, **options)
    assert caught.value.details == {"outcome": "unknown"}


# The connection is lost


def test_a_connection_that_was_lost_while_idle_costs_nothing(client, proxy):
    """Not even for a request that must not be repeated: it was not sent yet."""
    session_id = create(client)
    proxy.cut()
    await_loss(client)
    assert client.update_session_state(session_id, "ringing", if_version=1).version == 2
    assert proxy.connections == 2


@pytest.mark.parametrize(("where", "is_first"), [("to_service", True), ("to_client", False)])
def test_a_create_is_repeated_and_creates_one_session(client, proxy, where, is_first):
    """Whether the connection was lost before the service saw it or before its answer came."""
    setattr(proxy, where, first(cut))
    gateway = f"gw-{proxy.port}-{where}"
    created = client.create_session(type="sip", gateway=gateway)
    assert created.created is is_first
    assert [session.id for session in client.sessions(gateway=gateway)] == [created.id]


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("get_session", ()),
        ("touch_session", ()),
        ("end_session", ("busy",)),
        ("update_session_state", ("ringing",)),
        ("update_session_metadata", ({"codec": "opus"},)),
    ],
)
def test_what_is_safe_is_repeated(client, proxy, method, args):
    """The answer was lost, the repeat gets one."""
    session_id = create(client)
    proxy.to_client = first(cut)
    assert getattr(client, method)(session_id, *args).version in {1, 2}
    assert proxy.connections == 2


def test_lists_and_calls_by_name_are_repeated(client, proxy):
    """By the same rules."""
    for call in (client.list_sessions, client.count_sessions, client.ping, client.server_info):
        proxy.to_client = first(cut)
        assert call()
    proxy.to_client = first(cut)
    assert client.call("create_session", {"type": "sip"})["created"] is False


def test_half_an_answer_is_none(client, proxy):
    """What was read of it is forgotten with its connection."""
    session_id = create(client)

    def cut_in_half(data):
        raise Cut(data[: len(data) // 2])

    proxy.to_client = first(cut_in_half)
    assert client.get_session(session_id).id == session_id


@pytest.mark.parametrize(("where", "version"), [("to_service", 1), ("to_client", 2)])
def test_what_carries_a_version_is_not_repeated(client, proxy, where, version):
    """It may or may not have been carried out, and the error says so."""
    session_id = create(client)
    setattr(proxy, where, first(cut))
    unknown(client.update_session_state, session_id, "ringing", if_version=1)
    assert client.get_session(session_id).version == version


def test_an_update_is_not_repeated_after_a_later_one(client, proxy):
    """It would undo it. The later one, which was lost with it, is repeated."""
    session_id = create(client, state="active")
    is_sent = threading.Event()
    proxy.to_service = first(noticed(is_sent, swallowing), cut)
    with ThreadPoolExecutor(1) as threads:
        earlier = threads.submit(client.update_session_state, session_id, "held")
        assert is_sent.wait(PATIENCE)
        assert client.update_session_metadata(session_id, {"later": True}).version == 2
        unknown(earlier.result, PATIENCE)
    assert client.get_session(session_id).state == "active"


def test_many_requests_under_way_all_get_their_answers(client, proxy):
    """Each is repeated for itself."""
    ids = [create(client) for _ in range(20)]
    proxy.to_client = first(cut)
    with ThreadPoolExecutor(20) as threads:
        assert [session.id for session in threads.map(client.get_session, ids)] == ids


def test_a_service_that_always_closes_is_given_up_in_time(client, proxy):
    """It takes connections and drops them, as one does that has enough of them."""
    client.ping()
    hurry(client)
    proxy.to_service = cut
    with pytest.raises((Unavailable, RequestTimeout)):
        client.ping()
    assert proxy.connections <= 4


def test_what_failed_as_internal_is_not_repeated(client, proxy):
    """The request that made a service crash would make it crash again."""
    sent = []

    def answer(data):
        sent.append(data)
        return msgspec.msgpack.encode([1, msgspec.msgpack.decode(data)[1], [0, "x", {"code": "internal"}], None])

    proxy.to_client = answer
    with pytest.raises(Internal):
        client.ping()
    assert len(sent) == 1


# The stream is malformed


@pytest.mark.parametrize("garbage", [b"\xc1", b"\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_malformed_stream_fails_what_was_under_way(client, proxy, garbage):
    """The connection is closed; the next request gets a new one."""
    session_id = create(client)
    proxy.to_client = first(lambda _: garbage)
    unknown(client.update_session, session_id, caller="x", if_version=1)
    assert client.get_session(session_id).caller == "x"
    assert proxy.connections == 2


def test_what_the_service_asks_is_ignored(client, proxy):
    """Requests and notifications, before, between and after answers."""
    asked = msgspec.msgpack.encode([0, 1, "hello", []]) + msgspec.msgpack.encode([2, "event", [1]])
    proxy.to_client = lambda data: asked + data + asked
    assert client.ping() == "pong"
    assert client.ping() == "pong"


def test_an_answer_to_nothing_is_ignored(client, proxy):
    """Nobody waits for it."""
    proxy.to_client = lambda data: encode_result(4_000_000_000, "x") + data
    assert client.ping() == "pong"


# Answers are late


def test_a_request_without_an_answer_times_out(client, proxy):
    """Which leaves the connection as it is, and the late answer to nobody, even if it comes in pieces."""
    late = []
    client.ping()
    hurry(client)
    proxy.to_client = first(lambda data: (late.append(data), data[:2])[1], then=lambda data: late.pop()[2:] + data)
    with pytest.raises(RequestTimeout, match="server_info"):
        client.server_info()
    relax(client)
    assert client.ping() == "pong"
    assert proxy.connections == 1


def test_a_service_that_hangs(client, service):
    """Requests fail, and the first one after that gets its answer, and no other's."""
    session_id = create(client)
    hurry(client)
    with service.hung(), ThreadPoolExecutor(5) as threads:
        for waiting in [threads.submit(client.touch_session, session_id) for _ in range(20)]:
            with pytest.raises((RequestTimeout, Unavailable)):
                waiting.result(PATIENCE)
    relax(client)
    line_of(client)._breaker.lost()  # else it might not be asked yet
    assert client.get_session(session_id).id == session_id


# The service is gone


@pytest.fixture
def nobody():
    """A port on which connections are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_service_that_cannot_be_reached(connect, nobody):
    """Is told as such, and once it was away for as long as a request waits, at once."""
    with connect(nobody, timeout=SOON) as client:
        for _ in range(20):
            with pytest.raises(Unavailable, match=f"127.0.0.1:{nobody} cannot be reached") as caught:
                client.update_session_state("a", "held", if_version=1)
            assert caught.value.details == {}


def test_an_attempt_that_is_due_is_made_and_not_waited_for_any_longer(connect, nobody):
    """Once a service was away for that long, the request that tries again fails with its attempt."""
    with connect(nobody, timeout=SOON) as client:
        with pytest.raises(Unavailable):
            client.ping()
        line = line_of(client)
        line._timeout = PATIENCE
        line._reconnection._away_since -= SOON
        made = False
        while not made:  # an attempt that was failing just now makes the next one due later, and is none of ours
            attempts, line._reconnection._next_at = line._reconnection._attempts, 0.0
            with pytest.raises(Unavailable):
                client.ping()
            made = line._reconnection._attempts == attempts + 1


def test_no_request_waits_for_an_attempt_of_another_one(service):
    """If the service has been away for long; the attempt itself may take its time."""
    with Client(port=service.port, timeout=SOON) as client:
        client._line._reconnection.begun(0.0)
        with pytest.raises(Unavailable):
            client.ping()


def test_waiting_for_another_ones_attempt_has_an_end(service):
    """When the request's own time is over."""
    with Client(port=service.port, timeout=SOON) as client, client._line._connecting, pytest.raises(Unavailable):
        client.ping()


def test_a_client_that_is_closed_while_it_connects(service, monkeypatch):
    """Does not come back to life."""
    client, create_connection = Client(port=service.port), socket.create_connection

    def close_meanwhile(*args):
        client.close()
        return create_connection(*args)

    monkeypatch.setattr(socket, "create_connection", close_meanwhile)
    with pytest.raises(Unavailable, match="closed"):
        client.ping()
    assert client._line._link._socket.fileno() == -1


def test_a_host_that_does_not_exist(connect):
    """Is told as such."""
    with connect(1, timeout=SOON, host="x" * 64) as client, pytest.raises(Unavailable, match="cannot be reached"):
        client.ping()


def test_a_client_waits_for_a_service_that_comes_back(connect, service, attempt_failed):
    """Requests that come while it is away are carried out when it is there."""
    proxy = Proxy(service.port)
    try:
        with connect(proxy.port, timeout=PATIENCE) as client, ThreadPoolExecutor(5) as threads:
            waiting = [threads.submit(client.ping) for _ in range(5)]
            assert attempt_failed.wait(PATIENCE)
            proxy.open()
            assert [each.result(PATIENCE) for each in waiting] == ["pong"] * 5
            assert proxy.connections == 1
    finally:
        proxy.close()


@pytest.mark.parametrize("is_reached", [True, False])
def test_closing_fails_what_is_under_way(connect, service, nobody, is_reached, attempt_failed):
    """Whether it waits for an answer or for a connection."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(proxying(service.port))
        sent = threading.Event()
        proxy.to_service = noticed(sent, swallowing)
        client = stack.enter_context(connect(proxy.port if is_reached else nobody, timeout=PATIENCE))
        threads = stack.enter_context(ThreadPoolExecutor(2))
        waiting = [threads.submit(client.ping) for _ in range(2)]
        assert (sent if is_reached else attempt_failed).wait(PATIENCE)
        client.close()
        for each in waiting:
            with pytest.raises(Unavailable, match="closed"):
                each.result(PATIENCE)
