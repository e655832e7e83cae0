"""An operator ends calls by the service, and the phones are told."""

from __future__ import annotations

import pytest
from polling import eventually
from sip import NAME

from sessiond import errors

pytestmark = pytest.mark.needs("kamailio", "sipp")


def test_an_operator_ends_calls_and_both_sides_of_each_are_told(start_gateway, start_sidecar, place, client):
    gateway = start_gateway()
    start_sidecar(gateway)
    callers, callees = place(gateway, "waits", "answers", count=20, rate=100)
    eventually(lambda: client.count_sessions(state="active").count == 20, "all calls are answered")
    ids = [session.id for session in client.sessions()]
    assert {client.terminate_session(each).gateway for each in ids} == {"done"}
    callers.finish()
    callees.finish()
    sessions = {session.external_id: session for session in client.sessions(ended="any")}
    for call in (*callers.calls(), *callees.calls()):
        session = sessions[call.call_id]
        assert (session.end_reason, session.ended_by) == ("admin", "admin")
        assert "R request BYE" in call.times
    for each in ids:
        changes = [entry.change for entry in client.get_session_history(each).entries]
        assert changes == ["created", "state", "state", "command", "ended"]


def test_a_call_that_kamailio_has_not_is_ended_for_the_service_alone(start_gateway, start_sidecar, client):
    start_sidecar(start_gateway())
    created = client.create_session(type="sip", gateway=NAME, external_id="nobody")
    assert client.terminate_session(created.id).gateway == "not_found"
    assert client.get_session(created.id).end_reason == "admin"


def test_a_call_that_still_rings_cannot_be_ended(start_gateway, start_sidecar, place, client):
    gateway = start_gateway()
    start_sidecar(gateway)
    place(gateway, "waits", "answers", ring=10_000)
    eventually(lambda: client.count_sessions(state="ringing").count == 1, "it rings")
    [session] = client.sessions()
    with pytest.raises(errors.Unavailable):
        client.terminate_session(session.id)
    assert client.get_session(session.id).state == "ringing"
