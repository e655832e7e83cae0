"""When a request may be sent again, and when the next connection is tried. Decided here, done by the clients.

A request whose answer was lost with its connection may or may not have been carried out. Sending it again is right if
doing it twice leaves the same as doing it once, and nothing that came in between is undone.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from sessiond.transport.client_requests import Request

__all__ = [
    "FIRST_DELAY",
    "MAX_DELAY",
    "UPDATES",
    "Journal",
    "Reconnection",
    "Repeat",
    "SessionKey",
    "rule",
    "session_key",
]

FIRST_DELAY, MAX_DELAY = 0.05, 2.0
"""Seconds between attempts to connect: doubled from the first to the last. A service that restarts is back within a
second or two, and a thousand workers that ask every two seconds do not keep it from starting."""


class Repeat(enum.Enum):
    """Whether a request that was sent may be sent again when its connection is lost."""

    ALWAYS = "always"
    UNLESS_OVERTAKEN = "unless overtaken"
    """Not once a later update of the same session was sent, which the repeat might undo."""
    NEVER = "never"


UPDATES = frozenset({"update_session", "update_session_state", "update_session_metadata"})
_HARMLESS = frozenset(
    {
        "get_session",
        "get_session_history",
        "list_sessions",
        "count_sessions",
        "list_records",
        "get_record",
        "register_gateway",
        "heartbeat_gateway",
        "explain_limit",
        "ping",
        "server_info",
        "touch_session",
        "end_session",
        "terminate_session",
        "request_sync",
        "list_gateways",
        "sync_sessions",
    }
)

SessionKey: TypeAlias = tuple[str, ...]
"""How an update names its session; the first item says in which of the two ways."""


def rule(method: str, params: Sequence[Any], session: SessionKey | None) -> Repeat:
    """Whether a request of ``method`` may be repeated; its parameters are the wire's, ``session`` its session key.

    A repeat with ``if_version`` would meet the version that the first one made, so there is none. What a method of
    another version of the service does is not known here, so that is not repeated either.
    """
    if len(params) > 2:  # noqa: PLR2004  (where every change has its options)
        options = params[2]
        if isinstance(options, dict) and options.get("if_version") is not None:
            return Repeat.NEVER
    if session is not None:
        return Repeat.UNLESS_OVERTAKEN
    if method == "create_session":
        return Repeat.ALWAYS if params and isinstance(params[0], dict) and params[0].get("request_id") else Repeat.NEVER
    return Repeat.ALWAYS if method in _HARMLESS else Repeat.NEVER


def session_key(params: Sequence[Any]) -> SessionKey | None:
    """The session that one of ``UPDATES`` with these parameters is for; None if they name none."""
    if not params:
        return None
    target = params[0]
    if isinstance(target, str):
        return ("id", target)
    if isinstance(target, dict) and "external_id" in target:
        return ("address", str(target.get("gateway")), str(target["external_id"]))
    return None


class Journal:
    """In which order updates were sent, as far as repeats depend on it: those still without an answer."""

    def __init__(self) -> None:
        self._count = 0
        self._latest: dict[SessionKey, int] = {}
        self._latest_by = {"id": 0, "address": 0}

    def send(self, request: Request[Any]) -> None:
        """``request`` is about to be sent, for the first time or again.

        Raises:
            Unavailable: it was sent before and must not be sent again.
        """
        if request.number is not None:
            self.check(request)
            return
        self._count += 1
        request.number = self._count
        if request.session is not None:
            self._latest[request.session] = self._latest_by[request.session[0]] = self._count

    def check(self, request: Request[Any]) -> None:
        """Whether ``request`` may be sent, if its connection was lost.

        Raises:
            Unavailable: it was sent before and must not be sent again.
        """
        if not request.is_sent or request.repeat is Repeat.ALWAYS:
            return
        if request.repeat is Repeat.NEVER or self._is_overtaken(request):
            raise request.unavailable("The connection was lost")

    def done(self, request: Request[Any]) -> None:
        """``request`` has its answer, or will not be sent any more."""
        session, number = request.session, request.number
        if session is not None and number is not None and self._latest.get(session) == number:
            del self._latest[session]

    def _is_overtaken(self, request: Request[Any]) -> bool:
        """Whether a later update was sent for the same session, or for one that may be the same.

        An id and an address may name the same session, which only the service knows.
        """
        assert request.session is not None
        assert request.number is not None
        other = "address" if request.session[0] == "id" else "id"
        return self._latest.get(request.session) != request.number or self._latest_by[other] > request.number


class Reconnection:
    """When to try to connect.

    An attempt has succeeded when the first answer comes: until then, a service that takes connections and drops them
    is as far away as one that takes none.
    """

    def __init__(self, patience: float, draw: Callable[[], float]) -> None:
        """Let requests wait for ``patience`` seconds; ``draw`` draws from 0 to 1, for the jitter."""
        self._patience = patience
        self._draw = draw
        self._attempts = 0
        self.is_trying = False
        """Whether there was no answer since the last attempt."""
        self._away_since = math.inf
        self._next_at = -math.inf

    def begun(self, now: float) -> None:
        """An attempt begins; the next is due once this one has failed."""
        self._attempts += 1
        self.is_trying = True
        self._away_since = min(self._away_since, now)
        self._next_at = math.inf

    def failed(self, now: float) -> None:
        """The attempt failed, or the connection was lost."""
        self._next_at = now + self._delay()

    def answered(self) -> None:
        """The service has answered."""
        self._attempts = 0
        self.is_trying = False
        self._away_since = math.inf

    def pause(self, now: float) -> float:
        """Seconds until an attempt is due; infinite while one is under way."""
        return max(0.0, self._next_at - now)

    def is_given_up(self, now: float) -> bool:
        """Whether a request shall fail at once.

        It shall if no attempt is due and the service has been away for longer than a request waits: that spares the
        workers of a gateway a full wait for each message of an outage.
        """
        return self.is_away(now) and now < self._next_at

    def is_away(self, now: float) -> bool:
        """Whether the service has been away for longer than a request waits."""
        return now - self._away_since >= self._patience

    def _delay(self) -> float:
        if not self._attempts:
            return 0.0
        return min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(self._attempts - 1, 16)) * (0.5 + 0.5 * self._draw())
