"""Recovery: the sessions that a store has kept are taken into the books of a service that has just started."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from sessiond.actors.requests import RequestKey
from sessiond.actors.retention import EndedSession
from sessiond.actors.retention import pack as pack_record

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context
    from sessiond.actors.residence import Residence
    from sessiond.actors.reviving import Reviver
    from sessiond.actors.store import Ending, Live, Recovered

__all__ = ["Recovery"]

STEP = 256
"""Sessions taken in before whoever else has something to do may do it."""


class Recovery:
    """Has everything be as it was, but that no gateway is there yet."""

    def __init__(self, context: Context, reviver: Reviver, residence: Residence) -> None:
        """Fill these books, which are empty."""
        self._context = context
        self._reviver = reviver
        self._residence = residence
        self._last_seq = 0

    @property
    def last_seq(self) -> int:
        """The greatest number that a session has."""
        return self._last_seq

    def steps(self, recovered: Recovered) -> Iterator[int]:
        """Take in what a store has, a little at each step; how many sessions that makes.

        Raises:
            StoreError: what the store has is no session.
        """
        context = self._context
        for number, (gateway, epoch) in recovered.authors.items():
            context.authors.recall(number, gateway, epoch)
        now = context.clock.read()
        endings = recovered.ended(now.wall - context.settings.retention, context.settings.max_retained)
        ended = sorted((self._retained(each, now) for each in endings), key=attrgetter("seq"))
        live: Iterator[Live | EndedSession] = (each for batch in recovered.live() for each in batch)
        count = 0
        for number, each in enumerate(heapq.merge(live, ended, key=attrgetter("seq")), 1):
            self._last_seq = each.seq
            if isinstance(each, EndedSession):
                context.directory.add_ended(each)
            else:
                self._take_in(each)
                count += 1
            if number % STEP == 0:
                yield count
        yield count

    def _retained(self, ending: Ending, now: Instant) -> EndedSession:
        """What is left of a session that has ended, for as long as it would have been kept."""
        final = ending.final
        request = None
        if ending.request_id is not None and ending.digest is not None:
            request = RequestKey(final.gateway, ending.request_id)
            self._context.requests.recall(request, final.id, ending.digest)
        kept = max(0.0, now.wall - final.updated_at)  # a clock that was set back keeps nobody for longer
        forget_at = now.monotonic + self._context.settings.retention - kept
        ended = EndedSession(
            ending.seq, final.id, final.external_id, pack_record(final), ending.timeline, request, forget_at
        )
        self._context.retention.take_back(ended)
        return ended

    def _take_in(self, live: Live) -> None:
        """A session is there; one that would soon leave memory does not get there, or very many would not fit."""
        if not self._residence.has_place_for(live):
            self._residence.take_in_passive(live)
            return
        context = self._context
        session, digest = self._reviver.revive(live)
        assert session.standing is not None
        context.directory.add(session.standing)
        context.directory.by_id[session.record.id] = session
        if session.request is not None and digest is not None:
            context.requests.recall(session.request, session.record.id, digest)
        if session.incarnation is not None:
            session.incarnation.sessions.add(session.seq)
        self._residence.take_in(session.standing)
