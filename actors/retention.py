"""Sessions that have ended and are still readable: how one answers, and how long it is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, cast

import msgspec

from sessiond.actors.errors import Internal, SessionEnded
from sessiond.actors.params import Changes, EndOptions
from sessiond.actors.record import Scalar, Session
from sessiond.actors.results import Ended, Updated
from sessiond.actors.states import ENDED
from sessiond.actors.turns import run

if TYPE_CHECKING:
    from sessiond.actors.clock import Instant
    from sessiond.actors.requests import RequestKey

__all__ = ["EndedSession", "Retention", "end_result", "pack"]

R = TypeVar("R")

pack = msgspec.msgpack.Encoder().encode
"""A last record in the bytes that are kept of it."""
_unpack = msgspec.msgpack.Decoder(Session).decode


def end_result(record: Session) -> Ended:
    """The answer to ``end_session`` for a session whose last record is ``record``."""
    ended_at, answered_at = cast("float", record.ended_at), record.answered_at
    talk = 0.0 if answered_at is None else ended_at - answered_at
    return Ended(record.version, ended_at, ended_at - record.created_at, talk)


class EndedSession(msgspec.Struct, gc=False):
    """What is left of a session: its last record. Answers what a session actor answers, without being one.

    The record is kept as bytes, since hardly any is ever read again. That takes half of the memory, and the objects
    of the record are free for the next session at once, while they are still in the processor's cache, and not a
    minute later: some 100,000 ended sessions of 20 objects each would push everything else out of it.
    """

    seq: int
    id: str
    external_id: str | None
    packed: bytes
    timeline: bytes
    request: RequestKey | None
    forget_at: float
    """When it has been kept long enough, on the monotonic clock."""

    _ref: ClassVar[None] = None

    @property
    def record(self) -> Session:
        """The last record."""
        return _unpack(self.packed)

    def get(self) -> Session:
        """The last record."""
        return self.record

    def touch(self) -> Updated:
        """Refused: raises ``SessionEnded``."""
        self.refuse()

    def update_state(self, state: str, if_version: int | None = None, at: float | None = None) -> Updated:
        """Succeeds without effect for ``ended``; anything else raises ``SessionEnded``."""
        if state != ENDED:
            self.refuse()
        return Updated(self.record.version)

    def amend(self, changes: Changes, if_version: int | None = None) -> Updated:
        """Refused: raises ``SessionEnded``."""
        self.refuse()

    def annotate(self, metadata: dict[str, Scalar | None], if_version: int | None = None) -> Updated:
        """Refused: raises ``SessionEnded``."""
        self.refuse()

    def end(self, reason: str | None = None, **options: Any) -> Ended:
        """As ``finish``."""
        return end_result(self.record)

    def finish(self, reason: str | None, options: EndOptions) -> Ended:
        """Succeeds without effect, whatever version the caller had in mind."""
        return end_result(self.record)

    def run_turn(self, operation: Callable[[Any], R]) -> R:
        """See ``guard.Performer``."""
        return run(self, operation)

    def refuse(self) -> NoReturn:
        """Raise ``SessionEnded``."""
        record = self.record
        raise SessionEnded("The session has ended", id=self.id, end_reason=record.end_reason, version=record.version)

    def _crashed(self, error: BaseException) -> Internal:
        return Internal("An ended session could not answer")


class Retention:
    """The ended sessions in the order of their ends, each kept for some seconds and all of them up to a number."""

    def __init__(self, seconds: float, maximum: int) -> None:
        """Keep each session for ``seconds``, and at most ``maximum`` of them."""
        self._seconds = seconds
        self._maximum = maximum
        self._kept: deque[EndedSession] = deque()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(
        self, seq: int, record: Session, timeline: bytes, request: RequestKey | None, now: Instant
    ) -> EndedSession:
        """Keep a session that ended ``now``."""
        forget_at = now.monotonic + self._seconds
        ended = EndedSession(seq, record.id, record.external_id, pack(record), timeline, request, forget_at)
        self._kept.append(ended)
        return ended

    def surplus(self) -> EndedSession | None:
        """Take out the oldest if there are too many."""
        return self._kept.popleft() if len(self._kept) > self._maximum else None

    def take_back(self, ended: EndedSession) -> None:
        """Keep one that ended before this run of the service; they come in the order of their ends."""
        self._kept.append(ended)

    def overdue(self, now: float) -> EndedSession | None:
        """Take out the oldest if it has been kept long enough at ``now`` (monotonic)."""
        return self._kept.popleft() if self._kept and self._kept[0].forget_at <= now else None
