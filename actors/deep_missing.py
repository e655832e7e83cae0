"""What the service has and a gateway has not named, where sessions are passive."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from sessiond.actors.context import Listed
from sessiond.actors.incarnation import Incarnation
from sessiond.actors.missing import Missing
from sessiond.actors.passive import PASSIVE, PassiveDirectory
from sessiond.actors.record import Session
from sessiond.actors.results import Synced
from sessiond.actors.standing import newest
from sessiond.actors.sync import Sync

__all__ = ["DeepMissing"]


class DeepMissing(Missing):
    """Completes the answer to the last part of a sync; a ``loading.Deep``.

    Who holds a passive session is known. Its id is not, and whether it was heard of since the sync began neither: it
    may have left memory just after that. So its record is read.
    """

    def __init__(
        self,
        sync: Sync,
        directory: PassiveDirectory[Listed],
        holders: Collection[Incarnation] | None,
        known: Collection[Incarnation],
        answer: Synced,
        cursor: str | None,
    ) -> None:
        """See ``Missing``; ``known`` are all the incarnations of the gateway."""
        super().__init__(sync, directory, holders, answer, cursor)
        self.wanted: list[int] = []
        """The passive sessions whose records are to be given before the next step."""
        self._directory = directory
        self._holders = holders
        self._others = () if holders is None else [each for each in known if each not in holders]
        self._places: dict[int, int] = {}
        """Where on the page the ids of passive sessions belong, by number."""
        self._page: Synced | None = None

    def step(self) -> Synced | None:
        """See ``Missing``; if it is None, there may be some ``wanted``."""
        if self._page is None:
            self._page = super().step()
            if self._page is None:
                return None
            self.wanted = [*self._places]
        if self.wanted:
            return None
        return msgspec.structs.replace(self._page, missing=[found for found in self._found if found])

    def give(self, records: Mapping[int, Session]) -> None:
        """Take the records of those ``wanted``, as they are shown; there is none of one that has ended."""
        for seq in self.wanted:
            entry = self._directory.at(seq)
            record = records.get(seq)
            if entry is PASSIVE:
                if record is not None and record.last_activity_at < self._sync.began.wall:
                    self._found[self._places[seq]] = record.id
            elif entry is not None and self._is_missed(session := newest(entry)):
                self._found[self._places[seq]] = session.record.id
        self.wanted = []

    def _look(self, entry: Listed) -> None:
        if entry is not PASSIVE:
            super()._look(entry)
        elif not any(self._next in other.sessions for other in self._others):
            self._places[self._next] = len(self._found)
            self._found.append("")
