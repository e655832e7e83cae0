"""When requests fail at once because the service takes them and does not answer."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import msgpack
import pytest
from clients import CLIENTS, PATIENCE, SOON, hurry, line_of, relax, set_timeout
from hypothesis import given
from hypothesis import strategies as st
from proxies import noticed, proxying, swallowing
from serving import serving

from sessiond import Client
from sessiond.actors.errors import RequestTimeout, Unavailable
from sessiond.transport.client_breaker import BREAK_AFTER, FIRST_PAUSE, MAX_PAUSE, Breaker
from sessiond.transport.client_line import PROBE_SHARE

# The rule


def breaker(draw=1.0):
    return Breaker(5.0, lambda: draw)


def opened(draw=1.0, now=100.0):
    state = breaker(draw)
    for _ in range(BREAK_AFTER):
        state.timed_out(state.token, now)
    assert state.is_open
    return state


STEPS = st.lists(st.tuples(st.sampled_from(["ask", "hear", "time out"]), st.integers(0, 5)), max_size=60)


@given(STEPS)
def test_it_is_open_after_so_many_timeouts_with_nothing_heard(steps):
    """Of requests that were sent after the last thing that was heard: the others say nothing."""
    state, asked, in_a_row, has_opened = breaker(), [], 0, False
    for step, index in steps:
        if step == "ask":
            asked.append(state.token)
        elif step == "hear":
            state.hear()
            asked, in_a_row, has_opened = [], 0, False
        elif index < len(asked):
            state.timed_out(asked.pop(index), 100.0)
            in_a_row += 1
        has_opened = has_opened or in_a_row >= BREAK_AFTER
        assert state.is_open is has_opened
        assert state.is_calm is (in_a_row == 0)


@given(STEPS)
def test_what_was_sent_before_something_was_heard_says_nothing(steps):
    """However late it times out."""
    state = breaker()
    asked = [state.token for _ in range(10)]
    state.hear()
    for token in asked:
        state.timed_out(token, 100.0)
    assert state.is_calm


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=50), st.floats(0, 1))
def test_one_probe_at_a_time_and_a_pause_after_each(waits, draw):
    """While nothing is heard, whatever time passes and whether or not anybody tells that a probe timed out."""
    state, now, due = opened(draw), 100.0, 100.0 + FIRST_PAUSE * (0.5 + 0.5 * draw)
    for wait, is_told in waits:
        now += wait
        assert state.admits_probe(now) is (now >= due)
        assert not state.admits_probe(now)
        if now >= due and is_told:
            state.timed_out(state.token, now)
            due = state._probe_at
            assert FIRST_PAUSE / 2 <= due - now <= MAX_PAUSE
        else:
            due = max(due, state._probe_at)
    assert state.is_open


def test_pauses_become_longer():
    """Doubled from the first to the last, and from the first again once something was heard."""
    state, now, pauses = opened(), 100.0, []
    for _ in range(7):
        pauses.append(state._probe_at - now)
        now = state._probe_at
        assert state.admits_probe(now)
        state.timed_out(state.token, now)
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]
    state.hear()
    for _ in range(BREAK_AFTER):
        state.timed_out(state.token, now)
    assert state._probe_at == now + FIRST_PAUSE


def test_what_was_under_way_when_it_opened_makes_no_pause_longer():
    """Fifty threads that time out together have seen one outage."""
    state = breaker()
    for _ in range(50):
        state.timed_out(0, 100.0)
    assert state._probe_at == 100.0 + FIRST_PAUSE


def test_a_lost_connection_makes_a_probe_due():
    """The next one may lead to a service that was restarted because it hung."""
    state = opened()
    assert not state.admits_probe(100.0)
    state.lost()
    assert state.admits_probe(100.0)
    assert not state.admits_probe(100.0)


# Both clients


@pytest.fixture(scope="module")
def service():
    with serving() as served:
        yield served


@pytest.fixture
def proxy(service):
    with proxying(service.port) as proxy:
        yield proxy


@pytest.fixture(params=CLIENTS)
def client(request, proxy):
    with CLIENTS[request.param](proxy.port) as client:
        client.ping()
        yield client


def times_out(client):
    with pytest.raises(RequestTimeout):
        client.ping()


def fails_at_once(client):
    with pytest.raises(Unavailable) as caught:
        client.ping()
    assert caught.value.details == {"circuit": "open"}


def make_probe_due(client):
    line_of(client)._breaker._probe_at = 0.0


def test_a_service_that_hangs_costs_two_timeouts(client, service):
    """Then requests fail at once, even if they had all the time in the world, until it is back."""
    hurry(client)
    with service.hung():
        for _ in range(BREAK_AFTER):
            times_out(client)
        relax(client)
        for _ in range(100):
            fails_at_once(client)
    make_probe_due(client)
    assert client.ping() == "pong"
    assert line_of(client)._breaker.is_calm


def test_many_at_once_cost_no_more(client, proxy):
    """Twenty threads that wait for a service wait together, and those that come later do not."""
    hurry(client)
    proxy.to_service = swallowing
    with ThreadPoolExecutor(20) as threads:
        for waiting in [threads.submit(client.ping) for _ in range(20)]:
            with pytest.raises((RequestTimeout, Unavailable)):
                waiting.result(PATIENCE)
    fails_at_once(client)


def test_a_probe_that_fails_keeps_it_open(client, proxy):
    """And makes the pause longer."""
    hurry(client)
    proxy.to_service = swallowing
    for _ in range(BREAK_AFTER):
        times_out(client)
    make_probe_due(client)
    with pytest.raises((RequestTimeout, Unavailable)):
        client.ping()
    relax(client)
    fails_at_once(client)
    assert line_of(client)._breaker._pauses == 2


def without(method):
    """A service that never gets to answer ``method``, but everything else."""

    def keep(data):
        unpacker = msgpack.Unpacker()
        unpacker.feed(data)
        return b"".join(msgpack.packb(message) for message in unpacker if message[2] != method)

    return keep


def test_a_request_that_is_slow_for_its_own_reason_does_not_open_it(client, proxy):
    """The ping that goes ahead of whatever follows a timeout shows that the service is well."""
    hurry(client)
    proxy.to_service = without("server_info")
    for _ in range(3 * BREAK_AFTER):
        with pytest.raises(RequestTimeout):
            client.server_info()
    relax(client)
    assert client.ping() == "pong"


def test_answers_to_others_keep_it_closed(client, proxy):
    """Slow requests beside quick ones are slow for their own reason."""
    set_timeout(client, 5 * SOON)
    proxy.to_service = without("server_info")
    with ThreadPoolExecutor(4) as threads:
        slow = [threads.submit(client.server_info) for _ in range(3)]
        while not all(each.done() for each in slow):
            assert client.ping() == "pong"
    assert line_of(client)._breaker.is_calm


def test_a_service_that_is_restarted_because_it_hung(client, proxy):
    """The loss of the connection shows that it hangs no longer."""
    hurry(client)
    proxy.to_service = swallowing
    for _ in range(BREAK_AFTER):
        times_out(client)
    relax(client)
    is_closed = line_of(client)._link.closed if not isinstance(client, Client) else None
    proxy.cut()
    proxy.to_service = lambda data: data
    if is_closed is None:
        make_probe_due(client)  # this client hears of nothing while nobody waits
    else:
        client._run(is_closed.wait())
    assert client.ping() == "pong"
    assert proxy.connections == 2


# What a worker waits for


def test_a_worker_waits_for_a_probe_for_a_part_of_its_time(proxy, monkeypatch):
    """It has been told before that the service hangs."""
    with Client(port=proxy.port, timeout=PATIENCE) as client:
        client.ping()
        hurry(client)
        is_probed = threading.Event()
        proxy.to_service = noticed(is_probed, swallowing)
        for _ in range(BREAK_AFTER):
            times_out(client)
        make_probe_due(client)
        is_probed.clear()
        fails_at_once(client)
        assert is_probed.wait(PATIENCE)


def test_a_hung_service_that_goes_away_is_told_as_away(service):
    """The request was never sent, and the error does not say that it might have been."""
    with proxying(service.port) as proxy, Client(port=proxy.port) as client:
        client.ping()
        hurry(client)
        proxy.to_service = swallowing
        for _ in range(BREAK_AFTER):
            times_out(client)
        proxy.close()
        make_probe_due(client)
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            client.update_session_state("a", "held", if_version=1)
        assert caught.value.details == {}


def test_a_host_that_takes_no_connections_costs_a_part_once_it_has_cost_a_whole(monkeypatch):
    """Nothing comes back from a host that is off: each attempt to connect lasts as long as it may."""
    given = []

    def create_connection(address, timeout):
        given.append(timeout)
        client._line._reconnection._away_since -= PATIENCE  # so long it took
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", create_connection)
    with Client(timeout=PATIENCE) as client:
        for _ in range(2):
            with pytest.raises(Unavailable):
                client.ping()
            client._line._reconnection._next_at = 0.0
    assert PATIENCE * PROBE_SHARE < given[0] <= PATIENCE
    assert given[1] == PATIENCE * PROBE_SHARE
