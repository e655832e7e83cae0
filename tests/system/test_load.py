"""The process under load: what it counts, what it answers when it is told to stop, and what it keeps of a storm."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import struct
import termios
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import process
from wire import Peer, notification, peer, request

FAULTY = str(Path(__file__).parent / "faulty_service.py")


@pytest.fixture
def connect():
    """Open many connections to a process."""
    with ExitStack() as stack:
        yield lambda service, count: [stack.enter_context(peer(service.port)) for _ in range(count)]


# Ten thousand sessions

REASONS = {
    "setup_timeout": {"type": "sip", "state": "ringing", "setup_timeout": 0.5},
    "idle_timeout": {"type": "webrtc", "state": "held", "idle_timeout": 0.5},
    "max_duration": {"type": "fax", "state": "active", "max_duration": 0.5},
    "normal": {"type": "sip", "state": "active"},
}
"""Sessions that end for each reason, a quarter of all each; the last by their gateway."""


def test_ten_thousand_sessions_all_end_and_are_counted(serve, connect):
    service = serve("--sessions-ends-per-second", "1000000", "--sessions-retention", "600")
    gateways = connect(service, 100)
    for gateway in gateways:
        gateway.send(*(request(0, "create_session", fields) for fields in REASONS.values() for _ in range(25)))
    for gateway in gateways:
        created = [answer[3]["id"] for answer in gateway.receive_many(100)]
        gateway.send(*(request(1, "end_session", session_id) for session_id in created[75:]))
    for gateway in gateways:
        gateway.receive_many(25)
    while gateways[0].call("count_sessions")["count"]:
        pass

    metrics = service.metrics()
    assert set(metrics["sessiond_sessions"].values()) == {0}
    assert positive(metrics["sessiond_sessions_created_total"]) == {("sip",): 5000, ("webrtc",): 2500, ("other",): 2500}
    answered = {("sip",): 2500, ("webrtc",): 2500, ("other",): 2500}
    assert positive(metrics["sessiond_sessions_answered_total"]) == answered
    assert positive(metrics["sessiond_sessions_ended_total"]) == {
        ("setup_timeout", "sip"): 2500,
        ("idle_timeout", "webrtc"): 2500,
        ("max_duration", "other"): 2500,
        ("normal", "sip"): 2500,
    }
    durations = {("sip",): 5000, ("webrtc",): 2500, ("other",): 2500}
    assert positive(metrics["sessiond_session_duration_seconds_count"]) == durations
    assert metrics["sessiond_sessions_retained"][()] == 10_000
    assert metrics["sessiond_reaper_backlog"][()] == 0
    assert metrics["sessiond_connections"][()] == 100
    requests = positive(metrics["sessiond_requests_total"])
    assert requests.pop(("ok", "count_sessions")) >= 1
    assert requests == {("ok", "create_session"): 10_000, ("ok", "end_session"): 2500}
    assert metrics["sessiond_request_duration_seconds_count"]["create_session",] == 10_000
    assert positive(metrics["sessiond_actor_restarts_total"]) == {}

    by_reason = gateways[0].call("count_sessions", {"ended": True, "by": "end_reason"})
    assert by_reason == {"count": 10_000, "groups": dict.fromkeys(REASONS, 2500)}
    by_whom = gateways[0].call("count_sessions", {"ended": True, "by": "ended_by"})
    assert by_whom == {"count": 10_000, "groups": {"service": 7500, "gateway": 2500}}
    assert service.stop(signal.SIGTERM) == 0


def positive(values):
    return {labels: value for labels, value in values.items() if value}


# SIGTERM


def await_arrival(gateway: Peer) -> None:
    """Return when the service's host has acknowledged every byte: it is in the process's socket, or further."""
    while struct.unpack("i", fcntl.ioctl(gateway.socket, termios.TIOCOUTQ, b"\0" * 4))[0]:
        pass


def test_a_stop_under_load_answers_every_request_that_was_received(serve, connect):
    """Received is what the service's socket holds when the signal comes. So that this is the same in every run, the
    process stands still while gateways send; nothing of all this has been read when it goes on, the signal first.
    Gateways that go on sending after it do no harm to the answers.
    """
    service = serve()
    gateways = connect(service, 50)
    sent = dict.fromkeys(gateways, 0)

    def send(gateway, count):
        methods = [
            ("create_session", {"type": "sip", "state": "active"}),
            ("ping",),
            ("count_sessions", {"by": "type"}),
        ]
        numbers = range(sent[gateway], sent[gateway] + count)
        gateway.send(*(request(number, *methods[number % 3]) for number in numbers))
        sent[gateway] += count

    for gateway in gateways:
        send(gateway, 200)
    service.popen.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, service.popen.pid, os.WSTOPPED | os.WNOWAIT)
    late = connect(service, 50)
    sent |= dict.fromkeys(late, 0)
    for gateway in (*gateways, *late):
        send(gateway, 300)
        gateway.send(request(9999, "ping")[:-1])
        await_arrival(gateway)
    service.popen.send_signal(signal.SIGTERM)
    service.popen.send_signal(signal.SIGCONT)
    for gateway in gateways:
        gateway.send(b"\x90" + request(10_000, "ping"))
    for gateway in (*gateways, *late):
        answers = gateway.rest()
        answered = [answer[1] for answer in answers if answer[1] < 9999]
        assert answered == [*range(sent[gateway])]
        assert {answer[2] for answer in answers} == {None}
        gateway.close()
    assert service.popen.wait(30) == 0


# A storm of crashes

CRASHES = 100_000


def crashing_sessions(number: int) -> bytes:
    """Four crashes of a session, which is once more than it is restarted."""
    address = {"external_id": str(number)}
    return notification("create_session", address | {"type": "sip"}) + request(number, "touch_session", address) * 4


def stillborn_sessions(number: int) -> bytes:
    """Four sessions that crash at their creation."""
    return request(number, "create_session", {"type": "stillborn"}) * 4


@pytest.mark.parametrize("crashing", [crashing_sessions, stillborn_sessions])
def test_a_storm_of_crashes_leaves_memory_flat(tmp_path, connect, crashing):
    options = ("--sessions-max-retained", "100", "--sessions-setup-timeout", "0")
    with process(tmp_path / "service.log", FAULTY, *options) as service:
        (gateway,) = connect(service, 1)
        numbers = itertools.count()

        def storm(crashes):
            for _ in range(crashes // 2000):
                gateway.send(*map(crashing, itertools.islice(numbers, 500)))
                assert {answer[2][2]["code"] for answer in gateway.receive_many(2000)} == {"internal"}

        def memory():
            return service.metrics()["process_resident_memory_bytes"][()]

        storm(CRASHES // 5)
        before = memory()
        storm(CRASHES * 4 // 5)
        assert memory() - before < 4_000_000
        metrics = service.metrics()
        codes = metrics["sessiond_requests_total"].items()
        assert sum(count for (code, _), count in codes if code == "internal") == CRASHES
        created = sum(metrics["sessiond_sessions_created_total"].values())
        assert positive(metrics["sessiond_sessions_ended_total"]) == ({("crashed", "sip"): created} if created else {})
        assert metrics["sessiond_actor_restarts_total"]["session",] == 3 * created
        assert created == (CRASHES / 4 if crashing is crashing_sessions else 0)
        assert set(metrics["sessiond_sessions"].values()) == {0}
        assert gateway.call("ping") == "pong"
        assert service.stop(signal.SIGTERM) == 0
    assert (tmp_path / "service.log").stat().st_size < 1_000_000
