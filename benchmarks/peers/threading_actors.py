"""The obvious implementation: a stock pykka ``ThreadingActor`` per session, behind asyncio streams.

The event loop asks the session's actor and waits for it. That blocks the loop, and still takes less of the processor
than to wait in a thread pool, where each request costs two more switches of threads. As the peer in plain_dict.py it
checks transitions and keeps indexes, and does nothing else that sessiond does.
"""

from __future__ import annotations

from typing import Any

import pykka

from benchmarks.peers import records
from benchmarks.peers.serving import RequestError, serve


class Session(pykka.ThreadingActor):
    """One session, in a thread of its own."""

    use_daemon_thread = True  # so that the process can be ended while sessions live

    def __init__(self, record: records.Record) -> None:
        super().__init__()
        self.record = record

    def on_receive(self, message: tuple[Any, ...]) -> Any:
        """Carry out one request of this session."""
        match message:
            case ("get_session", _):
                return self.record
            case ("touch_session", _):
                return records.touch(self.record)
            case ("update_session_state", _, state):
                old = self.record["state"]
                return old, records.move(self.record, state)
            case ("update_session_metadata", _, metadata):
                return records.annotate(self.record, metadata)
            case ("end_session", *_):
                self.stop()
                return self.record["state"], records.finish(self.record)
        raise RequestError("unknown_method")


sessions: dict[str, tuple[pykka.ActorRef[Session], records.Record]] = {}
indexes = records.Indexes()


def answer(method: str, params: list[Any]) -> Any:
    """What ``method`` answers."""
    if method == "create_session":
        return create(params[0])
    known = sessions.get(params[0])
    if known is None:
        raise RequestError("not_found")
    ref, record = known
    result: Any = ref.ask((method, *params))
    match method:
        case "update_session_state":
            old, result = result
            indexes.move(record["id"], old, params[1])
        case "end_session":
            old, result = result
            del sessions[record["id"]]
            indexes.remove(record, old)
    return result


def create(fields: dict[str, Any]) -> dict[str, Any]:
    """A new session, and the thread of its actor."""
    record = records.new_record(fields)
    sessions[record["id"]] = Session.start(record), record
    indexes.add(record)
    return {"id": record["id"], "version": 1, "state": record["state"], "created": True}


if __name__ == "__main__":
    serve(answer)
