"""How a command gets to its gateway: whom to ask, for how long, and what an answer means. Decided without acting.

Commands may be carried out twice: an answer can be lost with its connection, or come after the command was sent again.
So the first answer counts, whichever attempt it is to, and an answer to a command that is over means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from sessiond.actors.errors import Overloaded, RequestTimeout, SessiondError, Unavailable

__all__ = [
    "ABSENT",
    "CAPABILITY",
    "COMMANDS",
    "DONE",
    "FAILED",
    "MAX_LOSSES",
    "NOT_ASKED",
    "NOT_FOUND",
    "OUTCOMES",
    "OVERLOADED",
    "TIMEOUT",
    "Course",
    "Patience",
    "Verdict",
    "meaning",
    "refusal",
]

CAPABILITY = "commands"
"""What a gateway says that it has, for a connection on which it can be told to do something."""

COMMANDS = ("terminate_session", "modify_session", "warn_session", "report_sessions")

DONE, NOT_FOUND, FAILED, TIMEOUT, ABSENT, NOT_ASKED, OVERLOADED = OUTCOMES = (
    *("done", "not_found", "failed", "timeout", "absent", "not_asked", "overloaded"),
)
"""What can come of a command: the gateway did it, does not know the session, refused; did not answer; was not there;
takes no commands; has so many to do that this one was never sent."""

MAX_LOSSES = 8
"""So many connections may be lost under one command. It may be what the gateway stumbles over."""

MAX_ECHO = 400
"""Characters of a gateway's error that are passed on."""

L = TypeVar("L")


class Patience(NamedTuple):
    """How long a command may take."""

    timeout: float
    """Seconds that one attempt has."""
    attempts: int
    """Attempts that may go unanswered."""
    wait: float
    """Seconds in which the first attempt must begin; for so long a gateway that is gone is waited for."""

    @property
    def longest(self) -> float:
        """Seconds after which every command is over."""
        return self.wait + self.attempts * self.timeout


class Verdict(NamedTuple):
    """What came of a command."""

    outcome: str
    """One of ``OUTCOMES``."""
    result: Any = None
    """What the gateway answered."""
    error: dict[str, Any] | None = None
    """Why it did not do it: ``code`` and ``text``."""


def meaning(error: Any, result: Any) -> Verdict:
    """What an answer says. Errors come in all shapes: this service's own, a text, a map."""
    if error is None:
        return Verdict(DONE, result)
    code, text = _read(error)
    return Verdict(NOT_FOUND if code == NOT_FOUND else FAILED, None, {"code": code, "text": text[:MAX_ECHO]})


def _read(error: Any) -> tuple[str | None, str]:
    """The code of an error, if it has one, and its text."""
    match error:
        case str():
            return (error[:MAX_ECHO] if error.isidentifier() else None), error
        case {"code": str(code), **more}:
            return code[:MAX_ECHO], _text(more, code)
        case [_, str(text), {"code": str(code)}]:
            return code[:MAX_ECHO], text
        case [_, str(text), *_]:
            return None, text
        case {**more}:
            return None, _text(more, repr(error))
    return None, repr(error)


def _text(fields: dict[Any, Any], default: str) -> str:
    return next((value for name in ("text", "message") if isinstance(value := fields.get(name), str)), default)


_REFUSALS: dict[str, tuple[type[SessiondError], str]] = {
    NOT_FOUND: (Unavailable, "The gateway does not know the session"),
    FAILED: (Unavailable, "The gateway refused"),
    TIMEOUT: (RequestTimeout, "The gateway did not answer"),
    ABSENT: (Unavailable, "The gateway is not there"),
    NOT_ASKED: (Unavailable, "The gateway takes no commands"),
    OVERLOADED: (Overloaded, "The gateway has too many commands to carry out"),
}


def refusal(verdict: Verdict) -> SessiondError:
    """The error that tells of a verdict which is no success."""
    kind, text = _REFUSALS[verdict.outcome]
    if verdict.error is None:
        return kind(text, gateway=verdict.outcome)
    return kind(f"{text}: {verdict.error['text']}", gateway=verdict.outcome, error=verdict.error)


class Course(Generic[L]):
    """The course of one command over the links of its gateway. Told what happens, it says when that is the end."""

    __slots__ = ("_asked", "_current", "_denied", "_due", "_excuse", "_left", "_losses", "_timeout", "_until")

    def __init__(self, patience: Patience, now: float) -> None:
        """Begin at ``now``, seconds on the clock of everything here."""
        self._timeout = patience.timeout
        self._left = patience.attempts
        self._until = now + patience.wait
        self._due = math.inf
        self._losses = 0
        self._excuse: Verdict | None = None
        """Why the gateway did not do it when it was last asked."""
        self._current: L | None = None
        self._asked: list[L] = []
        self._denied: list[L] = []

    @property
    def due(self) -> float:
        """When it is to be looked at next, if nothing happens before."""
        return self._until if self._current is None else self._due

    @property
    def is_asked(self) -> bool:
        """Whether an attempt is under way."""
        return self._current is not None

    @property
    def has_begun(self) -> bool:
        """Whether there was an attempt."""
        return bool(self._asked)

    def choose(self, links: Iterable[L]) -> L | None:
        """Which of ``links`` to ask now: one that was asked as seldom as any, and does not deny the session."""
        return min((link for link in links if link not in self._denied), key=self._asked.count, default=None)

    def asked(self, link: L, now: float) -> None:
        """An attempt begins."""
        self._left -= 1
        self._current, self._due = link, now + self._timeout
        self._asked.append(link)

    def answered(self, link: L, error: Any, result: Any, links: Sequence[L]) -> Verdict | None:
        """``link`` has answered the present attempt or an earlier one.

        A session that one link does not know may be known by another of ``links``, those that are there: a gateway's
        processes need not know of each other's calls. A gateway that has too much to do is asked again when the
        attempt has had its time.
        """
        verdict = meaning(error, result)
        if verdict.error is not None and verdict.error["code"] == OVERLOADED:
            self._excuse = Verdict(OVERLOADED, None, verdict.error)
            return None
        if verdict.outcome == NOT_FOUND:
            self._denied.append(link)
            if self.choose(links) is not None:
                self._back(link)
                return None
        return verdict

    def lost(self, link: L) -> Verdict | None:
        """``link`` is gone; what was asked on it will not be answered."""
        self._losses += 1
        if self._losses > MAX_LOSSES:
            return Verdict(ABSENT)
        self._back(link)
        return None

    def look(self, now: float) -> Verdict | None:
        """The present attempt may have had its time."""
        if self._current is not None and now >= self._due:
            if self._left <= 0:
                return self._excuse or Verdict(TIMEOUT)
            self._current = None
        return None

    def held_up(self, now: float, outcome: str) -> Verdict | None:
        """It cannot go on now: nobody is there, or somebody who has no room for it, as ``outcome`` says."""
        return Verdict(outcome) if now >= self._until else None

    def _back(self, link: L) -> None:
        """The attempt on ``link`` is over and does not count; there may be a later one under way."""
        if self._current is link:
            self._current = None
            self._left += 1
