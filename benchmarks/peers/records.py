"""A session as a plain dict, its rules and its indexes: what the peers written in Python have in common."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from typing import Any

from benchmarks.peers.serving import RequestError

__all__ = ["Indexes", "Record", "annotate", "finish", "move", "new_record", "touch"]

Record = dict[str, Any]

WAYS = {
    "initializing": {"ringing", "active"},
    "ringing": {"active"},
    "active": {"held"},
    "held": {"active"},
}
"""Which state may follow which."""


class Indexes:
    """The ids of the sessions by state and by gateway."""

    def __init__(self) -> None:
        self.by_state: defaultdict[str, set[str]] = defaultdict(set)
        self.by_gateway: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, record: Record) -> None:
        """Take a new session in."""
        self.by_state[record["state"]].add(record["id"])
        self.by_gateway[record["gateway"]].add(record["id"])

    def move(self, session_id: str, old: str, new: str) -> None:
        """A session's state has changed."""
        self.by_state[old].discard(session_id)
        self.by_state[new].add(session_id)

    def remove(self, record: Record, state: str) -> None:
        """Forget a session that was in ``state``."""
        self.by_state[state].discard(record["id"])
        self.by_gateway[record["gateway"]].discard(record["id"])


def new_record(fields: dict[str, Any]) -> Record:
    """A session with the ``fields`` of a create request."""
    now = time.time()
    return {
        "id": str(uuid.uuid4()),
        "type": fields["type"],
        "state": "initializing",
        "gateway": fields.get("gateway"),
        "external_id": fields.get("external_id"),
        "caller": fields.get("caller"),
        "callee": fields.get("callee"),
        "direction": fields.get("direction"),
        "metadata": fields.get("metadata", {}),
        "created_at": now,
        "updated_at": now,
        "answered_at": None,
        "ended_at": None,
        "last_activity_at": now,
        "version": 1,
    }


def touch(record: Record) -> dict[str, Any]:
    """Something was heard of the session."""
    record["last_activity_at"] = time.time()
    return {"version": record["version"]}


def move(record: Record, state: str) -> dict[str, Any]:
    """Change the session's state.

    Raises:
        RequestError: there is no way from its state to that one.
    """
    if state not in WAYS[record["state"]]:
        raise RequestError("invalid_transition")
    record["state"] = state
    return _changed(record)


def annotate(record: Record, metadata: dict[str, Any]) -> dict[str, Any]:
    """Merge ``metadata`` into the session's."""
    record["metadata"].update(metadata)
    return _changed(record)


def finish(record: Record) -> dict[str, Any]:
    """End the session."""
    record["state"] = "ended"
    changed = _changed(record)
    record["ended_at"] = record["updated_at"]
    duration = record["ended_at"] - record["created_at"]
    return changed | {"ended_at": record["ended_at"], "duration": duration, "talk_duration": duration}


def _changed(record: Record) -> dict[str, Any]:
    record["version"] += 1
    record["updated_at"] = record["last_activity_at"] = time.time()
    return {"version": record["version"]}
