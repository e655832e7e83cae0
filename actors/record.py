"""A session as data: the fields of the contract, and nothing that acts."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["Metadata", "Scalar", "Session"]

Scalar: TypeAlias = str | bool | int | float
Metadata: TypeAlias = dict[str, Scalar]


class Session(msgspec.Struct, frozen=True, gc=False):
    """What is known of one call, as one gateway sees it. Times are seconds since the epoch.

    A record changes by replacement: whoever holds one holds it as it was. ``metadata`` is replaced in the same way and
    never written to. It takes no part in cyclic garbage collection (``gc=False``), because nothing that it holds can
    point back at it.
    """

    id: str
    type: str
    state: str
    gateway: str | None
    epoch: str | None
    """Of the incarnation of its gateway that holds it."""
    external_id: str | None
    caller: str | None
    callee: str | None
    direction: str | None
    parent: str | None
    """The id of the session that this one belongs to, such as the A leg of a B leg."""
    group: str | None
    """A name that the legs of one call, a transfer or a conference share."""
    metadata: Metadata
    created_at: float
    updated_at: float
    ringing_at: float | None
    answered_at: float | None
    ended_at: float | None
    last_activity_at: float
    """Of a live session as last shown: a touch does not replace the record (see ``SessionActor.get``)."""
    expires_at: float | None
    """As ``last_activity_at``."""
    end_reason: str | None
    ended_by: str | None
    sip_code: int | None
    q850_cause: int | None
    version: int
    suspect: bool = False
    """Whether its gateway is lost; as ``last_activity_at``, and false once it has ended."""

    @property
    def duration(self) -> float:
        """Seconds from creation to the end; 0 while the session lives."""
        return 0.0 if self.ended_at is None else max(0.0, self.ended_at - self.created_at)

    @property
    def talk_duration(self) -> float:
        """Seconds from the answer to the end; 0 for a call that was never answered or still lives."""
        if self.ended_at is None or self.answered_at is None:
            return 0.0
        return max(0.0, self.ended_at - self.answered_at)
