"""The least that could be called a session manager: dicts in a dict, behind asyncio streams.

It checks transitions and keeps indexes by state and gateway. It does not check its arguments, has no timeouts, no
retention and no metrics: what these cost is the distance between this peer and sessiond.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers import records
from benchmarks.peers.serving import RequestError, serve

sessions: dict[str, records.Record] = {}
indexes = records.Indexes()


def answer(method: str, params: list[Any]) -> Any:
    """What ``method`` answers."""
    if method == "create_session":
        return create(params[0])
    record = sessions.get(params[0])
    if record is None:
        raise RequestError("not_found")
    match method:
        case "get_session":
            return record
        case "touch_session":
            return records.touch(record)
        case "update_session_state":
            old, updated = record["state"], records.move(record, params[1])
            indexes.move(record["id"], old, record["state"])
            return updated
        case "update_session_metadata":
            return records.annotate(record, params[1])
        case "end_session":
            del sessions[record["id"]]
            indexes.remove(record, record["state"])
            return records.finish(record)
    raise RequestError("unknown_method")


def create(fields: dict[str, Any]) -> dict[str, Any]:
    """A new session."""
    record = records.new_record(fields)
    sessions[record["id"]] = record
    indexes.add(record)
    return {"id": record["id"], "version": 1, "state": record["state"], "created": True}


if __name__ == "__main__":
    serve(answer)
