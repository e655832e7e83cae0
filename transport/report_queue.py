"""What a gateway has to report and could not yet, in order for each session. No I/O, no thread, no clock."""

from __future__ import annotations

import enum
from collections.abc import Container
from typing import Any, TypeAlias

import msgspec

from sessiond.actors.errors import CallerError, Internal, SessiondError
from sessiond.transport.client_repeats import SessionKey, session_key
from sessiond.transport.client_requests import Request

__all__ = ["Key", "Outcome", "Report", "ReportQueue", "judge", "key_of"]

Key: TypeAlias = SessionKey
"""Which session a report is about, as far as its order matters."""


class Outcome(enum.Enum):
    """What became of a report."""

    DONE = "done"
    REFUSED = "refused"
    """The service has answered with an error, and would again."""
    AWAY = "away"
    """Nobody knows, or the service could not take it: to be sent again."""


def judge(error: SessiondError | None) -> Outcome:
    """What an answer, or that there was none, means for a report."""
    if error is None:
        return Outcome.DONE
    if "registration" in error.details:  # says nothing about the report
        return Outcome.AWAY
    return Outcome.REFUSED if isinstance(error, (CallerError, Internal)) else Outcome.AWAY


class Report(msgspec.Struct, eq=False, frozen=True):
    """One event of a call."""

    request: Request[Any]
    key: Key


def key_of(request: Request[Any]) -> Key:
    """The session that ``request`` is about; nothing can follow a create without an ``external_id``."""
    target = request.params[0]
    if request.method == "create_session" and target.get("external_id") is None:
        return ("request", target["request_id"])
    return session_key(request.params) or ("nothing",)


class ReportQueue:
    """Reports that wait, those about one session in the order in which they came."""

    def __init__(self, capacity: int) -> None:
        """Hold ``capacity`` reports at most."""
        self._capacity = capacity
        self._waiting: dict[Key, list[Report]] = {}
        """By session, in the order of their first report that waits."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, report: Report) -> bool:
        """Put ``report`` behind all others; False if there is no room for it.

        A touch that something waits before needs none: the service will hear of the session anyway.
        """
        before = self._waiting.get(report.key)
        if before and report.request.method == "touch_session":
            return True
        if self._count >= self._capacity:
            return False
        self._waiting.setdefault(report.key, []).append(report)
        self._count += 1
        return True

    def put_back(self, report: Report) -> bool:
        """Put ``report`` before what has come for its session meanwhile; False if there is no room for it."""
        if self._count >= self._capacity:
            return False
        self._waiting.setdefault(report.key, []).insert(0, report)
        self._count += 1
        return True

    def batch(self, most: int, without: Container[Key] = ()) -> list[Report]:
        """What to send next, which stays here: at most ``most`` reports, and one of each session.

        So none can be carried out before one that came earlier, whatever happens to either; and none is repeated after
        a later one. Sessions in ``without`` are left out.
        """
        chosen: list[Report] = []
        for key, reports in self._waiting.items():
            if len(chosen) == most:
                break
            if key not in without:
                chosen.append(reports[0])
        return chosen

    def remove(self, report: Report) -> None:
        """``report``, which is the first of its session, need not be sent any more."""
        reports = self._waiting[report.key]
        assert reports[0] is report
        del reports[0]
        if not reports:
            del self._waiting[report.key]
        self._count -= 1
