"""From what a store has of a session to its actor, and to what others see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sessiond.actors.changes import shown
from sessiond.actors.deadlines import Deadline, Timeouts, held_deadline, next_deadline
from sessiond.actors.image import unpack
from sessiond.actors.incarnation import Incarnation
from sessiond.actors.requests import RequestKey
from sessiond.actors.sharing import SharedValues
from sessiond.actors.standing import Standing
from sessiond.actors.store import StoreError

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context
    from sessiond.actors.image import Image
    from sessiond.actors.record import Session
    from sessiond.actors.session import SessionActor
    from sessiond.actors.store import Live

__all__ = ["MAX_OVERRIDES", "Found", "Revived", "Reviver"]

MAX_OVERRIDES = 1024
"""With so many sets of timeouts the sharing of them starts anew; a gateway has a handful."""


class Revived(NamedTuple):
    """A session that is in memory again."""

    session: SessionActor
    """Its actor, with its standing; the books do not know it yet."""
    digest: bytes | None
    """Of the parameters of the request that created it, if that can be repeated."""


class Found(NamedTuple):
    """A session that is not in memory."""

    record: Session
    holder: Incarnation | None
    deadline: Deadline | None
    request: RequestKey | None
    """What created it, if that can be repeated."""


class Reviver:
    """Makes sessions as they were, but that the time meanwhile has passed."""

    def __init__(self, context: Context, session_class: type[SessionActor]) -> None:
        """Make actors of ``session_class`` for these books."""
        self._context = context
        self._session_class = session_class
        self._timeouts: dict[tuple[float, float, float], Timeouts] = {}
        self._shared = SharedValues()

    def revive(self, live: Live) -> Revived:
        """The session that ``live`` tells of.

        Raises:
            StoreError: it tells of none.
        """
        image = _read(live)
        now = self._context.clock.read()
        record = self._sharing(image.record)
        request_id, digest = image.request or (None, None)
        session = self._session_class(
            self._context,
            live.seq,
            record,
            self._own(image),
            _origin(record, now),
            now.earlier(live.touched),
            None if request_id is None else RequestKey(record.gateway, request_id),
            self._holder(record, now) if image.is_held else None,
            image.timeline,
        )
        session.standing = Standing.of(session)
        return Revived(session, digest)

    def show(self, live: Live) -> Session:
        """The session that ``live`` tells of, as it is shown.

        Raises:
            StoreError: it tells of none.
        """
        record, holder, deadline, _ = self.read(live)
        expires_at = None if deadline is None else deadline.start.wall + deadline.seconds
        return shown(record, live.touched, expires_at, suspect=holder is not None and holder.loss is not None)

    def read(self, live: Live) -> Found:
        """What is to be known of the session that ``live`` tells of while it is not in memory.

        Raises:
            StoreError: it tells of none.
        """
        image = _read(live)
        now = self._context.clock.read()
        record, timeouts = image.record, self._own(image)
        touched, origin = now.earlier(live.touched), _origin(record, now)
        holder = self._holder(record, now) if image.is_held else None
        if holder is None:
            deadline = next_deadline(record.state, timeouts, origin, touched)
        else:
            deadline = held_deadline(record.state, timeouts, origin, touched, holder.found, holder.loss)
        request = None if image.request is None else RequestKey(record.gateway, image.request[0])
        return Found(record, holder, deadline, request)

    def _own(self, image: Image) -> Timeouts:
        if image.timeouts is None:
            return self._context.timeouts
        if len(self._timeouts) >= MAX_OVERRIDES:
            self._timeouts.clear()
        return self._timeouts.setdefault(image.timeouts, Timeouts(*image.timeouts))

    def _sharing(self, record: Session) -> Session:
        """The record with one copy of each string that many have."""
        names = self._context.directory.names
        gateway = None if record.gateway is None else names.setdefault(record.gateway, record.gateway)
        self._shared.share(record.metadata)
        return msgspec.structs.replace(record, type=names.setdefault(record.type, record.type), gateway=gateway)

    def _holder(self, record: Session, now: Instant) -> Incarnation | None:
        """The incarnation that holds a session. One that is not known lives, for whoever then looks to find it lost."""
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


def _read(live: Live) -> Image:
    try:
        return unpack(live.image)
    except msgspec.MsgspecError as error:
        raise StoreError(f"The session of number {live.seq} cannot be read: {error}") from None


def _origin(record: Session, now: Instant) -> Instant:
    return now.earlier(record.created_at if record.answered_at is None else record.answered_at)
