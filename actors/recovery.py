"""Recovery: the sessions that a store has kept are taken into the books of a service that has just started."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from sessiond.actors.deadlines import Timeouts
from sessiond.actors.image import unpack
from sessiond.actors.incarnation import Incarnation
from sessiond.actors.requests import RequestKey
from sessiond.actors.retention import EndedSession
from sessiond.actors.retention import pack as pack_record
from sessiond.actors.sharing import SharedValues
from sessiond.actors.standing import Standing
from sessiond.actors.store import StoreError

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context
    from sessiond.actors.image import Image
    from sessiond.actors.record import Session
    from sessiond.actors.session import SessionActor
    from sessiond.actors.store import Ending, Live, Recovered

__all__ = ["Recovery"]

STEP = 256
"""Sessions taken in before whoever else has something to do may do it."""


class Recovery:
    """Has everything be as it was, but that no gateway is there yet, and that the time meanwhile has passed."""

    def __init__(self, context: Context, session_class: type[SessionActor]) -> None:
        """Fill these books, which are empty."""
        self._context = context
        self._session_class = session_class
        self._timeouts: dict[tuple[float, float, float], Timeouts] = {}
        self._shared = SharedValues()
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
                self._revive(each)
                count += 1
            if number % STEP == 0:
                yield count
        yield count

    def _retained(self, ending: Ending, now: Instant) -> EndedSession:
        """What is left of a session that has ended, for as long as it would have been kept."""
        final = ending.final
        request = self._recall(final, ending.request_id, ending.digest)
        kept = max(0.0, now.wall - final.updated_at)  # a clock that was set back keeps nobody for longer
        forget_at = now.monotonic + self._context.settings.retention - kept
        ended = EndedSession(
            ending.seq, final.id, final.external_id, pack_record(final), ending.timeline, request, forget_at
        )
        self._context.retention.take_back(ended)
        return ended

    def _revive(self, live: Live) -> None:
        try:
            image = unpack(live.image)
        except msgspec.MsgspecError as error:
            raise StoreError(f"The session of number {live.seq} cannot be read: {error}") from None
        context = self._context
        now = context.clock.read()
        record = self._sharing(image.record)
        request_id, digest = image.request or (None, None)
        since = record.created_at if record.answered_at is None else record.answered_at
        incarnation = self._holder(record, now) if image.is_held else None
        session = self._session_class(
            context,
            live.seq,
            record,
            self._own(image),
            now.earlier(since),
            now.earlier(max(live.touched, image.touched)),
            self._recall(record, request_id, digest),
            incarnation,
            image.timeline,
        )
        session.standing = Standing(session)
        context.directory.add(session.standing)
        context.directory.by_id[record.id] = session
        if incarnation is not None:
            incarnation.sessions.add(live.seq)

    def _recall(self, record: Session, request_id: str | None, digest: bytes | None) -> RequestKey | None:
        if request_id is None or digest is None:
            return None
        key = RequestKey(record.gateway, request_id)
        self._context.requests.recall(key, record.id, digest)
        return key

    def _own(self, image: Image) -> Timeouts:
        if image.timeouts is None:
            return self._context.timeouts
        return self._timeouts.setdefault(image.timeouts, Timeouts(*image.timeouts))

    def _sharing(self, record: Session) -> Session:
        """The record with one copy of each string that many have."""
        names = self._context.directory.names
        gateway = None if record.gateway is None else names.setdefault(record.gateway, record.gateway)
        self._shared.share(record.metadata)
        return msgspec.structs.replace(record, type=names.setdefault(record.type, record.type), gateway=gateway)

    def _holder(self, record: Session, now: Instant) -> Incarnation | None:
        """The incarnation that holds a session. It lives, for whoever then looks to find it lost."""
        context = self._context
        if record.gateway is None:
            return None
        holder = context.incarnations.find(record.gateway, record.epoch)
        if holder is None:
            author = context.authors.number(record.gateway, record.epoch)
            holder = Incarnation(record.gateway, record.epoch, author, now)
            # Who lived side by side is forgotten; where gateways may, each is taken for one that did: none of them
            # then says by what it leaves out that the calls of another one are over.
            holder.has_shared = context.gateways.policy == "share"
            context.incarnations.add(holder)
        return holder
