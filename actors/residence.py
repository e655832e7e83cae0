"""Which sessions are in memory: those that were used lately. The others are passive, until somebody needs them.

A passive session lives as any other. It has no actor; the store has its record, and the directory what leads to it.
Requests for it are carried out once it is back, deadlines bring it back, and nobody sees a difference but in time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sessiond.actors.errors import Internal, SessiondError, Unavailable
from sessiond.actors.future import Pending
from sessiond.actors.guard import perform
from sessiond.actors.passive import NEVER
from sessiond.actors.residents import Residents
from sessiond.actors.standing import Standing

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context, Known, Listed
    from sessiond.actors.deadlines import Deadline
    from sessiond.actors.params import Address, NewSession
    from sessiond.actors.passive import PassiveDirectory
    from sessiond.actors.passive_requests import PassiveRequests
    from sessiond.actors.record import Session
    from sessiond.actors.reviving import Reviver
    from sessiond.actors.settings import Residing
    from sessiond.actors.store import Live, Store

__all__ = ["Residence", "Sleeper"]

R = TypeVar("R")

LEAVE = 64
"""Sessions that leave in one step, at some 15 us each."""
JUST_USED = 2.0
"""Seconds in which nobody leaves after having been used: what comes next of a call often comes at once."""


class Residence:
    """Has sessions leave memory, and come back."""

    def __init__(self, context: Context, store: Store, reviver: Reviver, settings: Residing) -> None:
        """Keep as many sessions of these books in memory, and as long, as ``settings`` say."""
        self._context = context
        self._store = store
        self._reviver = reviver
        self._directory = cast("PassiveDirectory[Listed]", context.directory)
        self._requests = cast("PassiveRequests", context.requests)
        self._quiet = settings.quiet or math.inf
        self._most = settings.residents
        self._residents = Residents(self._quiet, self._most)
        self._coming: dict[int, Pending[None]] = {}
        """The sessions that are being read."""
        self.left = 0
        """How many sessions have left memory."""
        self.returned = 0
        """How many have come back."""

    # Who is passive

    @property
    def resident_count(self) -> int:
        """Live sessions that are in memory."""
        return self._directory.resident_count

    def is_passive(self, seq: int) -> bool:
        """Whether a session is not in memory."""
        return seq in self._directory.passive

    def targeted(self, target: str | Address) -> list[int]:
        """The passive sessions that a request for ``target`` may be about."""
        if isinstance(target, str):
            return self._directory.named(target)
        return self._directory.passive_at(target.gateway, target.external_id)

    def created_by(self, new: NewSession) -> list[int]:
        """The passive sessions that this request may have created before."""
        return [] if new.request_id is None else self._requests.candidates(new)

    def is_due(self, seq: int, now: Instant) -> bool:
        """Whether a passive session is to be looked at, for the wheel's sake."""
        return self._context.wheel.tick_at(now.monotonic) >= self._directory.due(seq)

    # Coming back

    def after(self, seqs: Iterable[int], work: Callable[[], R], behind: Pending[Any] | None = None) -> R:
        """What comes of ``work`` once these sessions are in memory, and ``behind`` is complete; it is pending.

        The work is done as that of whoever is the requester now.
        """
        context, requester, pending = self._context, self._context.requester, Pending[R]()

        def go_on(_: object, error: BaseException | None) -> None:
            if error is not None:
                pending.fail(error)
                return
            before = context.requester
            context.ask_as(requester)
            try:
                value = work()
            except SessiondError as refused:
                pending.fail(refused.bare())
            except BaseException as crash:  # noqa: BLE001  (of this request; others wait for the same sessions)
                context.crash_log.log("a request for a session that has come back", crash, self._now.monotonic)
                pending.fail(Internal("The request crashed"))
            else:
                pending.set(value)
            finally:
                context.ask_as(before)

        awaited = [self._bring(seq) for seq in self._begin(seqs)]
        if behind is not None:
            awaited.append(_ended(behind))
        _all(awaited).then(go_on)
        return cast("R", pending)

    def read(self, seqs: Iterable[int]) -> Pending[Mapping[int, Live]]:
        """What the store has of passive sessions, which stay so."""
        return cast("Pending[Mapping[int, Live]]", self._store.load_all(seqs))

    def show(self, live: Live) -> Session:
        """A passive session as it is shown."""
        return self._reviver.show(live)

    def _begin(self, seqs: Iterable[int]) -> list[int]:
        """Have those be read that are not; all of them."""
        wanted = list(seqs)
        new = [seq for seq in wanted if seq not in self._coming and self.is_passive(seq)]
        for seq in new:
            self._coming[seq] = Pending()
        if new:
            self._store.load_all(new).then(lambda lives, error: self._came(new, lives, error))
        return wanted

    def _bring(self, seq: int) -> Pending[None]:
        coming = self._coming.get(seq)
        if coming is None:
            coming = Pending()
            coming.set(None)
        return coming

    def _came(self, seqs: list[int], lives: Mapping[int, Live] | None, error: BaseException | None) -> None:
        for seq in seqs:
            pending = self._coming.pop(seq, None)
            if pending is None:  # the service has stopped
                continue
            live = None if lives is None else lives.get(seq)
            if live is None:
                pending.fail(error or Internal("The store does not have a session that it should have"))
                continue
            try:
                self._return(live)
            except BaseException as crash:  # noqa: BLE001  (of this session only)
                self._context.crash_log.log(f"the session of number {seq}", crash, self._now.monotonic)
                pending.fail(Internal("The session cannot be brought back"))
            else:
                pending.set(None)

    def _return(self, live: Live) -> None:
        session, digest = self._reviver.revive(live)
        assert session.standing is not None
        self._directory.revive(session.standing)
        self._directory.by_id[session.record.id] = session
        if session.request is not None and digest is not None:
            self._requests.revive(session.request, session.seq, (session.record.id, digest))
        self._residents.add(session.seq, self._now.monotonic)
        self.returned += 1

    def close(self) -> None:
        """The service stops: whoever waits for a session is told so."""
        coming, self._coming = self._coming, {}
        for pending in coming.values():
            pending.fail(Unavailable("The service is stopping"))

    # Leaving

    def came(self, seq: int) -> None:
        """A session has begun."""
        self._residents.add(seq, self._now.monotonic)

    def has_place_for(self, live: Live) -> bool:
        """Whether a session of before this run of the service is to be in memory."""
        now = self._now
        is_quiet = now.earlier(live.touched).monotonic + self._quiet <= now.monotonic
        return not is_quiet and self._directory.resident_count < self._most

    def take_in(self, standing: Standing) -> None:
        """It is in memory."""
        self._residents.add(standing.seq, standing.actor.touched.monotonic)

    def take_in_passive(self, live: Live) -> None:
        """It is not, and has no need to be for a moment.

        Raises:
            StoreError: ``live`` tells of no session.
        """
        record, holder, deadline, request = self._reviver.read(live)
        self._directory.add_passive(live.seq, record, self._file(live.seq, deadline))
        if request is not None:
            self._requests.recall_passive(request, live.seq)
        if holder is not None:
            holder.sessions.add(live.seq)

    def leave(self) -> bool:
        """Have some of those leave who are to; whether all did, so that there may be more."""
        now, left = self._now, self.left
        leaving = self._residents.leaving(now.monotonic, self._directory.resident_count, self._activity, LEAVE)
        unkept = self._store.unkept() if leaving else ()
        for seq in leaving:
            entry = self._directory.at(seq)
            if isinstance(entry, Standing) and seq not in unkept and self._may_leave(entry, now):
                self._leave(entry)
            else:
                self._residents.add(seq, now.monotonic)
        return self.left - left == LEAVE

    def _activity(self, seq: int) -> float | None:
        entry = self._directory.at(seq)
        return entry.actor.touched.monotonic if isinstance(entry, Standing) else None

    def _may_leave(self, standing: Standing, now: Instant) -> bool:
        context, actor = self._context, standing.actor
        return (
            standing.newest is actor
            and actor._ref is None
            and actor.touched.monotonic + JUST_USED <= now.monotonic
            and (context.journal is None or context.journal.is_settled(standing.seq))
            and (context.commander is None or not context.commander.concerns(standing.seq))
        )

    def _leave(self, standing: Standing) -> None:
        actor = standing.actor
        self._directory.passivate(standing, self._file(standing.seq, actor.deadline()))
        if actor.request is not None:
            self._requests.passivate(actor.request, standing.seq)
        actor.standing = None  # the two would keep each other
        self.left += 1

    def _file(self, seq: int, deadline: Deadline | None) -> int:
        """Have the reaper look at a passive session at its deadline; the tick at which it does."""
        return NEVER if deadline is None else self._context.wheel.add(seq, deadline.monotonic)

    @property
    def _now(self) -> Instant:
        return self._context.clock.read()


class Sleeper:
    """What requests for a passive session meet: they are carried out once it is in memory."""

    _ref = None

    def __init__(self, residence: Residence, seqs: list[int], find: Callable[[], Known]) -> None:
        """Stand for what ``find`` finds then; it is one of ``seqs``, or something else after all."""
        self._residence = residence
        self._seqs = seqs
        self._find = find

    def run_turn(self, operation: Callable[[Any], R]) -> R:
        """See ``Performer``."""
        return self.then(lambda known: perform(known, operation))

    def then(self, work: Callable[[Known], R]) -> R:
        """What comes of ``work``, which is given what is found; it is pending."""

        def go_on() -> R:
            known = self._find()
            return known.then(work) if isinstance(known, Sleeper) else work(known)  # others may have left meanwhile

        return self._residence.after(self._seqs, go_on)

    def _crashed(self, error: BaseException) -> Internal:
        raise AssertionError from error  # nothing is run on it


def _all(awaited: list[Pending[None]]) -> Pending[None]:
    """Complete once all of ``awaited`` are, failed if one is."""
    together: Pending[None] = Pending()
    left, failures = len(awaited), []  # type: tuple[int, list[BaseException]]

    def one_more(_: None, error: BaseException | None) -> None:
        nonlocal left
        left -= 1
        if error is not None:
            failures.append(error)
        if not left:
            _complete(together, failures)

    if not awaited:
        _complete(together, failures)
    for each in awaited:
        each.then(one_more)
    return together


def _complete(pending: Pending[None], failures: list[BaseException]) -> None:
    if failures:
        pending.fail(failures[0])
    else:
        pending.set(None)


def _ended(pending: Pending[Any]) -> Pending[None]:
    """Complete once ``pending`` is, however it came out."""
    ended: Pending[None] = Pending()
    pending.then(lambda _value, _error: ended.set(None))
    return ended
