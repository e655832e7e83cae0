"""The reaper: ends what is overdue and forgets what has been kept long enough, a little at a time."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, cast

from sessiond.actors.consequences import forget
from sessiond.actors.context import TICK
from sessiond.actors.errors import SessiondError
from sessiond.actors.guard import perform
from sessiond.actors.retention import EndedSession
from sessiond.actors.service import ServiceActor
from sessiond.actors.session import EndIfLost, EndIfOverdue, SessionActor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context
    from sessiond.actors.future import Pending
    from sessiond.actors.residence import Residence

__all__ = ["ReaperActor"]

HASTE = 0.005
"""Seconds between sweeps while there is a backlog, or longer if few may end in a second: short, so that each sweep can
be small and nobody waits long for it."""
AGAIN = 1.0
"""Seconds until a session is tried again that could not be read."""
LOOKS_PER_END = 8
"""A sweep looks at this many times the entries that it may end: a look costs an eighth of an end, or less."""


class Tick:
    """The reaper's own timer."""


class ReaperActor(ServiceActor):
    """Sweeps every tenth of a second, and more often while there is a backlog."""

    name = "reaper"

    def __init__(self, context: Context) -> None:
        """Reap in these books."""
        super().__init__(context)
        self._rate = context.settings.ends_per_second
        self._haste = max(HASTE, 1 / self._rate)
        self._swept = -math.inf
        """When the last sweep began, on the monotonic clock."""
        self._allowed = 0.0
        """How many may end: what the time since then allows, and the fractions left over."""
        self._lost_first = False
        """Whether the sessions of lost gateways come first in this sweep; in the next one the others do."""

    def resume(self) -> None:
        """See ``ServiceActor``."""
        self._wind(TICK)

    def on_receive(self, message: object) -> object:
        """See ``pykka.Actor``."""
        if not isinstance(message, Tick):
            return super().on_receive(message)
        is_done = self.sweep()
        self._wind(TICK if is_done else self._haste)
        return None

    def sweep(self) -> bool:
        """End and forget what is due, up to the limits of one sweep; whether nothing due is left."""
        now = self._context.clock.read()
        if not self._context.consequences.is_available:  # then nothing can end
            return True
        most = self._allowance(now)
        self._context.wheel.due(now.monotonic)
        self._context.incarnations.graces.due(now)
        self._context.syncs.drop_old(now)
        self._lost_first = not self._lost_first
        if self._lost_first:
            self._end_overdue(now, most - self._end_lost(now, most))
        else:
            self._end_lost(now, most - self._end_overdue(now, most))
        has_more_to_forget = not self._forget_overdue(now, 2 * most)
        residence = self._context.residence
        has_more_to_leave = residence is not None and residence.leave()
        has_backlog = self._context.wheel.backlog or self._context.incarnations.graces.backlog
        return not (has_more_to_forget or has_more_to_leave or has_backlog)

    def _allowance(self, now: Instant) -> int:
        """How many may end in the sweep of ``now``: never more than two sweeps' share, however late it comes."""
        self._allowed += self._rate * min(now.monotonic - self._swept, 2 * self._haste)
        self._swept = now.monotonic
        most = max(1, int(self._allowed))
        self._allowed = max(0.0, self._allowed - most)
        return most

    def _end_overdue(self, now: Instant, most: int) -> int:
        """End what is past its deadline; how many are."""
        ends = 0
        looks = most * LOOKS_PER_END
        while ends < most and looks > 0:
            due = self._context.wheel.take(min(most - ends, looks))
            if not due:
                break
            looks -= len(due)
            ends += sum(self._look(seq, now) for seq in due)
        return ends

    def _look(self, seq: int, now: Instant) -> bool:
        """Look at a session whose time may have come; whether it has."""
        residence = self._context.residence
        if residence is not None and residence.is_passive(seq):
            if residence.is_due(seq, now):
                self._bring(residence, seq, lambda: self._look(seq, self._context.clock.read()))
            return False
        session = self._context.session(seq)
        if not isinstance(session, SessionActor):
            return False
        try:
            if not session.look(now):
                return False
            _end(session, lambda overdue: overdue.end_if_overdue(), EndIfOverdue)
        except BaseException as error:  # noqa: BLE001
            session._crashed(error)  # noqa: SLF001
        return True

    def _end_lost(self, now: Instant, most: int) -> int:
        """End what lost gateways held, once they have been waited for; how many were told to."""
        seqs = self._context.incarnations.graces.take(most, now)
        residence = self._context.residence
        for seq in seqs:
            if residence is not None and residence.is_passive(seq):
                residence.after([seq], functools.partial(self._end_suspect, seq))
            else:
                self._end_suspect(seq)
        return len(seqs)

    def _end_suspect(self, seq: int) -> None:
        session = self._context.session(seq)
        if isinstance(session, SessionActor):
            _end(session, lambda suspect: suspect.end_if_lost(), EndIfLost)

    def _bring(self, residence: Residence, seq: int, look: Callable[[], object]) -> None:
        """Have a passive session be looked at once it is in memory; if that fails, again in a while."""

        def came(_: object, error: BaseException | None) -> None:
            if error is not None:
                self._context.wheel.add(seq, self._context.clock.read().monotonic + AGAIN)

        cast("Pending[object]", residence.after([seq], look)).then(came)

    def _forget_overdue(self, now: Instant, most: int) -> bool:
        for _ in range(most):
            ended: EndedSession | None = self._context.retention.overdue(now.monotonic)
            if ended is None:
                return True
            forget(self._context, ended)
        return False

    def _wind(self, seconds: float) -> None:
        self._tell_later(seconds, Tick())


def _end(session: SessionActor, operation: Callable[[SessionActor], None], message: type) -> None:
    """Run ``operation`` on a session, or send it the message that stands for it, if anybody can have sent it some."""
    try:
        if session._ref is None:  # noqa: SLF001
            perform(session, operation)
        else:
            session.actor_ref.tell(message())
    except SessiondError:
        pass  # it crashed, which ``perform`` has dealt with; or it is dead, or flooded
