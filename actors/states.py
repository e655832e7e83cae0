"""The states of a session and the ways between them. Rules only: everything that decides on a state lives here."""

from __future__ import annotations

import enum

__all__ = [
    "ANSWERED",
    "CHANGE",
    "ENDED",
    "LIVE_STATES",
    "REFUSED",
    "SAME",
    "STALE",
    "STATES",
    "TRANSITIONS",
    "UNANSWERED",
    "Verdict",
]

UNANSWERED = frozenset({"initializing", "ringing"})
"""States before the answer, when the setup timeout runs. ``ringing`` covers 180 and 183 (early media)."""
ANSWERED = frozenset({"active", "held"})
"""States after the answer, when the idle timeout and the maximum duration run."""
ENDED = "ended"
LIVE_STATES = ("initializing", "ringing", "active", "held")
STATES = (*LIVE_STATES, ENDED)


class Verdict(enum.Enum):
    """What becomes of the wish to go from one state to another."""

    CHANGE = "change"
    SAME = "same"
    """The session is there already: succeeds and changes nothing."""
    STALE = "stale"
    """An event that was overtaken on its way: succeeds, says so and changes nothing."""
    REFUSED = "refused"


CHANGE, SAME, STALE, REFUSED = Verdict

_WAYS = {
    "initializing": {"ringing", "active", "ended"},
    "ringing": {"active", "ended"},
    "active": {"held", "ended"},
    "held": {"active", "ended"},
    "ended": set[str](),
}


def _judge(state: str, wanted: str) -> Verdict:
    if wanted == state:
        return SAME
    if wanted in _WAYS[state]:
        return CHANGE
    # Gateways deliver the events of one call over several connections, swapped: 180 after 200.
    if wanted == "ringing" and state in ANSWERED:
        return STALE
    return REFUSED


TRANSITIONS = {state: {wanted: _judge(state, wanted) for wanted in STATES} for state in STATES}
"""``TRANSITIONS[state][wanted]``: a table, because every change of state asks it."""
