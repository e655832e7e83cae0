"""A service whose store is on a disk that fails: it says so, goes on reading, loses nothing, and is well again."""

from __future__ import annotations

import errno
from contextlib import ExitStack

import pytest
from faulty_disk import FaultyDisk, compile_faulty_disk
from processes import SERVE, process
from wire import peer, request

pytestmark = pytest.mark.needs("gcc")

FAULTS = {
    "full": (lambda disk: disk.refuses_writes(errno.ENOSPC), "the disk is full"),
    "read-only": (lambda disk: disk.becomes_read_only(), "I/O error"),
    "write errors": (lambda disk: disk.refuses_writes(errno.EIO), "I/O error"),
    "sync errors": (lambda disk: disk.refuses_syncs(), "I/O error"),
}


@pytest.fixture(scope="session")
def faulty_library(tmp_path_factory):
    return compile_faulty_disk(tmp_path_factory.mktemp("faulty_disk"))


@pytest.fixture
def disk(faulty_library, tmp_path):
    return FaultyDisk(faulty_library, tmp_path / "store.db")


@pytest.fixture
def serve(disk, tmp_path):
    """Start a service with a store on the disk, and a connection to it."""
    with ExitStack() as stack:

        def start(*options):
            where = ("--store-kind", "sqlite", "--store-path", str(disk.store))
            started = process(tmp_path / "service.log", *SERVE, *where, *options, environ=disk.environ)
            service = stack.enter_context(started)
            service.await_readiness(200)
            return service, stack.enter_context(peer(service.port))

        yield start


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_disk_that_fails_makes_changes_unavailable_and_nothing_else(disk, serve, fault, reason):
    service, gateway = serve()
    id = gateway.call("create_session", {"type": "sip", "request_id": "r"})["id"]
    fault(disk)
    for _ in range(3):
        assert gateway.refusal("update_session_state", id, "ringing")["code"] == "unavailable"
    assert reason in service.await_readiness(503)
    assert gateway.refusal("create_session", {"type": "sip"})["code"] == "unavailable"
    assert gateway.call("get_session", id)["version"] == 1
    assert gateway.call("count_sessions")["count"] == 1
    assert [each["id"] for each in gateway.call("list_sessions")["sessions"]] == [id]
    disk.recovers()
    service.await_readiness(200)
    assert gateway.call("update_session_state", id, "active") == {"version": 2}
    assert gateway.call("create_session", {"type": "sip", "request_id": "r"})["created"] is False

    service.popen.kill()
    service.popen.wait()
    disk.loses_power()
    service, gateway = serve()
    assert gateway.call("get_session", id)["state"] == "active"
    assert [entry["change"] for entry in gateway.call("get_session_history", id)["entries"]] == ["created", "state"]


def test_a_slow_disk_delays_the_answers_to_changes_and_no_others(disk, serve):
    service, gateway = serve()
    id = gateway.call("create_session", {"type": "sip"})["id"]
    disk.holds_syncs()
    with peer(service.port) as other:
        other.send(request(7, "create_session", {"type": "sip"}))
        disk.waits(lambda control: control.held)
        assert gateway.call("ping") == "pong"
        assert gateway.call("get_session", id)["version"] == 1
        assert gateway.call("count_sessions")["count"] == 1
        assert service.readiness()[0] == 200
        disk.recovers()
        assert other.receive()[1:3] == [7, None]
    assert gateway.call("count_sessions")["count"] == 2


def test_with_relaxed_durability_what_was_answered_before_the_failure_is_kept_after_it(disk, serve):
    """Nobody waits for the disk; so there are answers that only the time after it can make true."""
    service, gateway = serve("--store-durability", "relaxed", "--store-interval", "0.01")
    id = gateway.call("create_session", {"type": "sip"})["id"]
    disk.refuses_writes(errno.ENOSPC)
    assert gateway.call("update_session_state", id, "active") == {"version": 2}
    assert "the disk is full" in service.await_readiness(503)
    assert gateway.refusal("update_session_state", id, "held")["code"] == "unavailable"
    assert gateway.call("get_session", id)["version"] == 2
    disk.recovers()
    service.await_readiness(200)
    assert service.stop(15) == 0
    service, gateway = serve()
    assert gateway.call("get_session", id)["state"] == "active"


def test_a_store_that_cannot_be_read_keeps_the_service_from_starting(disk, serve, tmp_path):
    service, gateway = serve()
    gateway.call("create_session", {"type": "sip"})
    assert service.stop(15) == 0
    disk.refuses_reads()
    where = ("--store-kind", "sqlite", "--store-path", str(disk.store))
    log = tmp_path / "second.log"
    with pytest.raises(ValueError, match="not enough values"), process(log, *SERVE, *where, environ=disk.environ):
        pass
    assert str(disk.store) in log.read_text()
