"""Ends in bulk: how many may begin now, and what came of them so far. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from sessiond.actors.errors import SessiondError
from sessiond.actors.results import EndedSessions, Failure

__all__ = ["Allowance", "Bulk"]


class Allowance:
    """So many a second, spread over it."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """Allow ``rate`` in each second from ``now`` on, and at most ``burst`` at once after there were none."""
        self._rate = rate
        self._most = max(1.0, burst)
        self._since = now
        self._left = self._most

    def take(self, now: float) -> bool:
        """Whether one more may begin at ``now``; then it is taken."""
        self._left = min(self._most, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Bulk:
    """The ends of one page of sessions."""

    def __init__(self, ids: Iterable[str], matched: int, cursor: str | None) -> None:
        """End the sessions of ``ids``, of ``matched`` in all; ``cursor`` asks for the next page."""
        self.left = deque(ids)
        """Those whose end has not begun."""
        self._matched = matched
        self._cursor = cursor
        self._under_way = 0
        self._ended = 0
        self._failed: list[Failure] = []

    def next(self) -> str:
        """The next session to end; only while any are left."""
        self._under_way += 1
        return self.left.popleft()

    def done(self, session_id: str, error: BaseException | None) -> None:
        """The end of a session has succeeded, or failed."""
        self._under_way -= 1
        if error is None:
            self._ended += 1
        elif isinstance(error, SessiondError):
            self._failed.append(Failure(session_id, error.code, error.text))
        else:
            self._failed.append(Failure(session_id, "unavailable", str(error)))

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return not self.left and not self._under_way

    def result(self) -> EndedSessions:
        """What came of it."""
        return EndedSessions(self._matched, ended=self._ended, failed=self._failed, cursor=self._cursor)
