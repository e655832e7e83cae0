"""Calls go on whatever happens to those who keep their records, and the records are right in the end."""

from __future__ import annotations

import signal

import pytest
from polling import eventually
from sip import example

from sessiond import Client, errors

pytestmark = pytest.mark.needs("kamailio", "sipp")

KEPT = ("--sessions-retention", "600")
WORKERS = 4
SIDECAR_AND_TEST = 2
"""Connections to the service besides those of the workers."""
BEAR_REPEATS = ("-default_behaviors", "all,-abortunexp")
"""A SIPp takes a message that it gets twice for a mistake. A worker that has waited for the service may be late."""
SLACK = 0.2
"""Seconds by which a SIPp may write down late that it has sent something."""
REPEATED_AFTER = 0.5
"""Seconds after which a phone sends a request again that was not answered."""


def known(client, **filters):
    """The sessions of the service by their calls; no call has two."""
    sessions = list(client.sessions(**filters))
    found = {session.external_id: session for session in sessions}
    assert len(found) == len(sessions)
    return found


def count(client, **filters):
    return client.count_sessions(**filters).count


def answered_dialogs(gateway):
    """The calls that are up in Kamailio."""
    dialogs = example("rpc").Rpc(gateway.folder).call("dlg.list")
    return {each["call-id"] for each in dialogs if each["state"] in {3, 4}}


def test_calls_go_on_while_the_service_is_killed_and_started_again(start_gateway, start_sidecar, place, service, serve):
    gateway = start_gateway(CHILDREN=WORKERS)
    start_sidecar(gateway, "--sync", "0.5")
    many = {"count": 300, "rate": 60, "ring": 50, "talk": 2500, "more": BEAR_REPEATS}
    callers, callees = place(gateway, "hangs-up", "answers", **many)
    eventually(lambda: len(callers.calls()) > 50, "calls come in")
    service.popen.kill()
    service.popen.wait()
    eventually(lambda: len(callers.calls()) > 130, "calls go on")
    up = answered_dialogs(gateway)
    again = serve(*KEPT, port=service.port)
    with Client(port=again.port) as client:
        eventually(lambda: answered_dialogs(gateway) & up <= known(client, ended="any").keys(), "all calls are known")

        def all_are_back():
            """A worker looks for the service when it has something to tell."""
            return gateway.answers() and again.metrics()["sessiond_connections"][()] == WORKERS + SIDECAR_AND_TEST

        eventually(all_are_back, "every worker has found the service")
        later_callers, later_callees = place(gateway, "hangs-up", "answers", count=50, rate=50, more=BEAR_REPEATS)
        for sipp in (callers, callees, later_callers, later_callees):
            sipp.finish()
        eventually(lambda: count(client) == 0, "no session is left over")
        sessions = known(client, ended="any")
    calls = {call.call_id: call for call in callers.calls()}
    later = {call.call_id: call for call in later_callers.calls()}
    assert (len(calls), len(later)) == (300, 50)
    assert later.keys() <= sessions.keys() <= {**calls, **later}.keys()
    for call_id, session in sessions.items():
        assert {**calls, **later}[call_id].times["S request BYE"] - SLACK <= session.ended_at
        # Of some the service learns that they have ended before a worker is back that can tell how.
        assert session.end_reason in ({"normal"} if call_id in later else {"normal", "failed"})


def test_kamailio_is_killed_and_started_again(start_gateway, start_sidecar, place, client):
    gateway = start_gateway()
    start_sidecar(gateway)
    talking = place(gateway, "hangs-up", "answers", count=20, rate=200, ring=0, talk=4000, more=BEAR_REPEATS)
    ringing = place(gateway, "hangs-up", "answers", count=20, rate=200, ring=4000, talk=500, more=BEAR_REPEATS)
    eventually(lambda: count(client, state="active") == 20 == count(client, state="ringing"), "all calls are there")
    before = gateway.epoch
    gateway.kill()
    eventually(lambda: count(client, suspect=True) == 40, "all of them are suspect")
    assert count(client, state="active") == 20 == count(client, state="ringing")
    again = start_gateway(port=gateway.port)
    assert again.epoch != before
    eventually(lambda: count(client, suspect=False) == 40, "all of them are claimed")
    assert {session.epoch for session in client.sessions()} == {again.epoch}
    with pytest.raises(errors.Unavailable):  # Kamailio could hang up on nobody
        client.terminate_session(next(client.sessions(state="active")).id)
    for sipp in (*talking, *ringing):
        sipp.finish()
    sessions = known(client, ended="any")
    for call in (*talking[0].calls(), *ringing[0].calls()):
        session = sessions[call.call_id]
        assert (session.state, session.end_reason, session.ended_by) == ("ended", "normal", "caller")
        assert session.answered_at <= call.times["R 200 INVITE"]
        assert call.times["S request BYE"] - SLACK <= session.ended_at <= call.times["R 200 BYE"]
        entries = client.get_session_history(session.id).entries
        claims = [entry.author.epoch for entry in entries if entry.change == "claimed"]
        assert (entries[0].author.epoch, claims) == (before, [again.epoch])


@pytest.mark.parametrize("service", [("--gateways-grace", "1")], indirect=True)
def test_kamailio_is_killed_and_does_not_come_back(start_gateway, start_sidecar, place, client):
    """Who is to carry on these calls? After the grace nobody does."""
    gateway = start_gateway()
    start_sidecar(gateway)
    place(gateway, "waits", "answers", count=5)
    eventually(lambda: count(client, state="active") == 5, "the calls are answered")
    gateway.kill()
    eventually(lambda: count(client) == 0, "the grace is over")
    for session in client.sessions(ended="any"):
        assert (session.end_reason, session.ended_by) == ("gateway_lost", "service")


def test_a_service_that_hangs_keeps_no_call_waiting(start_gateway, start_sidecar, place, service, client):
    gateway = start_gateway(CHILDREN=WORKERS)
    start_sidecar(gateway)
    many = {"count": 100, "rate": 50, "ring": 50, "talk": 300, "more": BEAR_REPEATS}
    service.popen.send_signal(signal.SIGSTOP)
    try:
        callers, callees = place(gateway, "hangs-up", "answers", **many)
        callers.finish()
        callees.finish()
    finally:
        service.popen.send_signal(signal.SIGCONT)
    calls = callers.calls()
    for call in calls[50:]:
        assert call.times["R 180 INVITE"] - call.times["S request INVITE"] < REPEATED_AFTER
    eventually(
        lambda: gateway.answers() and count(client, state="ended", ended="any") == 100,
        "every worker has told what it had to",
    )
    assert count(client) == 0
    sessions = known(client, state="ended", ended="any")
    for call in calls:
        session = sessions[call.call_id]
        assert (session.end_reason, session.ended_by, session.sip_code) == ("normal", "caller", 200)
        assert call.times["S request INVITE"] - SLACK <= session.created_at <= call.times["R 180 INVITE"]
        assert session.answered_at <= call.times["R 200 INVITE"]
        assert call.times["S request BYE"] - SLACK <= session.ended_at <= call.times["R 200 BYE"]
