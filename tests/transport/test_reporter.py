"""Reports of a gateway's worker, whatever becomes of the service meanwhile."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from clients import PATIENCE, SOON, hurry, relax
from hypothesis import given, settings
from hypothesis import strategies as st
from proxies import cut, first, noticed, passing, proxying, swallowing
from serving import serving

from sessiond import Client, Config, Reporter, Settings
from sessiond.transport import reporter as reporter_module

STATES = ["initializing", "ringing", "active", "held"]


@pytest.fixture(scope="module")
def service():
    with serving(Config(sessions=Settings(max_sessions=100_000))) as served:
        yield served


@pytest.fixture
def proxy(service):
    with proxying(service.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    with Client(port=proxy.port, timeout=PATIENCE) as client:
        client.ping()
        yield client


def address(name, gateway="gw"):
    return {"gateway": gateway, "external_id": name}


def go_away(client, proxy):
    """From now on nothing comes back from the service, and the circuit is open."""
    hurry(client)
    proxy.to_service = swallowing
    for _ in range(2):
        with pytest.raises(TimeoutError):
            client.ping()
    relax(client)


def come_back(client, proxy):
    """The service answers, and the client is about to look."""
    proxy.to_service = proxy.to_client = passing
    relax(client)
    client._line._breaker.lost()
    client._line._reconnection._next_at = 0.0


def test_a_call_from_its_first_ring_to_its_end(client):
    """What was reported is so when the report returns."""
    reporter, call = Reporter(client), address("whole")
    assert reporter.create_session(type="sip", caller="+15550100", **call) is None
    assert client.get_session(call).state == "initializing"
    reporter.update_session_state(call, "ringing")
    reporter.update_session_state(call, "active")
    reporter.update_session(call, callee="+15550101")
    reporter.update_session_metadata(call, {"codec": "opus"})
    reporter.touch_session(call)
    session = client.get_session(call)
    assert (session.state, session.callee, session.metadata) == ("active", "+15550101", {"codec": "opus"})
    reporter.end_session(call, "busy", sip_code=486)
    assert client.get_session(call).sip_code == 486
    assert (reporter.queued, reporter.dropped, reporter.refused) == (0, 0, 0)


def test_what_happens_while_the_service_is_away_comes_later_with_its_times(client, proxy):
    """As if it had been there."""
    now = time.time() - 150
    reporter, call = Reporter(client, clock=lambda: now), address("late")
    reporter.create_session(type="sip", **call)
    go_away(client, proxy)
    for state in ("ringing", "active"):
        now += 10
        reporter.update_session_state(call, state)
    now += 100
    reporter.end_session(call)
    reporter.create_session(type="sip", at=now + 5, **address("explicit"))
    assert reporter.queued == 4
    come_back(client, proxy)
    assert reporter.flush()
    session = client.get_session(call)
    begin = now - 120
    assert (session.created_at, session.ringing_at, session.answered_at) == (begin, begin + 10, begin + 20)
    assert (session.ended_at, session.end_reason) == (now, "normal")
    assert client.get_session(address("explicit")).created_at == now + 5
    assert (reporter.queued, reporter.dropped, reporter.refused) == (0, 0, 0)


def test_the_next_report_sends_what_is_queued_before_itself(client, proxy):
    """And together, not one by one."""
    reporter = Reporter(client)
    go_away(client, proxy)
    for number in range(150):
        reporter.create_session(type="sip", **address(f"queued-{number}"))
    come_back(client, proxy)
    reads = []
    proxy.to_service = lambda data: (reads.append(data), data)[1]
    reporter.create_session(type="sip", **address("the next"))
    assert reporter.queued == 0
    assert len(reads) <= 10
    names = [session.external_id for session in client.sessions(gateway="gw", order="desc", limit=151)]
    assert names[:151] == ["the next", *(f"queued-{number}" for number in reversed(range(150)))]


def test_a_report_sends_a_bounded_part_of_a_long_queue(client, proxy, monkeypatch):
    """It goes behind the rest; ``flush`` sends everything."""
    monkeypatch.setattr(reporter_module, "AT_ONCE", 64)
    reporter = Reporter(client)
    go_away(client, proxy)
    for number in range(200):
        reporter.create_session(type="sip", **address(f"many-{number}"))
    come_back(client, proxy)
    reporter.create_session(type="sip", **address("many-200"))
    assert reporter.queued == 200 - 64 + 1
    assert reporter.flush()
    assert client.get_session(address("many-200")).version == 1


def test_a_service_that_hangs_costs_two_timeouts(client, proxy):
    """After these a report costs nothing, however much time it had."""
    reporter, sent = Reporter(client), []
    hurry(client)
    proxy.to_service = lambda data: (sent.append(data), b"")[1]
    for number in range(2):
        reporter.create_session(type="sip", **address(f"hung-{number}"))
    relax(client)
    for number in range(2, 100):
        reporter.create_session(type="sip", **address(f"hung-{number}"))
    assert reporter.queued == 100
    assert len([data for data in sent if b"create_session" in data]) == 2  # on a slow machine it has been probed since
    come_back(client, proxy)
    assert reporter.flush()
    assert client.get_session(address("hung-99")).version == 1


def test_reports_to_a_service_that_is_gone(service):
    """Refused connections raise nothing either."""
    with proxying(service.port) as proxy:
        port = proxy.port
    with Client(port=port, timeout=SOON) as client:
        reporter = Reporter(client)
        for number in range(20):
            reporter.touch_session(address(f"gone-{number}"))
        assert reporter.queued == 20
        assert not reporter.flush()


def test_a_full_queue_drops_what_comes_then(client, proxy):
    """What it holds it keeps."""
    reporter = Reporter(client, capacity=3)
    go_away(client, proxy)
    for number in range(5):
        reporter.create_session(type="sip", **address(f"full-{number}"))
    assert (reporter.queued, reporter.dropped) == (3, 2)
    come_back(client, proxy)
    assert reporter.flush()
    assert client.count_sessions(gateway="gw", external_id="full-2").count == 1
    assert client.count_sessions(gateway="gw", external_id="full-3").count == 0


def test_what_is_not_to_wait_is_dropped(client, proxy):
    """Also what was under way when the service went away."""
    reporter = Reporter(client, when_away="drop")
    hurry(client)
    proxy.to_service = swallowing
    for number in range(5):
        reporter.create_session(type="sip", **address(f"dropped-{number}"))
    assert (reporter.queued, reporter.dropped) == (0, 5)
    come_back(client, proxy)
    reporter.create_session(type="sip", **address("dropped-5"))
    assert client.get_session(address("dropped-5")).version == 1


def test_touches_do_not_fill_the_queue(client, proxy):
    """A call of which something else will be told is heard of anyway."""
    reporter = Reporter(client)
    go_away(client, proxy)
    for _ in range(100):
        reporter.touch_session(address("touched"))
    assert (reporter.queued, reporter.dropped) == (1, 0)


def test_what_the_service_refuses_is_logged_and_counted(client, caplog):
    """And raised by nothing, be it refused by the service or before."""
    reporter = Reporter(client)
    with caplog.at_level(logging.WARNING, "sessiond.reporter"):
        reporter.update_session_state(address("nobody"), "active")
        reporter.update_session_metadata(address("nobody"), {"key": object()})
    assert reporter.refused == 2
    assert [record.message.split(":")[0] for record in caplog.records] == ["The service refused a report"] * 2


def test_what_is_refused_in_the_queue_holds_up_nothing(client, proxy):
    """Each report is answered for itself."""
    reporter = Reporter(client)
    go_away(client, proxy)
    reporter.update_session_state(address("no such call"), "active")
    reporter.create_session(type="sip", metadata={"huge": "x" * 300_000}, **address("too long"))
    reporter.create_session(type="sip", **address("fine"))
    come_back(client, proxy)
    assert reporter.flush()
    assert reporter.refused == 2
    assert client.get_session(address("fine")).version == 1


def test_a_service_that_was_restarted_meanwhile():
    """What it has forgotten is refused, what is new is taken."""
    with serving() as one, proxying(one.port) as proxy, Client(port=proxy.port, timeout=PATIENCE) as client:
        reporter = Reporter(client)
        reporter.create_session(type="sip", **address("before"))
        go_away(client, proxy)
        reporter.update_session_state(address("before"), "active")
        reporter.create_session(type="sip", **address("during"))
        reporter.update_session_state(address("during"), "active")
        with serving() as other:
            proxy.upstream = other.port
            proxy.cut()
            come_back(client, proxy)
            assert reporter.flush()
            assert [(each.external_id, each.state) for each in client.sessions()] == [("during", "active")]
            assert (reporter.refused, reporter.dropped) == (1, 0)


def test_a_second_thread_does_not_overtake_the_first(client, proxy):
    """What it reports about the same call is sent after that, by the first one."""
    reporter, call = Reporter(client), address("shared")
    reporter.create_session(type="sip", **call)
    is_sent, may_go = threading.Event(), threading.Event()
    proxy.to_service = first(noticed(is_sent, lambda data: (may_go.wait(PATIENCE), data)[1]))
    with ThreadPoolExecutor(1) as threads:
        earlier = threads.submit(reporter.update_session_state, call, "active")
        assert is_sent.wait(PATIENCE)
        reporter.update_session_state(call, "held")
        assert reporter.queued == 1
        may_go.set()
        earlier.result(PATIENCE)
    assert reporter.queued == 0
    assert client.get_session(call).state == "held"


def test_many_threads_and_an_outage(client, proxy):
    """Every thread's calls are what it reported last."""
    reporter = Reporter(client)
    begin = threading.Barrier(9)

    def work(number):
        begin.wait()
        for turn in range(20):
            call = address(f"{number}-{turn}", "threads")
            reporter.create_session(type="sip", **call)
            reporter.update_session_state(call, "active")
            reporter.update_session_state(call, "held")

    with ThreadPoolExecutor(8) as threads:
        working = [threads.submit(work, number) for number in range(8)]
        begin.wait()
        proxy.cut()
        for each in working:
            each.result(PATIENCE)
    come_back(client, proxy)
    assert reporter.flush()
    assert client.count_sessions(gateway="threads", by="state").groups == {"held": 160}
    assert (reporter.refused, reporter.dropped) == (0, 0)


# Whatever happens

numbers = itertools.count()

EVENTS = st.tuples(st.just("event"), st.integers(0, 3), st.sampled_from(["state", "metadata", "touch", "end"]))
MISHAPS = st.tuples(
    st.sampled_from(["to_service", "to_client"]), st.sampled_from([cut, swallowing, passing]), st.booleans()
)


@given(st.data())
@settings(max_examples=150)
def test_every_call_becomes_what_was_reported_of_it(service, data):
    """However often connections are lost or answers missing: each call once, each report once, in order, in time."""
    gateway, now = f"any-{next(numbers)}", time.time() - 100
    with proxying(service.port) as proxy, Client(port=proxy.port, timeout=SOON / 5) as client:
        reporter, model = Reporter(client, clock=lambda: now), {}
        for step in data.draw(st.lists(EVENTS | MISHAPS, max_size=25)):
            now += 1
            if step[0] != "event":
                where, what, is_once = step
                setattr(proxy, where, first(what) if is_once else what)
                continue
            name, kind = f"{step[1]}", step[2]
            call = address(name, gateway)
            if name not in model:
                model[name] = {"created_at": now, "state": "initializing", "metadata": {}, "ended_at": None}
                reporter.create_session(type="sip", **call)
            elif model[name]["ended_at"] is not None:
                continue
            elif kind == "state":
                follower = {"initializing": "ringing", "ringing": "active", "active": "held", "held": "active"}
                model[name]["state"] = follower[model[name]["state"]]
                reporter.update_session_state(call, model[name]["state"])
            elif kind == "metadata":
                model[name]["metadata"] = {"n": now}
                reporter.update_session_metadata(call, {"n": now})
            elif kind == "touch":
                reporter.touch_session(call)
            else:
                model[name] |= {"state": "ended", "ended_at": now}
                reporter.end_session(call)
        come_back(client, proxy)
        while not reporter.flush():  # a connection that was found lost just now makes the next attempt due later
            come_back(client, proxy)
        fields = ["external_id", "created_at", "state", "metadata", "ended_at"]
        found = client.list_sessions(gateway=gateway, ended="any", fields=fields).sessions
        assert {each.pop("external_id"): each for each in found} == model
        assert len(found) == len(model)
        assert (reporter.refused, reporter.dropped) == (0, 0)
