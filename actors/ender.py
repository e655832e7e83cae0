"""The ender actor: ends many calls, a few at a time, so that no gateway has to hang up thousands at once."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from sessiond.actors.bulk import Allowance, Bulk
from sessiond.actors.errors import InvalidRequest, LimitExceeded, NotFound, Overloaded, SessiondError, Unavailable
from sessiond.actors.future import Pending
from sessiond.actors.params import CountQuery, EndQuery, ListQuery
from sessiond.actors.results import Count, EndedSessions, Page
from sessiond.actors.service import ServiceActor

if TYPE_CHECKING:
    from sessiond.actors.administrator import AdministratorActor
    from sessiond.actors.context import Context

__all__ = ["EnderActor"]

V = TypeVar("V")

TICK = 0.02
"""Seconds between two looks at what may be ended: short, so that ends are spread over the second."""
MOST = 64
"""Requests that are carried out at once: each may hold a page of ids for minutes, and counts before that."""


class Tick:
    """The ender's own timer."""


class _Request(NamedTuple):
    """Somebody's ``end_sessions``."""

    query: EndQuery
    pending: Pending[EndedSessions]


class EnderActor(ServiceActor):
    """Carries out ``end_sessions``, all requests in rotation."""

    name = "ender"

    def __init__(self, context: Context, registry: AdministratorActor) -> None:
        """End sessions of ``registry``."""
        super().__init__(context)
        self._registry = registry
        rate = context.commanding.rate
        self._allowance = Allowance(rate, 2 * TICK * rate, context.clock.read().monotonic)
        self._bulks: deque[tuple[Bulk, _Request]] = deque()
        """Those of which there are some left to end."""
        self._under_way: set[Pending[EndedSessions]] = set()
        self._is_wound = False

    def end(self, query: EndQuery) -> EndedSessions:
        """``end_sessions`` with a checked query; what it returns is pending. Called in a turn.

        Raises:
            InvalidRequest: it is about ended sessions.
            Overloaded: as many requests are carried out as may be.
        """
        if query.ended is not False:
            raise InvalidRequest("ended: only live sessions can be ended", field="ended")
        if len(self._under_way) >= MOST:
            raise Overloaded("As many calls of end_sessions are carried out as may be")
        count = self._registry.number(CountQuery(**query.given))
        request = _Request(query, Pending())
        self._under_way.add(request.pending)
        request.pending.then(lambda *_: self._under_way.discard(request.pending))
        self._go_on(request, count, functools.partial(self._counted, request))
        return cast("EndedSessions", request.pending)

    def close(self) -> None:
        """The service stops: nothing more is ended."""
        for pending in list(self._under_way):
            pending.fail(Unavailable("The service is stopping"))
        self._bulks.clear()

    # As an actor

    def resume(self) -> None:
        """See ``ServiceActor``."""
        self._is_wound = False
        self._wind()

    def on_receive(self, message: object) -> object:
        """See ``pykka.Actor``."""
        if not isinstance(message, Tick):
            return super().on_receive(message)
        self._is_wound = False
        self._end_some()
        self._wind()
        return None

    def _wind(self) -> None:
        if self._bulks and not self._is_wound:
            self._is_wound = True
            self._tell_later(TICK, Tick())

    # The steps of a request

    def _go_on(self, request: _Request, value: V | Pending[V], then: Callable[[V], None]) -> None:
        """Go on with ``then`` once there is a value."""
        if isinstance(value, Pending):
            value.then(lambda found, error: self._take(request, error, lambda: then(cast("V", found))))
        else:
            self._take(request, None, lambda: then(value))

    def _take(self, request: _Request, error: BaseException | None, step: Callable[[], None]) -> None:
        """Take the next step of a request; whatever goes wrong in it is the answer."""
        if error is not None:
            request.pending.fail(error)
            return
        try:
            step()
        except SessiondError as failure:
            request.pending.fail(failure.bare())
        except BaseException as failure:  # noqa: BLE001  (the request's crash, not the ender's)
            request.pending.fail(self._crashed(failure))

    def _counted(self, request: _Request, found: Count) -> None:
        query = request.query
        if query.most is not None and found.count > query.most:
            raise LimitExceeded("More sessions match", limit="most", maximum=query.most, current=found.count)
        page = self._registry.page(ListQuery(**query.given, limit=query.limit, cursor=query.cursor, fields=["id"]))
        self._go_on(request, page, functools.partial(self._listed, request, found.count))

    def _listed(self, request: _Request, matched: int, page: Page) -> None:
        ids = [cast("dict[str, str]", each)["id"] for each in page.sessions]
        if request.query.dry_run:
            request.pending.set(EndedSessions(matched, dry_run=True, ids=ids))
        elif not ids:
            request.pending.set(Bulk(ids, matched, page.cursor).result())
        else:
            self._bulks.append((Bulk(ids, matched, page.cursor), request))
            self._end_some()
            self._wind()

    # The ends

    def _end_some(self) -> None:
        now = self._context.clock.read().monotonic
        while self._bulks and self._allowance.take(now):
            bulk, request = self._bulks.popleft()
            if request.pending.is_abandoned:  # whoever asked for it is gone; another one may take its share
                self._under_way.discard(request.pending)
                continue
            session_id = bulk.next()
            if bulk.left:
                self._bulks.append((bulk, request))
            self._end(bulk, request, session_id)

    def _end(self, bulk: Bulk, request: _Request, session_id: str) -> None:
        def done(_ended: object, error: BaseException | None) -> None:
            bulk.done(session_id, None if isinstance(error, NotFound) else error)
            if bulk.is_over and request.pending in self._under_way:
                request.pending.set(bulk.result())

        try:
            ended: object = self._registry.terminate(session_id)
        except BaseException as error:  # noqa: BLE001  (the others are to be ended all the same)
            done(None, error if isinstance(error, SessiondError) else self._crashed(error))
        else:
            if isinstance(ended, Pending):
                ended.then(done)
            else:
                done(ended, None)
