"""The session manager inside a program: started, asked and stopped, without a socket."""

from __future__ import annotations

import asyncio
import logging
import threading

import pykka
import pytest
from manual_clock import ManualClock

import sessiond
from sessiond.actors.errors import NotFound, SessionEnded
from sessiond.actors.reaper import ReaperActor

PATIENCE = 20


@pytest.fixture
def registry():
    registry = sessiond.start()
    yield registry
    sessiond.stop(registry)


def test_a_program_can_follow_a_call(registry):
    """As in the documentation."""
    manager = registry.proxy()
    created = manager.create_session(type="sip", caller="+15550100").get(timeout=PATIENCE)
    session = manager.session_ref(created.id).get(timeout=PATIENCE)
    assert session.proxy().update_state("ringing").get(timeout=PATIENCE).version == 2
    assert manager.get_session(created.id).get(timeout=PATIENCE).state == "ringing"
    assert manager.end_session(created.id, "busy").get(timeout=PATIENCE).version == 3
    with pytest.raises(SessionEnded):
        manager.session_ref(created.id).get(timeout=PATIENCE)
    with pytest.raises(NotFound):
        manager.get_session("nobody").get(timeout=PATIENCE)


def test_it_can_be_asked_from_many_threads(registry):
    """Each of them may block, and runs its turns itself when it can."""
    done = []

    def follow_calls():
        manager = registry.proxy()
        for _ in range(50):
            created = manager.create_session(type="sip").get(timeout=PATIENCE)
            manager.update_session_state(created.id, "active").get(timeout=PATIENCE)
            done.append(manager.end_session(created.id).get(timeout=PATIENCE).version)

    threads = [threading.Thread(target=follow_calls, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert done == [3] * 200


def test_it_can_be_awaited(registry):
    """Also by a program that runs an event loop."""

    async def follow_calls():
        manager = registry.proxy()
        calls = await asyncio.gather(*(_follow(manager) for _ in range(20)))
        count = await manager.count_sessions(ended=True)
        return calls, count.count

    async def _follow(manager):
        created = await manager.create_session(type="webrtc", state="active")
        return (await manager.end_session(created.id)).version

    assert asyncio.run(follow_calls()) == ([2] * 20, 20)


def test_its_reaper_works_by_itself():
    """Nothing but time has to pass."""
    clock = ManualClock()
    reaped = threading.Event()

    class Telling(sessiond.SessionActor):
        def end_if_overdue(self):
            super().end_if_overdue()
            reaped.set()

    registry = sessiond.start(clock=clock, session_class=Telling)
    created = registry.proxy().create_session(type="sip", setup_timeout=30).get(timeout=PATIENCE)
    clock.advance(31)
    assert reaped.wait(PATIENCE)
    assert registry.proxy().get_session(created.id).get(timeout=PATIENCE).end_reason == "setup_timeout"
    sessiond.stop(registry)


def test_it_takes_a_configuration():
    config = sessiond.Config(sessions=sessiond.Settings(idle_timeout=60, max_sessions=1))
    registry = sessiond.start(config)
    limits = registry.proxy().server_info().get(timeout=PATIENCE)["limits"]
    assert (limits["idle_timeout"], limits["max_sessions"]) == (60, 1)
    sessiond.stop(registry)


def test_two_of_them_know_nothing_of_each_other():
    first, second = sessiond.start(), sessiond.start()
    created = first.proxy().create_session(type="sip").get(timeout=PATIENCE)
    with pytest.raises(NotFound):
        second.proxy().get_session(created.id).get(timeout=PATIENCE)
    sessiond.stop(first)
    assert second.proxy().ping().get(timeout=PATIENCE) == "pong"
    sessiond.stop(second)


def test_after_its_stop_it_is_dead_and_its_thread_gone():
    """Stopping it twice does no harm."""
    threads = threading.active_count()
    registry = sessiond.start()
    proxy = registry.proxy()
    assert threading.active_count() == threads + 1
    sessiond.stop(registry)
    sessiond.stop(registry)
    assert threading.active_count() == threads
    with pytest.raises(pykka.ActorDeadError):
        proxy.ping().get(timeout=PATIENCE)


def test_it_gives_up_when_one_of_its_actors_cannot_be_kept_running(monkeypatch, caplog):
    """It says so, and stops: an asker sees a dead registry instead of a service that only seems to work."""
    monkeypatch.setattr("sessiond.actors.service.FIRST_BACKOFF", 0)

    def crash(_):
        raise RuntimeError

    monkeypatch.setattr(ReaperActor, "sweep", crash)
    registry = sessiond.start()
    assert registry.actor_stopped.wait(PATIENCE)
    assert [record.levelno for record in caplog.records][-1] == logging.CRITICAL
    assert "reaper" in caplog.records[-1].getMessage()
    sessiond.stop(registry)
