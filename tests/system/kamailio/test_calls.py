"""Calls that are set up, put on hold, refused, given up and lost leave the records that they should."""

from __future__ import annotations

import pytest
from polling import eventually
from sip import NAME, example

from sessiond.actors.results import Author, HistoryEntry

pytestmark = pytest.mark.needs("kamailio", "sipp")

CONFIRMED = 4
"""How Kamailio calls the state of a dialog whose ACK has come."""
SLACK = 0.2
"""Seconds by which a SIPp may write down late that it has sent something."""


def sessions_by_call(client):
    """What the service knows of each call; no call has two sessions."""
    sessions = list(client.sessions(gateway="gw-sip", ended="any"))
    found = {session.external_id: session for session in sessions}
    assert len(found) == len(sessions)
    return found


def finish(*sipps):
    for each in sipps:
        each.finish()


@pytest.fixture
def record_of(client):
    """The record of the one call that a SIPp made, once it has ended."""

    def wait(callers):
        (call,) = callers.calls()
        sessions = {}

        def has_ended():
            sessions.update(sessions_by_call(client))
            return sessions[call.call_id].state == "ended"

        eventually(has_ended, "the session has ended")
        (session,) = sessions.values()
        return session, call.times

    return wait


def end_of(session):
    return session.end_reason, session.ended_by, session.sip_code, session.q850_cause


def check_times(session, times):
    """Every time is that of the message that made it so: between its being sent and its coming out on the other side.

    A 180 is told to the service before it goes on to the caller, and so is everything else. What has happened when the
    caller receives it is thus in the record with an earlier time.
    """
    assert times["S request INVITE"] - SLACK <= session.created_at
    assert session.created_at <= session.ringing_at <= times["R 180 INVITE"]
    assert session.ringing_at <= session.answered_at <= times["R 200 INVITE"]
    assert times["S request ACK"] - SLACK <= session.ended_at
    assert times["S request BYE"] - SLACK <= session.ended_at <= times["R 200 BYE"]


def test_400_calls_at_100_per_second_leave_400_exact_records(start_gateway, place, service, client):
    gateway = start_gateway()
    callers, callees = place(gateway, "hangs-up", "answers", count=400, rate=100, talk=500)
    finish(callers, callees)
    sessions = sessions_by_call(client)
    author = Author(kind="gateway", gateway="gw-sip", epoch=gateway.epoch)
    calls = callers.calls()
    assert len(calls) == 400
    assert sessions.keys() == {call.call_id for call in calls}
    for call in calls:
        session = sessions[call.call_id]
        assert (session.type, session.caller, session.callee) == ("sip", "+15550100", "+15550199")
        # Created, ringing, active, ended, and nothing else.
        assert (session.state, session.version) == ("ended", 4)
        assert end_of(session) == ("normal", "caller", 200, 16)
        check_times(session, call.times)
        assert session.ended_at - session.answered_at >= 0.5 - SLACK
        assert client.get_session_history(session.id).entries == [
            HistoryEntry(session.created_at, author, "created", state="initializing"),
            HistoryEntry(session.ringing_at, author, "state", state="ringing"),
            HistoryEntry(session.answered_at, author, "state", state="active"),
            HistoryEntry(session.ended_at, author, "ended", reason="normal"),
        ]
    metrics = service.metrics()
    assert set(metrics["sessiond_sessions"].values()) == {0}
    answered = {labels: count for labels, count in metrics["sessiond_requests_total"].items() if count}
    assert {code for code, _ in answered} == {"ok"}
    assert answered["ok", "create_session"] == 400
    assert answered["ok", "end_session"] == 400


def test_events_that_overtake_each_other_leave_right_records(start_gateway, place, client):
    """Of a 180 and a 200 that come at once two workers of Kamailio tell, each on its own connection. They also pass
    them on in either order, which a SIPp must be told to bear.
    """
    many = {"count": 200, "rate": 100, "ring": 0, "talk": 100, "more": ("-default_behaviors", "all,-abortunexp")}
    callers, callees = place(start_gateway(), "hangs-up", "answers", **many)
    finish(callers, callees)
    sessions = sessions_by_call(client)
    assert len(sessions) == 200
    for call in callers.calls():
        session = sessions[call.call_id]
        assert (session.state, *end_of(session)) == ("ended", "normal", "caller", 200, 16)
        assert session.version == (3 if session.ringing_at is None else 4)
        assert session.created_at <= session.answered_at <= call.times["R 200 INVITE"]
        assert call.times["S request BYE"] - SLACK <= session.ended_at <= call.times["R 200 BYE"]


def test_a_call_on_hold_is_held(start_gateway, place, client):
    callers, callees = place(start_gateway(), "holds", "answers", talk=500)
    seen = []

    def has_ended():
        seen.extend(session.state for session in client.sessions(ended="any") if session.state not in seen[-1:])
        return seen[-1:] == ["ended"]

    eventually(has_ended, "the session has ended")
    finish(callers, callees)
    # Before it is active it may be too fast to be seen.
    assert seen[seen.index("active") :] == ["active", "held", "active", "held", "active", "ended"]
    (session,) = client.sessions(ended="any")
    assert session.version == 8
    assert session.answered_at <= callers.calls()[0].times["R 200 INVITE"]


def test_a_callee_hangs_up(start_gateway, place, record_of):
    callers, callees = place(start_gateway(), "waits", "hangs-up")
    finish(callers, callees)
    session, times = record_of(callers)
    assert end_of(session) == ("normal", "callee", 200, 16)
    assert session.ended_at <= times["R request BYE"]


def test_a_caller_gives_up(start_gateway, place, record_of):
    callers, callees = place(start_gateway(), "cancels", "rings")
    finish(callers, callees)
    session, times = record_of(callers)
    assert end_of(session) == ("canceled", "caller", 487, None)
    assert session.ringing_at <= times["R 180 INVITE"]
    assert session.answered_at is None
    assert times["S request CANCEL"] - SLACK <= session.ended_at <= times["R 487 INVITE"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("486 Busy Here", "busy"),
        ("480 Temporarily Unavailable", "no_answer"),
        ("603 Decline", "rejected"),
        ("500 Server Internal Error", "failed"),
    ],
)
def test_a_callee_refuses(start_gateway, place, record_of, status, reason):
    callers, callees = place(start_gateway(), "refused", "refuses", status=status)
    finish(callers, callees)
    session, times = record_of(callers)
    code = int(status[:3])
    assert end_of(session) == (reason, "callee", code, 17)
    assert (session.ringing_at, session.answered_at, session.version) == (None, None, 2)
    assert session.ended_at <= times[f"R {code} INVITE"]


def test_nobody_answers(start_gateway, place, record_of):
    callers, callees = place(start_gateway(RING_TIMEOUT=1500), "refused", "rings")
    finish(callers, callees)
    session, times = record_of(callers)
    assert end_of(session) == ("no_answer", "gateway", 408, None)
    assert session.ringing_at <= session.ended_at <= times["R 408 INVITE"]


def test_a_caller_vanishes(start_gateway, place, record_of):
    """Kamailio hears nothing of the call for its dialog timeout, and hangs up on the callee."""
    callers, callees = place(start_gateway(DIALOG_TIMEOUT=1), "vanishes", "answers")
    finish(callers, callees)
    session, times = record_of(callers)
    assert end_of(session) == ("dialog_timeout", "gateway", None, None)
    assert session.ended_at <= callees.calls()[0].times["R request BYE"]
    assert session.answered_at <= times["R 200 INVITE"]


def test_an_operator_hangs_up_on_both(start_gateway, place, client):
    """By a command to Kamailio, of which sessiond knows nothing. Both sides of every call are told."""
    gateway = start_gateway()
    callers, callees = place(gateway, "waits", "answers", count=20, rate=100)
    rpc = example("rpc").Rpc(gateway.folder)

    def confirmed():
        return [dialog for dialog in rpc.call("dlg.briefing", "s") if dialog["state"] == CONFIRMED]

    eventually(lambda: len(confirmed()) == 20, "all ACKs have come")
    for dialog in confirmed():
        rpc.call("dlg.end_dlg", dialog["h_entry"], dialog["h_id"])
    finish(callers, callees)
    sessions = sessions_by_call(client)
    for call in (*callers.calls(), *callees.calls()):
        session = sessions[call.call_id]
        assert end_of(session) == ("normal", "admin", None, None)
        assert session.ended_at <= call.times["R request BYE"]


def test_an_administrator_ends_real_calls(start_gateway, start_sidecar, place, client):
    """By sessiond, which knows the calls by no more than their records: both sides of every call are told."""
    gateway = start_gateway()
    start_sidecar(gateway)
    callers, callees = place(gateway, "waits", "answers", count=10, rate=100)
    rpc = example("rpc").Rpc(gateway.folder)

    def confirmed():
        return [dialog for dialog in rpc.call("dlg.briefing", "s") if dialog["state"] == CONFIRMED]

    eventually(lambda: len(confirmed()) == 10, "all ACKs have come")
    ids = [session.id for session in client.sessions(state="active")]
    assert client.end_sessions(gateway=NAME).ids == ids
    done = client.end_sessions(gateway=NAME, dry_run=False, most=10)
    assert (done.matched, done.ended, done.failed) == (10, 10, [])
    finish(callers, callees)
    sessions = sessions_by_call(client)
    for call in (*callers.calls(), *callees.calls()):
        assert end_of(sessions[call.call_id]) == ("admin", "admin", None, None)
        assert "R request BYE" in call.times
    entries = client.get_session_history(ids[0]).entries
    assert [(each.command, each.outcome) for each in entries if each.change == "command"] == [
        ("terminate_session", "done")
    ]


def test_a_call_that_cannot_be_relayed_has_failed(start_gateway, client):
    """A callee whose address cannot be resolved."""
    gateway = start_gateway()
    assert gateway.ask("INVITE", "sip:+15550199@callee.invalid").startswith("SIP/2.0 500")
    (session,) = client.sessions(ended="any")
    assert end_of(session) == ("failed", "gateway", 500, None)
    assert session.version == 2
