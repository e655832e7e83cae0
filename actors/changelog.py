"""The changes of all sessions in one order, numbered: what watchers are told, now or when they come back.

A log keeps so many of the newest changes, once for all watchers, each of whom has a place in it and no queue of its
own. Nothing is recorded while it is closed; it has a number of its own for all that happened meanwhile, so that whoever
left before finds that something is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from sessiond.actors.changes import shown
from sessiond.actors.record import Session

__all__ = ["MAX_PACKED", "Change", "ChangeLog", "GatewayChange", "SessionChange"]

MAX_PACKED = 1024
"""So many changes are kept packed as well: the newest that were sent. Those who are up to date are near each other, and
packing is quick, so that more would cost memory and save little."""

_pack = msgspec.msgpack.Encoder().encode


class SessionChange(msgspec.Struct, gc=False):
    """A change of one session.

    The record is kept as it is in the session, and what a look at the session shows beside it apart: so one record is
    the new one of a change and the old one of the next.
    """

    old: Session | None
    """The record before; None at the creation."""
    new: Session
    last_activity_at: float
    expires_at: float | None
    suspect: bool
    packed: msgspec.Raw | None = None

    @property
    def session(self) -> Session:
        """The session as whoever looked just after the change saw it."""
        return shown(self.new, self.last_activity_at, self.expires_at, suspect=self.suspect)


class GatewayChange(msgspec.Struct, gc=False):
    """An incarnation of a gateway has come, or was lost or found; ``state`` is ``lost`` or ``live``."""

    gateway: str
    epoch: str | None
    state: str


Change: TypeAlias = SessionChange | GatewayChange


class ChangeLog:
    """The newest changes by number. Numbers ascend by one, and are never given twice."""

    def __init__(self, capacity: int) -> None:
        """Keep ``capacity`` changes, at least 1."""
        self._capacity = capacity
        self._ring: list[Change] = []
        self._begun = 0
        self._packed: deque[SessionChange] = deque()
        self.last = 0
        """The number of the latest change."""
        self.awaited: Callable[[], object] | None = None
        """Called at the next change, once."""

    def __len__(self) -> int:
        """Changes that are kept."""
        return len(self._ring)

    def __getitem__(self, number: int) -> Change:
        """The change of that number, which has to be kept."""
        return self._ring[(number - self._begun - 1) % self._capacity]

    @property
    def base(self) -> int:
        """All changes after this number are kept."""
        return self.last - len(self._ring)

    def has_all_since(self, number: int) -> bool:
        """Whether everything after the change of that number is kept; it is not if there was no such change yet."""
        return self.base <= number <= self.last

    def go_on_after(self, number: int) -> None:
        """Give greater numbers than ``number`` only. Before anything is recorded."""
        self.last = self._begun = max(self.last, number)

    def open(self) -> None:
        """Begin to record. All that has happened before, since the last time, counts as one change that is not kept."""
        self.last += 1
        self._begun = self.last

    def close(self) -> None:
        """Record no more, and let go of what is kept."""
        self._ring.clear()
        self._packed.clear()
        self._begun = self.last
        self.awaited = None

    def session_changed(
        self, old: Session | None, new: Session, last_activity_at: float, expires_at: float | None, suspect: bool
    ) -> None:
        """Record that a session's record ``new`` has taken the place of ``old``."""
        self._record(SessionChange(old, new, last_activity_at, expires_at, suspect))

    def gateway_changed(self, gateway: str, epoch: str | None, state: str) -> None:
        """Record that an incarnation is ``lost``, or ``live`` again or for the first time."""
        self._record(GatewayChange(gateway, epoch, state))

    def _record(self, change: Change) -> None:
        place = self.last - self._begun
        self.last += 1
        if place < self._capacity:
            self._ring.append(change)
        else:
            self._ring[place % self._capacity] = change
        if self.awaited is not None:
            awaited, self.awaited = self.awaited, None
            awaited()

    def packed(self, change: SessionChange) -> msgspec.Raw:
        """``change.session`` in MessagePack: one copy for all who are sent it."""
        if change.packed is None:
            change.packed = msgspec.Raw(_pack(change.session))
            self._packed.append(change)
            if len(self._packed) > MAX_PACKED:
                self._packed.popleft().packed = None
        return change.packed
