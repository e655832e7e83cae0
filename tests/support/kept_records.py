"""A store's database with records of calls in it, as sinks meet it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from sessiond.actors import history
from sessiond.stores.database import connect
from sessiond.stores.schema import migrate

__all__ = ["KeptRecords"]

WALL = 1_700_000_000.0
"""When calls end unless a test says otherwise: what ``ManualClock`` shows at first."""


def timeline(begin: float = WALL - 60, author: int = 4) -> bytes:
    """The history of a short call."""
    return history.noted(history.begun("active", author, begin), history.ENDED_FOR, author, begin + 60, b"normal")


class KeptRecords:
    """Keeps records as a store does, in a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._connection = connect(self.path)
        migrate(self._connection, self.path)
        self._connection.execute("INSERT INTO authors VALUES (4, 'gw-1', 'boot-7')")
        self._last = 0

    def close(self) -> None:
        self._connection.close()

    def add(self, count: int = 1, **fields: Any) -> list[str]:
        """Keep the records of ``count`` calls; their ids. Numbers have gaps, as those of stores do."""
        return [self._add(fields) for _ in range(count)]

    def _add(self, fields: dict[str, Any]) -> str:
        self._last += 3
        values: dict[str, Any] = {
            "number": self._last,
            "seq": self._last,
            "id": f"call-{self._last:04}",
            "type": "sip",
            "metadata": {},
            "created_at": WALL - 60,
            "updated_at": WALL,
            "answered_at": WALL - 50,
            "ended_at": WALL,
            "last_activity_at": WALL,
            "end_reason": "normal",
            "ended_by": "caller",
            "version": 3,
            "timeline": timeline(),
        } | fields
        values["metadata"] = msgspec.json.encode(values["metadata"]).decode()
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO records ({names}) VALUES ({marks})", list(values.values()))
        return values["id"]

    def delete(self, up_to: int) -> None:
        """Let the records up to this number go."""
        self._connection.execute("DELETE FROM records WHERE number <= ?", (up_to,))

    def author(self, number: int, gateway: str, epoch: str | None) -> None:
        """An author of histories has this number from now on."""
        self._connection.execute("INSERT INTO authors VALUES (?, ?, ?)", (number, gateway, epoch))
