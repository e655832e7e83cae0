"""``explain_limit`` where sessions are passive: the count is known, the sessions behind it may have to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from sessiond.actors.deep_listing import DeepListing
from sessiond.actors.directory import Directory, E
from sessiond.actors.explaining import Explaining
from sessiond.actors.params import ListQuery
from sessiond.actors.passive import PassiveDirectory
from sessiond.actors.record import Session

__all__ = ["DeepExplaining"]


class DeepExplaining(Explaining[E]):
    """The making of one page of an explanation, of a ``PassiveDirectory``; a ``loading.Deep``."""

    _listing: DeepListing[E]

    @property
    def wanted(self) -> list[int]:
        """See ``DeepWalk``."""
        return self._listing.wanted

    def give(self, records: Mapping[int, Session]) -> None:
        """See ``DeepWalk``."""
        self._listing.give(records)

    def _list(
        self, query: ListQuery, directory: Directory[E], view: Callable[[E], Session], instance: str
    ) -> DeepListing[E]:
        return DeepListing(query, cast("PassiveDirectory[E]", directory), view, instance)
