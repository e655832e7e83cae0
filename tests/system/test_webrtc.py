"""A WebRTC gateway with real peer connections: ICE, DTLS and media over loopback, each program a process."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import ExitStack

import pytest
import webrtc
from polling import eventually
from proxies import cut, passing, proxying

from sessiond import Client, errors

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
    return eventually(condition, "what the peers lead to", every=0.02)


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


def timeline(history):
    """What became of a session, change after change."""
    return [each.state or each.command or each.reason or ",".join(each.names) for each in history.entries]


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
    history = client.get_session_history(session.id)
    assert timeline(history) == [
        "initializing", "codec", "ice", "ringing", "ice", "active", "held", "active", "normal",
    ]  # fmt: skip
    assert history.dropped == 0
    assert {(each.author.kind, each.author.gateway) for each in history.entries} == {("gateway", NAME)}
    assert {each.author.epoch for each in history.entries} == {session.epoch}


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


def test_calls_are_known_again_after_the_service_was_killed(serve, start_gateway, call, ask):
    service = serve()
    gateway = start_gateway(service)
    talking, holding = call(gateway, 2, caller="talking"), call(gateway, caller="holding")
    before = {each.external_id: each for each in in_state(ask(service), "active", count=3)}
    holding.do("hold")
    holding.hear("answered", direction="inactive")
    service.stop(signal.SIGKILL)
    heard = talking.received()
    until(lambda: talking.received() > heard + 10)

    client = ask(serve(port=service.port))
    until(lambda: client.count_sessions(by="state").groups == {"active": 2, "held": 1})
    for session in sessions(client):
        old = before[session.external_id]
        kept = "caller", "callee", "created_at", "answered_at"
        assert [getattr(session, name) for name in kept] == [getattr(old, name) for name in kept]
    talking.do("bye")
    holding.do("bye")
    until(lambda: not sessions(client))
    assert client.count_sessions(ended=True, by="end_reason").groups == {"normal": 3}


def test_a_call_that_ends_while_the_service_cannot_be_reached_ends_as_it_did(serve, start_gateway, call, ask):
    """When both compare their calls, the gateway has told no end yet. It is not taken for a call that got lost."""
    service = serve()
    client = ask(service)
    with proxying(service.port) as proxy:
        ending, other = call(gateway := start_gateway(proxy), caller="ending"), call(gateway, caller="other")
        in_state(client, "active", count=2)
        proxy.to_service = cut
        proxy.cut()
        assert len(until(lambda: sessions(client, suspect=True))) == 2
        ending.do("bye")
        ending.hear("ended", reason="normal")
        proxy.to_service = passing
        session = ended(client)
        assert (session.caller, session.end_reason, session.ended_by) == ("ending-0", "normal", "caller")
        (left,) = until(lambda: sessions(client, suspect=False))
        assert (left.caller, left.state) == ("other-0", "active")
        other.do("bye")
        until(lambda: not sessions(client))


def test_sessions_of_a_gateway_that_was_killed_are_suspect_and_end_after_the_grace(serve, start_gateway, call, ask):
    service = serve("--gateways-grace", "3")
    client = ask(service)
    gateway = start_gateway(service)
    call(gateway, 2)
    lost = {each.id for each in in_state(client, "active", count=2)}
    gateway.stop(signal.SIGKILL)
    suspects = until(lambda: sessions(client, suspect=True))
    assert {each.id for each in suspects} == lost
    assert {each.state for each in suspects} == {"active"}
    until(lambda: not sessions(client))
    assert {each.end_reason for each in sessions(client, ended=True)} == {"gateway_lost"}


def test_a_gateway_that_is_started_again_has_new_calls_and_not_the_old_ones(serve, start_gateway, call, ask):
    """Its first sync is final and names none of them, so they end without waiting for the grace."""
    service = serve("--gateways-grace", "600")
    client = ask(service)
    gateway = start_gateway(service)
    call(gateway, 2, caller="old")
    in_state(client, "active", count=2)
    gateway.stop(signal.SIGKILL)
    call(start_gateway(service), caller="new")
    until(lambda: {each.caller for each in sessions(client)} == {"new-0"})
    assert client.count_sessions(ended=True, by="end_reason").groups == {"gateway_lost": 2}


def test_an_administrator_ends_the_real_call(serve, start_gateway, call, ask):
    """The peer is hung up on, and the session ends once it is; another call goes on."""
    service = serve()
    client = ask(service)
    gateway = start_gateway(service)
    chosen, other = call(gateway, caller="chosen"), call(gateway, caller="other")
    in_state(client, "active", count=2)
    (session,) = sessions(client, caller="chosen-0")
    assert client.terminate_session(session.id).gateway == "done"
    chosen.hear("ended", reason="admin")
    session = ended(client)
    assert (session.caller, session.end_reason, session.ended_by) == ("chosen-0", "admin", "admin")
    assert timeline(client.get_session_history(session.id))[-2:] == ["terminate_session", "admin"]
    heard = other.received()
    until(lambda: other.received() > heard)


def test_an_administrator_holds_a_call(serve, start_gateway, call, ask):
    """The peer hears nothing until it may again. What else an administrator may want is refused."""
    service = serve()
    client = ask(service)
    call(start_gateway(service))
    (session,) = in_state(client, "active")
    client.modify_session(session.id, {"state": "held"})
    in_state(client, "held")
    client.modify_session(session.id, {"state": "active"})
    in_state(client, "active")
    with pytest.raises(errors.Unavailable) as caught:
        client.modify_session(session.id, {"codec": "opus"})
    assert caught.value.details["error"]["code"] == "invalid_request"


def test_a_call_that_the_service_ends_by_itself_is_hung_up_on(serve, start_gateway, call, ask):
    service = serve("--sessions-max-duration", "1")
    client = ask(service)
    call(start_gateway(service)).hear("ended", reason="max_duration")
    assert ended(client).end_reason == "max_duration"


def test_a_call_that_was_ended_behind_the_gateways_back_is_hung_up_on(serve, start_gateway, call, ask):
    """It could not hear of that, and learns it when it compares its calls with the service's."""
    service = serve()
    client = ask(service)
    with proxying(service.port) as proxy:
        peer = call(start_gateway(proxy))
        (session,) = in_state(client, "active")
        proxy.to_service = cut
        proxy.cut()
        until(lambda: sessions(client, suspect=True))
        client.end_session(session.id, "fraud")
        proxy.to_service = passing
        peer.hear("ended", reason="fraud")
    assert ended(client).end_reason == "fraud"
