"""Calls go on whatever happens to those who keep their records."""

from __future__ import annotations

import pytest
from sip import eventually

from sessiond import Client

pytestmark = pytest.mark.needs("kamailio", "sipp")

KEPT = ("--sessions-retention", "600")
WORKERS = 4
BEAR_REPEATS = ("-default_behaviors", "all,-abortunexp")
"""A SIPp takes a message that it gets twice for a mistake. A worker that has waited for the service may be late."""


def test_calls_go_on_while_the_service_is_gone(start_gateway, place, service, serve):
    gateway = start_gateway(CHILDREN=WORKERS)
    callers, callees = place(gateway, "hangs-up", "answers", count=400, rate=70, more=BEAR_REPEATS)
    eventually(lambda: len(callers.calls()) > 30, "calls come in")
    service.popen.kill()
    service.popen.wait()
    eventually(lambda: len(callers.calls()) > 100, "calls go on")
    again = serve(*KEPT, port=service.port)
    callers.finish()
    callees.finish()

    def every_worker_reports():
        """Each looks for the service when it has something to tell, which is not for a test to choose."""
        for sipp in place(gateway, "hangs-up", "answers", count=20, rate=200, ring=50, talk=50, more=BEAR_REPEATS):
            sipp.finish()
        return again.metrics()["sessiond_connections"][()] == WORKERS

    eventually(every_worker_reports, "every worker has found the service")
    callers, callees = place(gateway, "hangs-up", "answers", count=50, rate=50, more=BEAR_REPEATS)
    callers.finish()
    callees.finish()
    with Client(port=again.port) as client:
        sessions = {session.external_id: session for session in client.sessions(ended="any")}
    for call in callers.calls():
        session = sessions[call.call_id]
        assert (session.state, session.end_reason, session.ended_by) == ("ended", "normal", "caller")
