"""Changes on their way to the store, and what is so once one is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sessiond.actors.consequences import count_end, hang_up, pass_on

if TYPE_CHECKING:
    from sessiond.actors.context import Context
    from sessiond.actors.incarnation import Incarnation
    from sessiond.actors.record import Session
    from sessiond.actors.standing import Standing, State
    from sessiond.actors.store import Ending

__all__ = ["Begun", "Change", "Changed", "Ended"]


class Change(msgspec.Struct, gc=False):
    """A change of one session."""

    standing: Standing
    position: int
    """As which the store acknowledges it."""
    state: State
    """What it makes of the session."""
    address: tuple[str | None, str] | None = None
    """Where the session can be found by this change, and not before."""

    def settle(self, context: Context) -> None:
        """Have everything follow: it is acknowledged."""
        raise NotImplementedError


class Begun(Change, gc=False):
    """There is one session more."""

    def settle(self, context: Context) -> None:
        """See ``Change``."""
        standing = self.standing
        record, incarnation = standing.record, standing.state.incarnation
        context.directory.add(standing)
        context.directory.by_id[record.id] = standing.newest
        context.admission.came(record)
        if incarnation is not None:
            incarnation.sessions.add(standing.seq)
        if context.residence is not None:
            context.residence.came(standing.seq)
        context.tally.count_created(record)
        if context.recording is not None:
            _publish(context, standing, None)


class Changed(Change, gc=False):
    """A session is another than it was."""

    def settle(self, context: Context) -> None:
        """See ``Change``."""
        standing, new = self.standing, self.state
        old, standing.state = standing.state, new
        if old.incarnation is not new.incarnation:
            pass_on(standing.seq, old.incarnation, new.incarnation)
        before, after = old.record, new.record
        if before is after:
            return
        if before.state != after.state:
            context.directory.state_changed(standing.seq, before.state, after.state)
        elif before.metadata is after.metadata or context.directory.metadata:
            context.directory.changed(standing.seq, before, after)
        if before.answered_at is not after.answered_at:
            context.tally.count_answered(after)
        if context.recording is not None:
            _publish(context, standing, before)


class Ended(Change, gc=False, kw_only=True):
    """A session is over."""

    ending: Ending
    told: Incarnation | None
    """Who is to hang up."""

    def settle(self, context: Context) -> None:
        """See ``Change``."""
        standing, final = self.standing, self.ending.final
        old, request = standing.state, standing.actor.request
        pass_on(standing.seq, old.incarnation, None)
        ended = context.retention.keep(standing.seq, final, self.ending.timeline, request, context.clock.read())
        context.directory.end(ended, old.record)
        standing.actor.standing = None  # the two would keep each other
        count_end(context, old.record, final)
        if self.told is not None:
            hang_up(context, final, standing.seq, self.told)


def _publish(context: Context, standing: Standing, old: Session | None) -> None:
    """Record, for those who watch, that ``old`` is no longer the session's record; only while that is recorded."""
    assert context.recording is not None
    context.recording.session_changed(
        old, standing.record, standing.actor.touched.wall, standing.expires_at, standing.is_suspect
    )
