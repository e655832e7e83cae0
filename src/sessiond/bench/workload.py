"""What the benchmark does: the steps of a call, and what its session says. Pure.

A call is what a gateway tells of one: created, ringing, answered, its metadata changed once, looked up once, ended.
Ten fields are set at its creation, four keys of metadata among them. What differs between calls in life differs here:
numbers, the gateway's id and the account are each call's own, gateways are few.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

__all__ = ["CALL", "CHANGED_METADATA", "GATEWAYS", "RESIDENT", "Call", "Step"]

GATEWAYS = 20
"""How many there are."""
CHANGED_METADATA = {"codec": "pcmu", "trunk": "trunk-eu-7"}
"""What the step METADATA sets; both keys are there already, with other values."""


class Step(enum.IntEnum):
    """One request of a call."""

    CREATE = 0
    RINGING = 1
    ACTIVE = 2
    METADATA = 3
    GET = 4
    END = 5
    TOUCH = 6
    """Of resident sessions only."""

    @property
    def method(self) -> str:
        """The method that it calls."""
        return _METHODS[self]


_METHODS = (
    "create_session",
    "update_session_state",
    "update_session_state",
    "update_session_metadata",
    "get_session",
    "end_session",
    "touch_session",
)

CALL = (Step.CREATE, Step.RINGING, Step.ACTIVE, Step.METADATA, Step.GET, Step.END)
"""A whole call."""
RESIDENT = (Step.CREATE, Step.ACTIVE)
"""A call that stays up: answered, since one that is not would soon end as ``setup_timeout``."""


class Call(msgspec.Struct, gc=False):
    """One call, by its number. Its texts are ASCII, each of the same length in every call, and made when asked for."""

    number: int
    session_id: bytes = b""
    """As the dialect writes it into requests; set by the dialect, when it creates or when the answer to that comes."""

    @property
    def gateway(self) -> bytes:
        """One of a few."""
        return b"gw-%02d" % (self.number % GATEWAYS)

    @property
    def external_id(self) -> bytes:
        """The gateway's own id, as a SIP Call-ID is: of this call only, for 2**48 calls."""
        return b"%012x@198.51.100.7" % (self.number & 0xFFFFFFFFFFFF)

    @property
    def caller(self) -> bytes:
        """Of this call only, for 10**10 calls."""
        return b"+49%010d" % (self.number % 10**10)

    @property
    def callee(self) -> bytes:
        """Of this call only, for 10**10 calls."""
        return b"+44%010d" % (self.number * 7919 % 10**10)

    @property
    def account(self) -> bytes:
        """The value of a metadata key: one of a million."""
        return b"acc-%06d" % (self.number * 31 % 10**6)

    def fields(self) -> dict[str, Any]:
        """The arguments of ``create_session``."""
        return {
            "type": "sip",
            "gateway": self.gateway.decode(),
            "external_id": self.external_id.decode(),
            "caller": self.caller.decode(),
            "callee": self.callee.decode(),
            "direction": "inbound",
            "setup_timeout": 120,
            "idle_timeout": 3600,
            "max_duration": 28800,
            "metadata": {
                "codec": "opus",
                "trunk": "trunk-eu-3",
                "region": "eu-central-1",
                "account": self.account.decode(),
            },
        }
