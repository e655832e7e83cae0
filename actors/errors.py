"""Every error that sessiond raises on purpose, as a tree that says who is at fault.

``CallerError``: the request was wrong or came at the wrong moment; sending it again unchanged will not help.
``ServiceError``: the request was fine and the service could not carry it out.

Each class has the ``code`` it has on the wire (``transport`` turns the one into the other), a text for people and
``details`` for programs. Anything else that escapes from a session's code is a crash and is told to callers as
``Internal``, never as itself.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

__all__ = [
    "BY_CODE",
    "CallerError",
    "Conflict",
    "Forbidden",
    "Internal",
    "InvalidRequest",
    "InvalidTransition",
    "LimitExceeded",
    "NotFound",
    "Overloaded",
    "RequestTimeout",
    "ServiceError",
    "SessionEnded",
    "SessiondError",
    "Unauthenticated",
    "Unavailable",
    "UnknownMethod",
    "VersionConflict",
]


class SessiondError(Exception):
    """The root of the tree; only its leaves are raised."""

    code: ClassVar[str]
    """The error's name on the wire and in metrics."""
    caller_at_fault: ClassVar[bool]
    """Whether the wire's fault number is 1 (the caller's) or 0 (the service's)."""

    def __init__(self, text: str, **details: Any) -> None:
        """Say what went wrong in ``text``; ``details`` are scalars, lists or maps that help a program."""
        super().__init__(text)
        self.text = text
        self.details = details

    def bare(self) -> Self:
        """This error without the frames that it came through.

        Kept as an answer it would keep them too, and they the answer: a circle with the session in it, which only the
        cyclic collector would break.
        """
        self.__traceback__ = self.__context__ = None
        return self


class CallerError(SessiondError):
    """The caller is at fault."""

    caller_at_fault = True


class ServiceError(SessiondError):
    """The service is at fault."""

    caller_at_fault = False


class InvalidRequest(CallerError):
    """An argument is missing, unknown, of the wrong type or out of range; ``details["field"]`` names it."""

    code = "invalid_request"


class UnknownMethod(CallerError):
    """No method has that name."""

    code = "unknown_method"


class NotFound(CallerError):
    """No session, live or retained, has that id or address; or no limit has that name."""

    code = "not_found"


class SessionEnded(CallerError):
    """The session has ended and can no longer change."""

    code = "session_ended"


class InvalidTransition(CallerError):
    """The session's state cannot become the one asked for; details give both."""

    code = "invalid_transition"


class VersionConflict(CallerError):
    """The session is no longer at ``if_version``; details give its version and state."""

    code = "version_conflict"


class Conflict(CallerError):
    """A ``request_id`` came back with other parameters, or an address fits several live sessions."""

    code = "conflict"


class LimitExceeded(CallerError):
    """A configured limit is reached; details name it."""

    code = "limit_exceeded"


class Unauthenticated(CallerError):
    """The connection has not said who it is."""

    code = "unauthenticated"


class Forbidden(CallerError):
    """The caller is known and may not do this."""

    code = "forbidden"


class Overloaded(ServiceError):
    """A bounded queue is full; the request was not taken in and may be sent again later."""

    code = "overloaded"


class RequestTimeout(ServiceError, TimeoutError):
    """No answer came in time; whether the request was carried out is not known."""

    code = "timeout"


class Unavailable(ServiceError):
    """The service cannot be reached, is stopping, or its store cannot take changes now."""

    code = "unavailable"


class Internal(ServiceError):
    """Something crashed; the log of the service says what."""

    code = "internal"


def _leaves(branch: type[SessiondError]) -> dict[str, type[SessiondError]]:
    found = {branch.code: branch} if hasattr(branch, "code") else {}
    for child in branch.__subclasses__():
        found.update(_leaves(child))
    return found


BY_CODE = _leaves(SessiondError)
"""The class of each error code, for clients that turn codes back into exceptions."""
