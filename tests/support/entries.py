"""Sessions as the directory's tests need them: a record under a sequence number, and nothing that acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from sessiond.actors.directory import Directory
from sessiond.actors.record import Session


@dataclass
class Entry:
    seq: int
    record: Session


def add(directory: Directory[Entry], **fields: Any) -> Entry:
    """Add the next session: id ``id-1`` and so on, and active unless ``fields`` say otherwise."""
    seq = directory.next_seq()
    given = {"id": f"id-{seq}", "type": "sip", "state": "active", "metadata": {}, "created_at": 0.0, **fields}
    entry = Entry(seq, Session(**dict.fromkeys(Session.__struct_fields__) | given))
    directory.add(entry)
    return entry


def change_state(directory: Directory[Entry], entry: Entry, state: str) -> None:
    """Change a session's state."""
    old, entry.record = entry.record, replace(entry.record, state=state)
    directory.state_changed(entry.seq, old.state, state)


def end(directory: Directory[Entry], entry: Entry) -> Entry:
    """End a session; what is left of it."""
    ended = Entry(entry.seq, replace(entry.record, state="ended", end_reason="normal"))
    directory.end(ended, entry.record)
    return ended


def forget(directory: Directory[Entry], entry: Entry) -> None:
    """Forget a session, live or ended."""
    ended = entry if entry.record.state == "ended" else end(directory, entry)
    directory.forget(entry.seq, ended.record.id, ended.record.external_id)


def change(directory: Directory[Entry], entry: Entry, **fields: Any) -> None:
    """Change fields of a session other than its state."""
    old, entry.record = entry.record, replace(entry.record, **fields)
    directory.changed(entry.seq, old, entry.record)
