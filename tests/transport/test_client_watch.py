"""Both clients watch: what there is, what happens, and on after whatever happens to the connection."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from clients import CLIENTS, PATIENCE, SOON
from proxies import Cut, first, proxying, swallowing
from scripted import Refusal, scripted
from serving import serving

from sessiond import Client, Config, Mirror, WatchSettings
from sessiond.actors.errors import InvalidRequest, LimitExceeded, Unavailable
from sessiond.actors.events import GatewayChanged, SnapshotBegins, WatchReady
from sessiond.transport import async_watch, client_watch
from sessiond.transport.client_repeats import Reconnection


@pytest.fixture(scope="module")
def served():
    with serving(Config(watch=WatchSettings(history=5))) as running:
        yield running


@pytest.fixture
def proxy(served):
    with proxying(served.port) as proxy:
        yield proxy


@pytest.fixture(params=CLIENTS)
def open_client(request):
    return CLIENTS[request.param]


@pytest.fixture
def client(open_client, proxy):
    with open_client(proxy.port, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def gateway(served):
    """A client of its own, by which sessions change."""
    with Client(port=served.port) as client:
        yield client


def take(watch, count):
    return [next(watch) for _ in range(count)]


def ready(watch):
    """The events up to the end of the snapshot."""
    events = []
    while not events or not isinstance(events[-1], WatchReady):
        events.append(next(watch))
    return events


def test_a_watch_gives_what_there_is_and_then_what_happens(client, gateway, request):
    name = request.node.name
    there = gateway.create_session(type="sip", gateway=name).id
    gateway.create_session(type="sip", gateway="another")
    with client.watch(gateway=name) as watch:
        begins, shown, complete = ready(watch)
        assert begins == SnapshotBegins(gap=False)
        assert (shown.session.id, shown.matches, shown.snapshot) == (there, True, True)
        assert shown.session == gateway.get_session(there)
        gateway.update_session_state(there, "ringing")
        gateway.end_session(there, "busy")
        ringing, ended = take(watch, 2)
        assert (ringing.session.state, ringing.matches, ringing.snapshot) == ("ringing", True, False)
        assert (ended.session.end_reason, ended.matches) == ("busy", False)
        assert complete.number < ringing.number < ended.number
    assert list(watch) == []


def test_a_watch_goes_on_after_its_connection_was_lost(client, gateway, proxy, request):
    name = request.node.name
    with client.watch(gateway=name) as watch:
        assert len(ready(watch)) == 2
        for _ in range(5):
            proxy.cut()
            created = gateway.create_session(type="sip", gateway=name).id
            (event,) = take(watch, 1)
            assert (event.session.id, event.snapshot) == (created, False)


def test_what_was_missed_for_good_is_a_gap_and_a_snapshot(client, gateway, proxy, request):
    name = request.node.name
    mirror = Mirror()
    ids = [gateway.create_session(type="sip", gateway=name).id for _ in range(3)]
    with client.watch(gateway=name) as watch:
        for event in ready(watch):
            mirror.apply(event)
        assert sorted(mirror.sessions) == sorted(ids)
        proxy.cut()
        for number in range(10):
            gateway.update_session_metadata(ids[0], {"number": number})
        gateway.end_session(ids[1])
        events = ready(watch)
        assert events[0] == SnapshotBegins(gap=True)
        for event in events:
            mirror.apply(event)
        assert sorted(mirror.sessions) == sorted([ids[0], ids[2]])
        assert mirror.sessions[ids[0]].metadata == {"number": 9}


def test_a_snapshot_that_was_cut_off_begins_anew(client, gateway, proxy, request):
    name = request.node.name
    ids = {gateway.create_session(type="sip", gateway=name).id for _ in range(3)}

    cuts = [700]

    def cut_in_the_middle(data):
        if b"session_changed" in data and cuts:
            raise Cut(data[: data.index(b"session_changed") + cuts.pop()])
        return data

    proxy.to_client = cut_in_the_middle
    with client.watch(gateway=name) as watch:
        events = ready(watch)
        begins = [place for place, event in enumerate(events) if event == SnapshotBegins(gap=False)]
        assert len(begins) == 2
        assert {event.session.id for event in events[begins[1] + 1 : -1]} == ids


def test_a_service_that_was_restarted_is_a_gap(open_client):
    with serving() as service, proxying(service.port) as proxy, open_client(proxy.port, timeout=PATIENCE) as client:
        with Client(port=service.port) as gateway:
            gateway.create_session(type="sip")
        with client.watch() as watch:
            assert len(ready(watch)) == 3
            with serving() as another:
                proxy.upstream = another.port
                proxy.cut()
                begins, complete = ready(watch)
                assert begins == SnapshotBegins(gap=True)
                assert isinstance(complete, WatchReady)


def test_a_watch_that_is_dropped_goes_on_from_where_it_was(open_client):
    asked = []
    answers = iter(range(1, 10))

    def watch(query):
        asked.append(query)
        return {"watch": next(answers), "number": 7, "instance": "i", "gap": False}

    with scripted(watch=watch) as peer, open_client(peer.port) as client, client.watch(type="sip") as followed:
        assert next(followed) == SnapshotBegins(gap=False)
        peer.notify("watch_dropped", {"watch": 1, "number": None, "reason": "stalled"})
        assert next(followed) == SnapshotBegins(gap=False)
        peer.notify("watch_ready", {"watch": 2, "number": 7})
        assert next(followed) == WatchReady(2, 7)
        peer.notify("gateway_changed", {"watch": 2, "number": 9, "gateway": "g", "epoch": "e", "state": "lost"})
        peer.notify("watch_dropped", {"watch": 2, "number": 11, "reason": "behind"})
        peer.notify("of_another_version", 1)
        assert next(followed) == GatewayChanged(2, 9, "g", "e", "lost")
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(next, followed)
            while not following.done():  # until the answer to its third request has come
                peer.notify(
                    "gateway_changed", {"watch": 2, "number": 12, "gateway": "x", "epoch": "e", "state": "lost"}
                )
                peer.notify(
                    "gateway_changed", {"watch": 3, "number": 12, "gateway": "g", "epoch": "e", "state": "live"}
                )
                wait([following], SOON)
            assert following.result() == GatewayChanged(3, 12, "g", "e", "live")
    assert asked == [{"type": "sip"}, {"type": "sip"}, {"type": "sip", "from": 11, "instance": "i"}]


def test_wrong_filters_are_refused(client):
    with pytest.raises(InvalidRequest) as caught, client.watch(state="ended") as watch:
        next(watch)
    assert caught.value.details == {"field": "state"}
    with pytest.raises(InvalidRequest):
        client.watch(caller=object())


def test_a_service_that_is_away_at_first_cannot_be_watched(open_client):
    with proxying(1) as gone:
        gone.close()
        with open_client(gone.port, timeout=0.01) as client, client.watch() as watch, pytest.raises(Unavailable):
            next(watch)


def test_a_service_that_refuses_is_asked_again_only_if_that_may_help(open_client):
    refusals = iter(["internal", "limit_exceeded"])

    def watch(_):
        code = next(refusals, None)
        if code is not None:
            raise Refusal(code)
        return {"watch": 1, "number": 7, "instance": "i", "gap": False}

    with scripted(watch=watch) as peer, open_client(peer.port) as client:
        with client.watch() as followed, pytest.raises(Exception, match="internal"):
            next(followed)
        with client.watch() as followed, pytest.raises(LimitExceeded):
            next(followed)
        with client.watch() as followed:
            assert next(followed) == SnapshotBegins(gap=False)


def test_a_silent_service_is_asked_whether_it_is_there(open_client, gateway, proxy, served, monkeypatch, request):
    name = request.node.name
    for module in (client_watch, async_watch):
        monkeypatch.setattr(module, "HEARTBEAT", 0.01)
    lost, failed = threading.Event(), Reconnection.failed
    monkeypatch.setattr(Reconnection, "failed", lambda self, now: (failed(self, now), lost.set()))
    with open_client(proxy.port, timeout=PATIENCE) as client, client.watch(gateway=name) as watch:
        ready(watch)
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(next, watch)
            (watch._watch if hasattr(watch, "_watch") else watch)._timeout = 0.05
            proxy.to_client = swallowing
            assert lost.wait(PATIENCE)
            (watch._watch if hasattr(watch, "_watch") else watch)._timeout = PATIENCE
            proxy.to_client = first()
            created = gateway.create_session(type="sip", gateway=name).id
            assert following.result(PATIENCE).session.id == created


def test_closing_a_watch_ends_the_wait_of_another_thread(client):
    watch = client.watch(gateway="nobody")
    ready(watch)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(list, watch)
        watch.close()
        assert following.result(PATIENCE) == []


def test_closing_the_client_ends_its_watches(open_client, served):
    with open_client(served.port) as client, ThreadPoolExecutor(1) as pool:
        watch = client.watch(gateway="nobody")
        ready(watch)
        following = pool.submit(list, watch)
        client.close()
        assert following.result(PATIENCE) == []
        with pytest.raises(Unavailable):
            client.watch()


def test_a_watch_that_nobody_holds_any_more_ends(client, served):
    ready(client.watch(gateway="nobody"))
    gc.collect()
    with Client(port=served.port) as other:
        ready(other.watch(gateway="nobody"))


def test_what_cannot_be_read_is_not_taken_for_an_event(open_client):
    answer = {"watch": 1, "number": 7, "instance": "i", "gap": False}
    with scripted(watch=lambda _: answer) as peer, open_client(peer.port) as client, client.watch() as followed:
        assert next(followed) == SnapshotBegins(gap=False)
        peer.notify("watch_ready", {"watch": 1, "number": "seven"})
        assert next(followed) == SnapshotBegins(gap=False)
        assert len(peer.heard) == 2
