"""What a gateway meets at a service, in memory: its registration, its sessions and their sync, and nothing else."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
from scripted import Refusal, Scripted, scripted

from sessiond import Session

__all__ = ["Book", "serving_gateways"]

PAGE = 3
"""Ids of missing sessions in an answer."""


class Book:
    """The sessions of a gateway, as a service keeps them."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.epoch: str | None = None
        self.named: set[str] = set()
        self.parts: list[int] = []
        """How many calls each request of a sync named."""
        self._ids = itertools.count(1)

    def add(self, external_id: str | None, *, state: str = "active", epoch: str | None = "e1", **fields: Any) -> str:
        """A session that is there."""
        session = dict.fromkeys(Session.__struct_fields__)
        session |= {"id": f"s{next(self._ids)}", "type": "sip", "state": state, "gateway": "gw-1", "epoch": epoch}
        session |= {"external_id": external_id, "metadata": {}, "version": 1, "suspect": False}
        session |= dict.fromkeys(("created_at", "updated_at", "last_activity_at"), 1.0) | fields
        added = msgspec.convert(session, Session)
        self.sessions[added.id] = added
        return added.id

    @property
    def live(self) -> dict[str | None, str]:
        """The states of the live ones."""
        return {each.external_id: each.state for each in self.sessions.values() if each.state != "ended"}

    # As on the wire

    def register_gateway(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        self.epoch = options["epoch"]
        return {"gateway": name, "epoch": self.epoch, "outcome": "registered", "lease": 30.0, "grace": 120.0} | {
            "sessions": 0,
            "suspect": 0,
            "instance": "i",
        }

    def create_session(self, fields: dict[str, Any]) -> dict[str, Any]:
        id_ = self.add(fields["external_id"], state=fields["state"], epoch=self.epoch)
        return {"id": id_, "version": 1, "state": fields["state"], "created": True}

    def get_session(self, id_: str) -> dict[str, Any]:
        if id_ not in self.sessions:
            raise Refusal("not_found", id=id_)
        return msgspec.to_builtins(self.sessions[id_])

    def update_session_state(self, id_: str, state: str) -> dict[str, Any]:
        return self._change(id_, state=state)

    def end_session(self, id_: str, reason: str | None, options: dict[str, Any] | None = None) -> dict[str, Any]:
        if self.sessions[id_].version != (options or {}).get("if_version", self.sessions[id_].version):
            raise Refusal("version_conflict")
        self._change(id_, state="ended", end_reason=reason)
        return {"version": 2, "ended_at": 1.0, "duration": 0.0, "talk_duration": 0.0}

    def _change(self, id_: str, **changes: Any) -> dict[str, Any]:
        session = self.sessions[id_]
        self.sessions[id_] = msgspec.structs.replace(session, version=session.version + 1, **changes)
        return {"version": session.version + 1}

    def sync_sessions(self, gateway: str, options: dict[str, Any]) -> dict[str, Any]:
        names = options.get("external_ids", [])
        known = {each.external_id: each for each in self.sessions.values()}
        if "cursor" not in options:
            self.named = (self.named if "sync" in options else set()) | set(names)
            self.parts.append(len(names))
        ended = [each for name in names if (each := known.get(name)) is not None and each.state == "ended"]
        answer: dict[str, Any] = {
            "sync": "7",
            "unknown": [name for name in names if name not in known],
            "ended": [{key: getattr(each, key) for key in ("id", "external_id", "end_reason")} for each in ended],
            "missing": [],
            "cursor": None,
        }
        if options.get("final", True):
            missing = [each.id for each in self.sessions.values() if each.external_id not in self.named]
            begin = int(options.get("cursor", 0))
            answer["missing"] = [id_ for id_ in missing if self.sessions[id_].state != "ended"][begin : begin + PAGE]
            answer["cursor"] = str(begin + PAGE) if begin + PAGE < len(missing) else None
        return answer


@contextlib.contextmanager
def serving_gateways() -> Iterator[tuple[Scripted, Book]]:
    """A peer with an empty book, until the block ends."""
    book = Book()
    methods = ("register_gateway", "sync_sessions", "create_session", "get_session", "update_session_state")
    with scripted(**{name: getattr(book, name) for name in (*methods, "end_session")}) as peer:
        yield peer, book
