"""A gateway on pynvim's msgpack-rpc: one call from its beginning to its end. Prints what it saw as JSON."""

from __future__ import annotations

import json
import os

from pynvim.msgpack_rpc import tcp_session

session = tcp_session("127.0.0.1", int(os.environ["PORT"]))
seen = {}
address = {"gateway": "pynvim", "external_id": "a84b4c76e66710@pc33"}
seen["created"] = session.request(
    "create_session",
    address | {"type": "sip", "state": "ringing", "caller": "+15550100", "metadata": {"codec": "opus", "attempt": 1}},
)
session_id = seen["created"]["id"]
session.request("update_session_state", session_id, "active", async_=True)
seen["stale"] = session.request("update_session_state", address, "ringing")
changes = {"codec": None, "Zoë": True}
seen["changed"] = session.request("update_session_metadata", session_id, changes, {"if_version": 2})
seen["session"] = session.request("get_session", session_id)
seen["pongs"] = sum(session.request("ping") == "pong" for _ in range(100))
try:
    session.request("update_session_state", session_id, "initializing")
except Exception as error:  # noqa: BLE001
    seen["error"] = str(error)
seen["listed"] = session.request("list_sessions", {"gateway": "pynvim", "fields": ["id", "state"]})
seen["ended"] = session.request("end_session", session_id, None, {"sip_code": 200})
seen["left"] = session.request("count_sessions", {"gateway": "pynvim"})
session.close()
print(json.dumps(seen))  # noqa: T201
