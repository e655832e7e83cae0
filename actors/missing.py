"""What the service has and a gateway has not named: a page of it, looked for in steps."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from sessiond.actors.bitmap import CHUNK_SHIFT, offsets
from sessiond.actors.context import Known, Listed
from sessiond.actors.directory import Directory
from sessiond.actors.errors import InvalidRequest
from sessiond.actors.incarnation import Incarnation
from sessiond.actors.params import Filters
from sessiond.actors.results import Synced
from sessiond.actors.selection import STEP_BUDGET, Selection
from sessiond.actors.session import SessionActor
from sessiond.actors.standing import newest
from sessiond.actors.sync import Sync

__all__ = ["MAX_MISSING", "Missing"]

MAX_MISSING = 256
"""Sessions on a page, as many as a part can name."""


class Missing:
    """Completes the answer to the last part of a sync; a ``surveyor.Work``."""

    def __init__(
        self,
        sync: Sync,
        directory: Directory[Listed],
        holders: Collection[Incarnation] | None,
        answer: Synced,
        cursor: str | None,
    ) -> None:
        """Look at the live sessions from ``cursor`` on.

        Args:
            sync: what was named, and by whom.
            directory: the sessions.
            holders: what others than these hold is none of the gateway's business; None if all of it is.
            answer: what the answer says already.
            cursor: that of the page before, None for the first one.

        Raises:
            InvalidRequest: the cursor is none.
        """
        self._sync = sync
        self._holders = holders
        self._told = answer
        self._selection = Selection(Filters(gateway=sync.gateway), directory)
        self._table = directory.table
        self._next = 0 if cursor is None else _place(cursor)
        self._found: list[str] = []

    def step(self) -> Synced | None:
        """See ``Work``."""
        left = STEP_BUDGET
        named = self._sync.named.chunks
        for number, word in self._selection.words(self._next):
            left -= 1
            for offset in offsets(word & ~named.get(number, 0)):
                self._next = number << CHUNK_SHIFT | offset
                if self._next > self._sync.last_seq:
                    return self._answer(None)
                if len(self._found) == MAX_MISSING:
                    return self._answer(str(self._next))
                left -= 1
                self._look(self._table.chunk(number)[offset])
            self._next = (number + 1) << CHUNK_SHIFT
            if left <= 0:
                return None
        return self._answer(None)

    def _look(self, entry: Listed) -> None:
        session = newest(entry)
        if self._is_missed(session):
            self._found.append(session.record.id)

    def _is_missed(self, session: Known) -> bool:
        return isinstance(session, SessionActor) and session.is_missed(self._sync.began, self._holders)

    def _answer(self, cursor: str | None) -> Synced:
        return msgspec.structs.replace(self._told, missing=self._found, cursor=cursor)


def _place(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 20):  # noqa: PLR2004  (digits of 64 bits)
        raise InvalidRequest("cursor: not one of this sync", field="cursor")
    return int(cursor)
