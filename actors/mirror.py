"""A copy of what is watched, kept up to date by what watchers are told."""

from __future__ import annotations

from msgspec.structs import replace

from sessiond.actors.events import Event, GatewayChanged, SessionChanged, SnapshotBegins, WatchReady
from sessiond.actors.record import Session
from sessiond.actors.states import ENDED

__all__ = ["Mirror"]


class Mirror:
    """Folds events into the sessions that match.

    Two fields of a session are as they were at its last change, since activity alone is no change: ``last_activity_at``
    and ``expires_at``. Nobody tells that an ended session is forgotten: a mirror of ended ones keeps them for ever,
    unless its owner takes them out of ``sessions``.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.sessions: dict[str, Session] = {}
        """Those that match, by id."""
        self.number: int | None = None
        """The last change that was applied; None before the first event that has a number."""
        self.is_complete = False
        """Whether the snapshot is complete, and not just on its way."""

    def apply(self, event: Event | SnapshotBegins) -> None:
        """Take in the next event; they have to come in order, and all of them."""
        if isinstance(event, SessionChanged):
            self._change(event.session, matches=event.matches)
        elif isinstance(event, GatewayChanged):
            self._suspect(event.gateway, event.epoch, is_suspect=event.state == "lost")
        elif isinstance(event, SnapshotBegins):
            self.sessions.clear()
            self.is_complete = False
            return
        elif isinstance(event, WatchReady):
            self.is_complete = True
        self.number = event.number

    def _change(self, session: Session, *, matches: bool) -> None:
        if matches:
            self.sessions[session.id] = session
        else:
            self.sessions.pop(session.id, None)

    def _suspect(self, gateway: str, epoch: str | None, *, is_suspect: bool) -> None:
        for session in self.sessions.values():
            if session.epoch == epoch and session.gateway == gateway and session.state != ENDED:
                self.sessions[session.id] = replace(session, suspect=is_suspect)
