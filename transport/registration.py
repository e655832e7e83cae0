"""As which gateway a client speaks, and whether the service has it so. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from sessiond.actors.arguments import RegistrationArguments
from sessiond.actors.errors import Conflict, SessiondError
from sessiond.actors.record import Scalar
from sessiond.actors.results import Registered
from sessiond.transport import client_requests as requests
from sessiond.transport.client_requests import Request

__all__ = ["COMMANDS", "MAX_PAUSE", "REPLACED", "Registration", "Standing"]

COMMANDS = "commands"
"""The capability of a connection on which the service may ask for something."""
REPLACED = "gateway_replaced"
"""What the service says to a gateway whose place another one takes."""
FIRST_PAUSE, MAX_PAUSE = 0.5, 10.0
"""Seconds until a client that was refused as a gateway tries again: doubled from the first to the last."""


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """As which gateway a client registers each of its connections."""

    name: str
    epoch: str | None = None
    """Tells this run of the gateway from earlier and later ones: new at each start, the same in all its processes."""
    capabilities: tuple[str, ...] = ()
    """What its connections can do beyond sending requests; ``"commands"``: carry out what the service asks for."""
    lease: float | None = None
    """Seconds without a sign of life after which it is lost; None leaves them to the service."""
    metadata: Mapping[str, Scalar] | None = None
    """What operators may want to know of it."""

    def request(self) -> Request[Registered]:
        """What registers a connection."""
        options: RegistrationArguments = {}
        if self.epoch is not None:
            options["epoch"] = self.epoch
        if self.capabilities:
            options["capabilities"] = self.capabilities
        if self.lease is not None:
            options["lease"] = self.lease
        if self.metadata is not None:
            options["metadata"] = self.metadata
        return requests.register_gateway(self.name, options)


class Standing:
    """Whether the service has us as the gateway that we say we are.

    A refusal may pass, when the other one that has the name is gone. So it is raised for a while, and then asked for
    anew. Not so once the place was taken: who came later is to have it, and the two must not take it from each other
    for ever.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        """``draw`` draws from 0 to 1, for the jitter."""
        self._draw = draw
        self._refusal: SessiondError | None = None
        self._pauses = 0
        self._retry_at = 0.0

    def check(self, now: float) -> None:
        """Whether it is time to register.

        Raises:
            SessiondError: why the service refused that a moment ago; ``details["registration"]`` is ``"refused"``.
        """
        if self._refusal is not None and now < self._retry_at:
            raise self.refusal()

    def refusal(self) -> SessiondError:
        """The error to raise, new for whoever raises it."""
        assert self._refusal is not None
        return type(self._refusal)(self._refusal.text, **self._refusal.details)

    def refused(self, error: SessiondError, now: float) -> None:
        """The service has refused to register us."""
        pause = min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(self._pauses, 16))
        self._pauses += 1
        self._retry_at = now + pause * (0.5 + 0.5 * self._draw())
        self._set(error)

    def accepted(self) -> None:
        """The service has registered us."""
        self._refusal = None
        self._pauses = 0

    def replaced(self) -> None:
        """The service has given our place to another one."""
        self._retry_at = float("inf")
        self._set(Conflict("Another instance has taken the place of this gateway"))

    @property
    def is_replaced(self) -> bool:
        """Whether another one has our place, for good."""
        return self._retry_at == float("inf")

    def _set(self, error: SessiondError) -> None:
        self._refusal = error
        error.details = {**error.details, "registration": "refused"}
