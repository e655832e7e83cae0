"""``explain_limit``: a count that a limit goes by, and the sessions behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, cast

from sessiond.actors.directory import Directory, E
from sessiond.actors.limits import Admission
from sessiond.actors.listing import Listing
from sessiond.actors.params import ExplainOptions, ListQuery
from sessiond.actors.record import Session
from sessiond.actors.results import Explanation
from sessiond.actors.selection import STEP_BUDGET

__all__ = ["Explaining"]


class Explaining(Generic[E]):
    """The making of one page of an explanation."""

    def __init__(
        self,
        name: str,
        options: ExplainOptions,
        admission: Admission,
        directory: Directory[E],
        view: Callable[[E], Session],
        instance: str,
    ) -> None:
        """Explain the limit ``name``; the rest is as for ``Listing``.

        Raises ``NotFound`` and ``InvalidRequest`` as ``Admission.find``, and ``InvalidRequest`` for a cursor of
        another explanation.
        """
        limit, value = admission.find(name, options.value)
        self._limit, self._value = limit, value
        self._admission = admission
        filters: dict[str, Any] = {limit.by: value} if limit.key is None else {"metadata": {limit.key: value}}
        query = ListQuery(**filters, limit=options.limit, cursor=options.cursor)
        self._listing = self._list(query, directory, view, instance)

    def _list(
        self, query: ListQuery, directory: Directory[E], view: Callable[[E], Session], instance: str
    ) -> Listing[E]:
        return Listing(query, directory, view, instance)

    def step(self, budget: int = STEP_BUDGET) -> Explanation | None:
        """A bounded piece of work; the explanation once it is done, with the count as of then, else None."""
        page = self._listing.step(budget)
        if page is None:
            return None
        limit, value = self._limit, self._value
        return Explanation(
            limit.name,
            limit.by,
            value,
            self._admission.current(limit, value),
            limit.concurrent,
            limit.per_second,
            cast("list[Session]", page.sessions),
            page.cursor,
        )
