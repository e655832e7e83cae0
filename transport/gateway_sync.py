"""How a gateway and the service come to agree on which calls are up. Decided here, done by ``AsyncGateway``.

What the gateway has is looked at again before anything is done: the answers are of a moment ago, and calls come and go
meanwhile. A call that the gateway cannot be seen not to have is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from sessiond.actors.arguments import CreateArguments
from sessiond.actors.record import Session
from sessiond.transport import client_requests as requests
from sessiond.transport.client_requests import Request
from sessiond.transport.codec import MAX_ARRAY

__all__ = ["Calls", "calls_of", "correction", "gone", "parts", "still_there"]

Calls: TypeAlias = Mapping[str, CreateArguments]
"""What a gateway has, by ``external_id``."""


def calls_of(sessions: Iterable[CreateArguments]) -> Calls:
    """What a gateway says that it has; a call that the gateway has no id for cannot be compared."""
    calls = {}
    for call in sessions:
        external_id = call.get("external_id")
        if external_id is not None:
            calls[external_id] = call
    return calls


def parts(calls: Calls) -> Iterator[list[str]]:
    """What to name in each request of a sync; one request also if there is nothing to name."""
    names = list(calls)
    yield names[:MAX_ARRAY]
    for begin in range(MAX_ARRAY, len(names), MAX_ARRAY):
        yield names[begin : begin + MAX_ARRAY]


def still_there(names: Iterable[str], calls: Calls) -> list[CreateArguments]:
    """Of calls that the service does not know those that the gateway has now."""
    return [calls[name] for name in names if name in calls]


def correction(id: str, call: CreateArguments, calls: Calls) -> Request[Any] | None:
    """What is still to be said of a call that was created again as session ``id``; None if nothing is.

    What happened to it before that was told of a session that was not there. It has happened by now: ``calls`` are
    those that the gateway has after that.
    """
    now = calls.get(call["external_id"] or "")
    if now is None:
        return requests.end_session(id, None, {})
    if now.get("state") in {None, call.get("state")}:
        return None
    return requests.update_session_state(id, now["state"], None, None)


def gone(sessions: Iterable[Session], calls: Calls, epoch: str | None) -> list[Session]:
    """Of sessions that were not named those whose calls the gateway has not.

    Only its own: what another instance of the gateway holds, or has held and might claim, is not ours to judge. A
    session that the gateway gave no id of its own cannot be told from one that is up.
    """
    return [
        session
        for session in sessions
        if session.state != "ended"
        and session.epoch == epoch
        and session.external_id is not None
        and session.external_id not in calls
    ]
