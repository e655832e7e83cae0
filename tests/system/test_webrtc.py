"""A WebRTC gateway with real peer connections: ICE, DTLS and media over loopback, each program a process."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import ExitStack

import pytest
import webrtc

from sessiond import Client

NAME = "webrtc-1"


@pytest.fixture
def start_gateway(tmp_path):
    """Start a gateway that tells a service of its calls. None of them may have crashed."""
    logs = []
    with ExitStack() as stack:

        def start(service, *options):
            logs.append(tmp_path / f"gateway-{len(logs)}.log")
            return stack.enter_context(webrtc.gateway(logs[-1], service.port, *options))

        yield start
    for log in logs:
        assert "Traceback" not in log.read_text()


@pytest.fixture
def call():
    """Call a gateway; the calls may not be up yet."""
    with ExitStack() as stack:
        yield lambda gateway, *args, **options: stack.enter_context(webrtc.peers(gateway.port, *args, **options))


@pytest.fixture
def ask():
    """A client of a service."""
    with ExitStack() as stack:
        yield lambda service: stack.enter_context(Client(port=service.port))


def until(condition):
    """Wait until ``condition()`` is something, and what."""
    deadline = time.monotonic() + webrtc.PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)  # or the asking slows down what it waits for
    return found


def sessions(client, **filters):
    return list(client.sessions(gateway=NAME, **filters))


def in_state(client, state, count=1):
    """Wait until so many sessions are in this state, and no other is live."""

    def all_there():
        live = sessions(client)
        return len(live) == count and {each.state for each in live} == {state} and live

    return until(all_there)


def ended(client, **filters):
    """Wait until the only session of ``filters`` has ended."""
    (session,) = until(lambda: sessions(client, ended=True, **filters))
    return session


def test_a_call_is_followed_from_its_offer_to_the_hang_up(serve, start_gateway, call, ask):
    service = serve()
    client = ask(service)
    peer = call(start_gateway(service))

    (answered,) = peer.hear("answered")
    peer.hear("connection", state="connected")
    (session,) = in_state(client, "active")
    assert (session.type, session.external_id, session.direction) == ("webrtc", answered["call"], "inbound")
    assert (session.caller, session.callee) == ("alice-0", "echo")
    assert session.metadata == {"codec": "opus", "ice": "completed"}
    assert session.created_at <= session.ringing_at <= session.answered_at
    until(lambda: peer.received() > 10)

    peer.do("hold")
    peer.hear("answered", direction="inactive")
    (held,) = in_state(client, "held")
    peer.do("resume")
    peer.hear("answered", direction="sendrecv")
    (resumed,) = in_state(client, "active")
    assert session.answered_at == held.answered_at == resumed.answered_at
    heard = peer.received()
    until(lambda: peer.received() > heard + 10)

    peer.do("bye")
    peer.hear("ended", reason="normal")
    session = ended(client)
    assert (session.end_reason, session.ended_by) == ("normal", "caller")
    assert sessions(client) == []


def test_on_hold_no_media_flows(serve, start_gateway, call):
    """While another call hears ten packets more, this one hears none, once what was on its way has come."""
    gateway = start_gateway(serve())
    talking, holding = call(gateway), call(gateway)
    until(lambda: talking.received() and holding.received())
    holding.do("hold")
    holding.hear("answered", direction="inactive")

    def hears_nothing():
        heard, told = holding.received(), talking.received()
        until(lambda: talking.received() > told + 10)
        return holding.received() == heard

    until(hears_nothing)


# A peer may find the gateway and never be found itself: it offers an address that leads nowhere.
UNREACHABLE = """\
v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
m=audio 9 UDP/TLS/RTP/SAVPF 0
c=IN IP4 127.0.0.1
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:0 PCMU/8000
a=ice-ufrag:none
a=ice-pwd:nonenonenonenonenonenone
a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host
a=end-of-candidates
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
""".format(fingerprint=":".join(["00"] * 32)).replace("\n", "\r\n")


def test_a_call_rings_while_ice_looks_for_a_way_and_can_be_canceled(serve, start_gateway, ask):
    service = serve()
    client = ask(service)
    with socket.create_connection(("127.0.0.1", start_gateway(service).port)) as caller:
        caller.sendall(json.dumps({"type": "offer", "sdp": UNREACHABLE}).encode() + b"\n")
        (session,) = in_state(client, "ringing")
        assert session.answered_at is None
        assert session.metadata == {"codec": "pcmu", "ice": "checking"}
    session = ended(client)
    assert (session.end_reason, session.ended_by) == ("canceled", "caller")


UNHEARD_OF = UNREACHABLE.replace("SAVPF 0", "SAVPF 96").replace("rtpmap:0 PCMU", "rtpmap:96 UNHEARD-OF")


@pytest.mark.parametrize("sdp", ["", "m=audio", "v=0", UNHEARD_OF])
def test_a_call_fails_whose_offer_cannot_be_answered(serve, start_gateway, ask, sdp):
    service = serve()
    client = ask(service)
    gateway = start_gateway(service)
    with socket.create_connection(("127.0.0.1", gateway.port)) as caller, caller.makefile() as lines:
        caller.sendall(json.dumps({"type": "offer", "sdp": sdp}).encode() + b"\n")
        assert json.loads(lines.readline()) == {"type": "bye", "reason": "failed"}
    session = ended(client)
    assert (session.end_reason, session.ended_by) == ("failed", "gateway")


def test_peers_that_vanish_are_lost_and_those_that_only_say_nothing_have_hung_up(serve, start_gateway, call, ask):
    """One peer is killed, with its signalling; one stands still, and its signalling stays open; one closes."""
    service = serve()
    client = ask(service)
    gateway = start_gateway(service)
    killed, frozen, closing = (call(gateway, caller=caller) for caller in ("killed", "frozen", "closing"))
    in_state(client, "active", count=3)
    killed.popen.send_signal(signal.SIGKILL)
    frozen.popen.send_signal(signal.SIGSTOP)
    closing.do("drop")
    for caller, reason, ended_by in (
        ("closing", "normal", "caller"),
        ("killed", "peer_lost", "gateway"),
        ("frozen", "peer_lost", "gateway"),
    ):
        session = ended(client, caller=f"{caller}-0")
        assert (session.end_reason, session.ended_by) == (reason, ended_by)
        assert session.metadata["ice"] == ("failed" if reason == "peer_lost" else "completed")


def test_a_call_of_which_there_is_no_news_is_touched(serve, start_gateway, call, ask):
    service = serve()
    client = ask(service)
    call(start_gateway(service, "--touch", "0.1"))
    (session,) = in_state(client, "active")
    touched = until(lambda: (now := client.get_session(session.id)).last_activity_at > session.last_activity_at and now)
    assert touched.version == session.version


def test_many_calls_at_once_are_told_apart(serve, start_gateway, call, ask):
    service = serve()
    client = ask(service)
    gateway = start_gateway(service)
    few, many = call(gateway, 2, caller="few"), call(gateway, 6, caller="many")
    in_state(client, "active", count=8)
    many.do("hold")
    many.hear("answered", direction="inactive")
    until(lambda: client.count_sessions(by="state").groups == {"active": 2, "held": 6})
    few.do("bye")
    few.hear("ended", reason="normal")
    assert {each.caller for each in in_state(client, "held", count=6)} == {f"many-{number}" for number in range(6)}
    many.do("bye")
    many.hear("ended", reason="normal")
    until(lambda: not sessions(client))
    assert client.count_sessions(ended=True, by="end_reason").groups == {"normal": 8}


def test_a_gateway_that_is_stopped_ends_its_calls(serve, start_gateway, call, ask):
    service = serve()
    client = ask(service)
    gateway = start_gateway(service)
    peers = call(gateway, 2)
    in_state(client, "active", count=2)
    assert gateway.stop(signal.SIGTERM) == 0
    assert {each.end_reason for each in sessions(client, ended=True)} == {"shutdown"}
    peers.hear("ended", reason="shutdown")
    assert sessions(client) == []


def test_calls_need_no_service_and_are_told_when_it_is_back(serve, start_gateway, call, ask):
    service = serve()
    gateway = start_gateway(service)
    old = call(gateway, 2, caller="old")
    in_state(ask(service), "active", count=2)

    service.stop(signal.SIGKILL)
    heard = old.received()
    new = call(gateway, caller="new")
    new.hear("connection", state="connected")
    new.do("hold")
    new.hear("answered", direction="inactive")
    until(lambda: old.received() > heard + 10)

    back_at = time.time()
    client = ask(serve(port=service.port))
    (session,) = until(lambda: sessions(client, caller="new-0", state="held"))
    assert session.created_at < session.answered_at < back_at
    heard = old.received()
    until(lambda: old.received() > heard + 10)
