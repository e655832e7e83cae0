"""What of the configuration concerns the actors."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from sessiond.actors.deadlines import Timeouts
from sessiond.actors.params import MAX_LEASE, Name, Seconds, ShortName
from sessiond.actors.registration import Policy

__all__ = ["Commanding", "Count", "GatewaySettings", "Settings", "WatchSettings"]

Count: TypeAlias = Annotated[int, Meta(ge=0, le=10_000_000)]
Rate: TypeAlias = Annotated[int, Meta(ge=50, le=1_000_000)]
Names: TypeAlias = tuple[ShortName, ...]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How sessions live. A timeout of 0 is never; each session may have its own."""

    setup_timeout: Annotated[
        Seconds, Meta(description="A call that is not answered so long after its creation ends.")
    ] = 180.0
    idle_timeout: Annotated[
        Seconds, Meta(description="An answered call of which nothing has been heard for so long ends.")
    ] = 7200.0
    max_duration: Annotated[
        Seconds, Meta(description="A call ends so long after its answer, whatever is heard of it.")
    ] = 43_200.0
    retention: Annotated[
        Seconds, Meta(description="An ended session stays readable for late events and for whoever asks why it ended.")
    ] = 60.0
    max_retained: Annotated[
        Count,
        Meta(description="Ended sessions kept at most, oldest forgotten first: bounds memory at high call rates."),
    ] = 100_000
    max_sessions: Annotated[
        Count, Meta(description="Live sessions at most, then creates get limit_exceeded: bounds memory, 2 KB each.")
    ] = 2_000_000
    ends_per_second: Annotated[
        Rate, Meta(description="Overdue sessions ended at most: at some 10 us an end, a twentieth of a core.")
    ] = 5000
    metadata_indexes: Annotated[
        tuple[Name, ...], Meta(description="Metadata keys whose filters are answered from an index.")
    ] = ()
    types: Annotated[Names, Meta(description="Types beyond sip and webrtc that get a metrics label of their own.")] = ()
    reasons: Annotated[
        Names,
        Meta(description="End reasons of gateways, beyond the known ones, that get a metrics label of their own."),
    ] = ()

    @property
    def timeouts(self) -> Timeouts:
        """The timeouts of a session that overrides none."""
        return Timeouts(self.setup_timeout, self.idle_timeout, self.max_duration)


Lease: TypeAlias = Annotated[float, Meta(ge=1, le=MAX_LEASE)]
Grace: TypeAlias = Annotated[float, Meta(ge=1, le=86_400)]
Gateways: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]


class GatewaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long gateways that have registered are waited for."""

    lease: Annotated[
        Lease,
        Meta(description="A gateway of which nothing was heard for so long is lost, unless it asks for another lease."),
    ] = 30.0
    grace: Annotated[
        Grace,
        Meta(description="The sessions of a lost gateway wait so long for its return, then end as gateway_lost."),
    ] = 120.0
    policy: Annotated[
        Policy,
        Meta(
            description="When a second instance registers a live gateway's name: share has both live, take_over closes "
            "the connections of the older one, refuse refuses the younger one."
        ),
    ] = "share"
    max_gateways: Annotated[
        Gateways, Meta(description="Names that are known at once, then new ones get limit_exceeded: bounds memory.")
    ] = 10_000


class WatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is kept for those who watch. Nothing is before the first of them comes."""

    history: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="Changes kept for watchers that come back: bounds memory, some 500 B each.",
        ),
    ] = 100_000
    keep: Annotated[
        Seconds, Meta(description="Changes are still kept for so long after the last watcher has left.")
    ] = 300.0
    backlog: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="A watcher that does not take what it is sent is dropped when so many changes wait for it.",
        ),
    ] = 10_000
    patience: Annotated[
        Seconds,
        Meta(description="A watcher that takes nothing for so long is dropped; before its connection is given up."),
    ] = 10.0


class Residing(msgspec.Struct, frozen=True, kw_only=True):
    """How long sessions that are kept stay in memory."""

    quiet: float = 600.0
    """Seconds without activity, after which one leaves memory; 0 is never."""
    residents: int = 200_000
    """Sessions in memory at most; of more the quietest leave."""


class Commanding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How gateways are told to do something."""

    timeout: Annotated[
        float,
        Meta(gt=0, le=60, description="A gateway that does not answer a command for so long is asked again."),
    ] = 5.0
    attempts: Annotated[
        int, Meta(ge=1, le=10, description="So many times, over its connections in turn, before it is given up.")
    ] = 3
    wait: Annotated[
        float, Meta(ge=0, le=3600, description="A gateway that is gone is given so long to come back to its commands.")
    ] = 30.0
    rate: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Calls that end_sessions ends in a second: more at once may be too much for a gateway.",
        ),
    ] = 50
    queue: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Commands that wait for one gateway, 1.3 KB each; more are refused."),
    ] = 10_000
