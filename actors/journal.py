"""The journal: what has been changed and not been acknowledged by the store, and who waits for that.

Theory of operation
-------------------
A session moves to its new record in its turn and goes on from there; the next change of it need not wait. Everything
that follows outside of it waits: the change is handed to the store with the session's image, and joins a queue. When
the store has acknowledged it, the change is *settled*: the directory, the counts and the watchers learn of it, and the
replies that depend on it are given. So there are two views of a session with changes on their way: ``by_id`` has its
actor, whose record is the newest and which only its own requests meet, and the directory's table and indexes have its
``Standing``, with the record that was acknowledged last.

Rules that nobody may break
---------------------------
1. Whatever is told about a session in a turn of it is told by ``turn``, which holds the answer back, be it a result or
   an error, while any change of the session is not settled: what the answer is based on may still be lost.
2. Changes are settled in the order in which they were handed over. A store that fails has lost all that are not
   settled; ``failed`` takes every session back to its standing, and everybody who waits is told ``Unavailable``.
3. A change that cannot be handed over raises before anything outside of the session has changed, and ``turn`` takes
   the session back.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from sessiond.actors.errors import SessiondError, Unavailable
from sessiond.actors.future import Held
from sessiond.actors.image import pack
from sessiond.actors.lifecycle import dismiss
from sessiond.actors.on_way import Begun, Change, Changed, Ended
from sessiond.actors.passive import PASSIVE
from sessiond.actors.retention import EndedSession
from sessiond.actors.standing import Standing, newest
from sessiond.actors.store import Ending, StoreError
from sessiond.actors.turns import run

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context, Known
    from sessiond.actors.incarnation import Incarnation
    from sessiond.actors.record import Session
    from sessiond.actors.requests import RequestKey
    from sessiond.actors.session import SessionActor
    from sessiond.actors.store import Store

__all__ = ["CHANGES", "NUMBERS", "SEQ", "Journal"]

R = TypeVar("R")

NUMBERS = 1_000_000
"""So many numbers, of sessions and of changes, are set aside at once: one that may have been given is never given
again, and the store need not be told of each."""
SEQ, CHANGES = "seq", "changes"
"""What the numbers that are set aside are called in the store."""


class _EndedAhead(EndedSession):
    """What its requests meet of a session that has ended, as long as that is not settled."""

    final: Session
    """The last record, which is packed when it is kept for longer."""
    journal: Any

    @property
    def record(self) -> Session:
        """The last record."""
        return self.final

    def run_turn(self, operation: Callable[[Any], R]) -> R:
        """See ``Performer``."""
        return self.journal.turn_of_ended(self, operation)  # type: ignore[no-any-return]


class Journal:
    """Has consequences follow when the store has acknowledged what they follow from: a ``Consequences``, a ``Keeper``.

    With a ``relaxed`` store they follow at once, and the store is told all the same.
    """

    def __init__(self, context: Context, store: Store, *, is_relaxed: bool) -> None:
        """Keep what happens in these books in ``store``."""
        self._context = context
        self._store = store
        self._is_relaxed = is_relaxed
        self._on_way: deque[Change] = deque()
        """The changes that are not settled, in the order of their positions."""
        self._latest: dict[int, Change] = {}
        """The last of them of each session."""
        self._arrivals: dict[tuple[str | None, str], dict[int, Change]] = {}
        """The sessions that have come to an address by a change that is not settled: the latest that led there."""
        self._held: deque[Held[Any]] = deque()
        """The answers that wait for them, in the order of their positions."""
        self._set_aside = {SEQ: 0, CHANGES: 0}
        self.beginning = 0
        """Sessions that have begun, which is not settled."""
        self.failure: Exception | None = StoreError("what it has kept is being recovered")
        """Why nothing can be changed now."""
        self._touched: set[int] = set()
        """The sessions that were active since then, of which the store has not been told."""

    def __len__(self) -> int:
        """Changes on their way."""
        return len(self._on_way)

    # Consequences

    @property
    def is_available(self) -> bool:
        """See ``Consequences``."""
        return self.failure is None

    def check(self) -> None:
        """Raises ``Unavailable`` if nothing can be changed now."""
        if self.failure is not None:
            raise Unavailable(f"The store cannot keep changes now: {self.failure}")

    def begun(self, session: SessionActor) -> None:
        """See ``Consequences``."""
        self.check()
        standing = session.standing = Standing.of(session)
        change = Begun(standing, self._store.keep(session.seq, self._image(session)), standing.state)
        self._context.admission.expect(session.record)
        if not self._is_relaxed:
            self._context.directory.by_id[session.record.id] = session
            self.beginning += 1
            self._arrive(change, session.record)
        self._join(change)

    def moved(self, session: SessionActor, old: Session) -> None:
        """See ``Consequences``."""
        self._keep(session)

    def changed(self, session: SessionActor, old: Session) -> None:
        """See ``Consequences``."""
        change = self._keep(session)
        if old.external_id != session.record.external_id and not self._is_relaxed:
            self._arrive(change, session.record)

    def claimed(self, session: SessionActor, old: Session, holder: Incarnation | None) -> None:
        """See ``Consequences``."""
        self._keep(session)

    def noted(self, session: SessionActor) -> None:
        """See ``Consequences``; while nothing can be kept the history goes without."""
        if self.is_available:
            self._keep(session)

    def ended(
        self, session: SessionActor, final: Session, timeline: bytes, now: Instant, told: Incarnation | None
    ) -> None:
        """See ``Consequences``."""
        self.check()
        standing, request = _standing(session), session.request
        ending = Ending(session.seq, final, timeline, *(self._named(request) or (None, None)))
        change = Ended(standing, self._store.end(ending), standing.state, ending=ending, told=told)
        if not self._is_relaxed:
            standing.newest = self._context.directory.by_id[final.id] = _EndedAhead(
                session.seq, final.id, final.external_id, b"", timeline, request, math.inf, final, self
            )
        self._join(change)

    def restarted(self, session: SessionActor, fresh: SessionActor) -> None:
        """See ``Consequences``."""
        self._stand_in(_standing(session), fresh)

    # Turns

    def turn(self, session: SessionActor, operation: Callable[[Any], R]) -> R:
        """What comes of ``operation``, held back until all that it is based on is settled."""
        seq, touched = session.seq, session.touched
        change = self._latest.get(seq)
        try:
            value = operation(session)
        except SessiondError as refused:
            self._take_back(session, change)
            return self.reply(seq, cast("R", None), refused)
        except BaseException as crash:  # noqa: BLE001  (as in ``guard.run``)
            self._take_back(session, change)
            return self.reply(seq, cast("R", None), session._crashed(crash))
        latest = self._latest.get(seq)
        if latest is change and session.touched is not touched:
            self._touch(session)
        return value if latest is None else self._hold(value)

    def turn_of_ended(self, ended: EndedSession, operation: Callable[[Any], R]) -> R:
        """The same of one that has ended."""
        try:
            value = run(ended, operation)
        except SessiondError as error:
            return self.reply(ended.seq, cast("R", None), error)
        return self.reply(ended.seq, value)

    def reply(self, seq: int, value: R, error: SessiondError | None = None) -> R:
        """Tell ``value``, or raise ``error``: once all is settled, if a change of that session is on its way."""
        if seq in self._latest:
            return self._hold(value, None if error is None else error.bare())
        if error is not None:
            raise error
        return value

    def reply_after_all(self, value: R) -> R:
        """Tell ``value`` once everything is settled that has changed by now."""
        return self._hold(value) if self._on_way else value

    def addressed(self, gateway: str | None, external_id: str) -> tuple[list[Known], Known | None]:
        """See ``Context``."""
        found, left = self._context.directory.addressed(gateway, external_id)
        entries = [each for each in found if isinstance(each, Standing)]
        entries += (change.standing for change in self._arrivals.get((gateway, external_id), {}).values())
        there = [each.newest for each in dict.fromkeys(entries) if each.newest.record.external_id == external_id]
        ended = [each for each in there if isinstance(each, EndedSession)]
        if left is not None:
            ended.append(cast("EndedSession", left))
        live = [each for each in there if not isinstance(each, EndedSession)]
        return cast("list[Known]", live), max(ended, key=attrgetter("seq"), default=None)

    def is_settled(self, seq: int) -> bool:
        """Whether no change of a session is on its way."""
        return seq not in self._latest

    def session(self, seq: int) -> Known | None:
        """See ``Context``."""
        entry = self._context.directory.at(seq)
        if entry is PASSIVE:
            return None
        if entry is not None:
            return newest(entry)
        change = self._latest.get(seq)  # the directory does not have it yet
        return None if change is None else change.standing.newest

    # Keeper

    def settled(self, position: int) -> None:
        """See ``Keeper``."""
        on_way, held, latest, context = self._on_way, self._held, self._latest, self._context
        while on_way and on_way[0].position <= position:
            change = on_way.popleft()
            seq = change.standing.seq
            if latest.get(seq) is change:
                del latest[seq]
            if change.__class__ is not Changed or change.address is not None:  # which few are
                self._arrived(change, seq)
            try:
                change.settle(context)
            except BaseException as error:  # noqa: BLE001  (of this change only; the others are to be settled)
                context.crash_log.log("the journal", error, context.clock.read().monotonic)
        while held and held[0].position <= position:
            held.popleft().release()
        self._set_numbers_aside()

    def failed(self, error: Exception) -> None:
        """See ``Keeper``."""
        self.failure = error
        if not self._is_relaxed:
            self._touched.update(self._store.unkept())  # their activity may be lost
        lost, self._on_way = self._on_way, deque()
        held, self._held = self._held, deque()
        self._latest.clear()
        self._arrivals.clear()
        self.beginning = 0
        begun = {change.standing for change in lost if isinstance(change, Begun)}
        for standing in dict.fromkeys(change.standing for change in lost):
            if standing in begun:
                self._drop(standing)
            else:
                self._go_back(standing)
        for each in held:
            each.fail(Unavailable(f"The store failed before it could keep this: {error}"))

    def restored(self) -> None:
        """See ``Keeper``."""
        self.failure = None
        self._set_aside = {SEQ: 0, CHANGES: 0}  # what was told last may have been lost
        self._set_numbers_aside()
        for number, author in self._context.authors.gateways():
            self._store.author(number, author.gateway or "", author.epoch)
        touched, self._touched = self._touched, set()
        for seq in touched:
            if isinstance(entry := self._context.directory.at(seq), Standing):
                self._touch(entry.actor)

    # At the start

    def begin(self, seq: int, changes: int) -> None:
        """Go on with numbers after these, and keep what happens from now on."""
        self._context.directory.go_on_after(seq)
        self._context.changes.go_on_after(changes)
        self._set_numbers_aside()
        self._context.authors.announce = self._store.author
        self.failure = None

    # At the end

    def close(self) -> None:
        """The service stops: whoever still waits is told that, and not whether it is kept, which nobody knows yet."""
        held, self._held = self._held, deque()
        for each in held:
            each.fail(Unavailable("The service is stopping"))

    # Inside

    def _named(self, request: RequestKey | None) -> tuple[str, bytes] | None:
        return None if request is None else (request.request_id, self._context.requests.digest(request))

    def _image(self, session: SessionActor) -> bytes:
        timeouts = session.timeouts
        return pack(
            session.record,
            None if timeouts is self._context.timeouts else msgspec.structs.astuple(timeouts),
            session.touched.wall,
            None if session.request is None else self._named(session.request),
            session.incarnation is not None,
            session.timeline,
        )

    def _touch(self, session: SessionActor) -> None:
        """There was activity without a change."""
        if self.failure is None:
            self._store.touch(session.seq, session.touched.wall)
        else:
            self._touched.add(session.seq)

    def _keep(self, session: SessionActor) -> Changed:
        if self.failure is not None:  # as ``check``, which is most often needless
            self.check()
        change = Changed(_standing(session), self._store.keep(session.seq, self._image(session)), session.state())
        self._join(change)
        return change

    def _join(self, change: Change) -> None:
        if self._is_relaxed:
            change.settle(self._context)
        else:
            self._on_way.append(change)
            self._latest[change.standing.seq] = change

    def _hold(self, value: R, error: SessiondError | None = None) -> R:
        """Have ``value``, or ``error``, be told once all is settled that is on its way; what it returns is pending."""
        held = Held(value=value, error=error, position=self._on_way[-1].position)
        self._held.append(held)
        return held  # type: ignore[return-value]  # stands for an R, as in ``perform``

    def _arrive(self, change: Change, record: Session) -> None:
        """By this change a session comes to an address, where the directory does not know it yet."""
        if record.external_id is not None:
            change.address = (record.gateway, record.external_id)
            self._arrivals.setdefault(change.address, {})[change.standing.seq] = change

    def _arrived(self, change: Change, seq: int) -> None:
        """From now on the directory knows what has begun by ``change``, and the address that it has led to."""
        if isinstance(change, Begun):
            self.beginning -= 1
        if change.address is not None and (arrived := self._arrivals[change.address])[seq] is change:
            del arrived[seq]
            if not arrived:
                del self._arrivals[change.address]

    def _take_back(self, session: SessionActor, change: Change | None) -> None:
        """A turn has failed, before which ``change`` was the last: unless there is one since, nothing is left of it."""
        if session.standing is not None and self._latest.get(session.seq) is change:
            session.restore(session.standing.state if change is None else change.state)

    def _drop(self, standing: Standing) -> None:
        """There never was such a session."""
        record, request = standing.record, standing.actor.request
        self._context.directory.by_id.pop(record.id, None)
        self._context.admission.came(record)
        if request is not None:
            self._context.requests.forget(request)
        standing.actor.standing = None
        dismiss(standing.actor)

    def _go_back(self, standing: Standing) -> None:
        """The session is again as it stands."""
        session, state = standing.actor, standing.state
        if standing.newest is session:
            session.restore(state)
            return
        try:
            fresh = session.again(state)
        except BaseException as error:  # noqa: BLE001  (of this session only; the others are to go back too)
            self._context.crash_log.log(f"session {session.record.id}", error, self._context.clock.read().monotonic)
            session.return_to(state)
            fresh = session
        self._stand_in(standing, fresh)

    def _stand_in(self, standing: Standing, fresh: SessionActor) -> None:
        standing.actor.standing, fresh.standing = None, standing
        standing.actor = standing.newest = self._context.directory.by_id[standing.record.id] = fresh

    def _set_numbers_aside(self) -> None:
        for name, last in ((SEQ, self._context.directory.last_seq), (CHANGES, self._context.changes.last)):
            if last > self._set_aside[name] - NUMBERS // 2:
                self._set_aside[name] = last + NUMBERS
                self._store.put(name, last + NUMBERS)


def _standing(session: SessionActor) -> Standing:
    assert session.standing is not None  # the journal has seen it begin
    return session.standing
