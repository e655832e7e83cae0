"""The registry's part that looks at many sessions: lists, counts, limits explained, watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from sessiond.actors.arguments import (
    CountArguments,
    ExplainArguments,
    Fields,
    FilterArguments,
    ListArguments,
)
from sessiond.actors.audience import audience_of
from sessiond.actors.counting import Counting
from sessiond.actors.deep_counting import DeepCounting
from sessiond.actors.deep_explaining import DeepExplaining
from sessiond.actors.deep_listing import DeepListing
from sessiond.actors.explaining import Explaining
from sessiond.actors.future import Pending
from sessiond.actors.herald import HeraldActor
from sessiond.actors.listing import Listing
from sessiond.actors.loading import Loading
from sessiond.actors.params import (
    CountQuery,
    ExplainOptions,
    ListQuery,
    WatchQuery,
    checked,
    checked_limit,
)
from sessiond.actors.passive import PassiveDirectory
from sessiond.actors.results import Count, Explanation, Page, Watched
from sessiond.actors.service import ServiceActor
from sessiond.actors.surveyor import SurveyorActor

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykka import ActorRef

    from sessiond.actors.context import Context, Listed
    from sessiond.actors.events import Event
    from sessiond.actors.loading import Deep
    from sessiond.actors.record import Session
    from sessiond.actors.surveyor import WaitingWork, Work

__all__ = ["QueryRegistry"]

R = TypeVar("R")


class QueryRegistry(ServiceActor):
    """Answers what takes more than a look at one session, in steps if it is much."""

    _surveyor: SurveyorActor
    herald: HeraldActor

    # The methods of the contract

    def list_sessions(self, /, *, fields: Fields | None = None, **query: Unpack[ListArguments]) -> Page:
        """One page of the sessions that match; the keys are those of ``params.ListQuery``."""
        return self.page(checked({"fields": fields, **query}, ListQuery))

    def count_sessions(self, /, **query: Unpack[CountArguments]) -> Count:
        """How many sessions match; the keys are those of ``params.CountQuery``.

        Raises:
            LimitExceeded: more groups than an answer may have.
        """
        return self.number(checked(query, CountQuery))

    def explain_limit(self, name: str, /, **options: Unpack[ExplainArguments]) -> Explanation:
        """How near the limit of that name is, and the live sessions behind it; see ``params.ExplainOptions``.

        Raises:
            NotFound: no limit has that name.
            InvalidRequest: the limit is about each value on its own and no ``value`` is given.
        """
        return self.explain(checked_limit(name), checked(options, ExplainOptions))

    def watch(
        self,
        audience: ActorRef[Any] | Callable[[Event], object],
        /,
        *,
        since: int | None = None,
        instance: str | None = None,
        snapshot: bool = True,
        **filters: Unpack[FilterArguments],
    ) -> Watched:
        """Tell every change of the sessions that match to ``audience``: the events of ``sessiond.actors.events``.

        Args:
            audience: an actor, which is told, or a function, which is called in a turn and must not wait for anything.
            since: go on after the change of this number; None is from now on, or from a snapshot.
            instance: the run of the service that the number is of.
            snapshot: tell first what there is.
            filters: those of ``params.Filters``, but for ``suspect``.

        Raises:
            LimitExceeded: there are as many watches as may be.
        """
        query = checked({"from": since, "instance": instance, "snapshot": snapshot, **filters}, WatchQuery)
        return self.herald.watch(query, audience_of(audience))

    def unwatch(self, watch: int, /) -> None:
        """End a watch.

        Raises:
            NotFound: there is none of this number any more.
        """
        self.herald.unwatch(watch)

    # The same with checked arguments

    def page(self, query: ListQuery) -> Page:
        """``list_sessions`` with a checked query."""
        directory, instance = self._context.directory, self._context.instance
        if isinstance(directory, PassiveDirectory):
            return self._deep(DeepListing(query, directory, _view, instance))
        return self._work(Listing(query, directory, _view, instance))

    def number(self, query: CountQuery) -> Count:
        """``count_sessions`` with a checked query."""
        directory = self._context.directory
        if isinstance(directory, PassiveDirectory):
            return self._deep(DeepCounting(query, directory))
        return self._work(Counting(query, directory))

    def explain(self, name: str, options: ExplainOptions) -> Explanation:
        """``explain_limit`` with checked arguments."""
        context = self._context
        if context.residence is not None:
            deep = DeepExplaining(name, options, context.admission, context.directory, _view, context.instance)
            return self._deep(deep)
        return self._work(Explaining(name, options, context.admission, context.directory, _view, context.instance))

    def work(self, begin: Callable[[Context], Work[R]]) -> R:
        """What comes of the work that ``begin`` begins on the books, done in steps."""
        return self._work(begin(self._context))

    # Inside

    def _deep(self, work: Deep[R]) -> R:
        """``_work`` for which records of sessions are read that are not in memory."""
        residence = self._context.residence
        assert residence is not None
        return self._work(Loading(work, residence.read, residence.show))

    def _work(self, work: WaitingWork[R]) -> R:
        """Do the first step of a piece of work, and leave the rest, if any, to the surveyor."""
        result = work.step()
        if result is None or isinstance(result, Pending):
            return self._surveyor.proceed(work, result)
        return result


def _view(session: Listed) -> Session:
    return session.get()
