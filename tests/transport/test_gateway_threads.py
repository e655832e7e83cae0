"""A gateway for threads."""

from __future__ import annotations

import threading

import pytest
from clients import PATIENCE
from proxies import Cut
from tapped import call, create, live, other, policy, tapped

from sessiond import Gateway, Reporter
from sessiond.actors.errors import Conflict, Unavailable


def test_a_gateway_of_threads():
    """Its functions are called on other threads, and its client speaks as the gateway on another connection."""
    with tapped() as service:
        service.client.end_session(create(service.client, "ended"), "busy")
        is_told, threads = threading.Event(), set()

        def sessions():
            threads.add(threading.current_thread())
            return [call("a"), call("ended")]

        def on_ended(external_id, reason):
            assert (external_id, reason) == ("ended", "busy")
            threads.add(threading.current_thread())
            is_told.set()

        with Gateway("gw-1", port=service.port, timeout=PATIENCE, sessions=sessions, on_ended=on_ended) as gw:
            gw.synced(PATIENCE)
            assert is_told.wait(PATIENCE)
            assert live(service.client) == {"a": "active"}
            assert gw.client.ping() == "pong"
            [shown] = service.client.list_gateways().gateways
            assert (shown.name, shown.epoch, shown.connections) == (gw.name, gw.epoch, 2)
        assert threading.current_thread() not in threads
        assert not any(each.is_alive() for each in threads)


def test_a_gateway_of_threads_compares_its_calls_when_it_is_told_to():
    compared = threading.Event()

    def sessions():
        compared.set()
        return [call("a")]

    with tapped() as service, Gateway("gw-1", port=service.port, timeout=PATIENCE, sessions=sessions) as gw:
        gw.synced(PATIENCE)
        compared.clear()
        gw.sync_soon()
        assert compared.wait(PATIENCE)


def test_a_gateway_of_threads_carries_out_commands():
    """On other threads, and only on the connection that said so."""
    threads = set()

    def warn(arguments):
        threads.add(threading.current_thread())
        return {"said": arguments["text"]}

    with (
        tapped() as service,
        Gateway("gw-1", port=service.port, timeout=PATIENCE, sessions=list, commands={"warn_session": warn}) as gw,
    ):
        gw.synced(PATIENCE)
        created = gw.client.create_session(type="sip", external_id="a")
        assert service.client.warn_session(created.id, "Hello").result == {"said": "Hello"}
        asked = [dict(each)["register_gateway"][1].get("capabilities") for each in service.heard]
        assert asked == [["commands"], None]
    assert threads
    assert threading.current_thread() not in threads


def test_a_call_that_ends_while_the_service_is_away_ends_as_it_did():
    """What is queued is told before the calls are compared, which would end it as failed."""
    calls, is_away = {"a": call("a")}, threading.Event()

    def sessions():
        if not reporter.flush():
            raise Unavailable("Something is queued")
        return list(calls.values())

    def cut():
        if is_away.is_set():
            raise Cut

    with tapped() as service:
        service.before["register_gateway"] = service.before["end_session"] = cut
        gw = Gateway("gw-1", port=service.port, timeout=0.5, sessions=sessions)
        reporter = Reporter(gw.client)
        with gw:
            gw.synced(PATIENCE)
            is_away.set()
            service.cut()
            while not service.client.count_sessions(suspect=True).count:
                pass
            reporter.end_session({"gateway": "gw-1", "external_id": "a"}, "normal", ended_by="caller")
            del calls["a"]
            assert reporter.queued == 1
            is_away.clear()
            while service.client.count_sessions().count:
                pass
        [session] = service.client.sessions(ended=True)
        assert (session.end_reason, session.ended_by) == ("normal", "caller")


def test_a_gateway_of_threads_that_is_refused():
    with (
        tapped(policy("refuse")) as service,
        other(service.served, "e0"),
        pytest.raises(Conflict),
        Gateway("gw-1", port=service.port, sessions=list),
    ):
        raise AssertionError


def test_a_gateway_of_threads_hears_that_it_was_replaced():
    with tapped(policy("take_over")) as service:
        is_replaced = threading.Event()
        with Gateway(
            "gw-1", port=service.port, timeout=PATIENCE, sessions=list, on_replaced=is_replaced.set, on_refused=print
        ) as gw:
            gw.synced(PATIENCE)
            with other(service.served, "e2"):
                assert is_replaced.wait(PATIENCE)
