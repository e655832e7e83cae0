"""What the methods take by keyword, as types that checkers and editors see.

A key that is not given differs from one given as None, which clears a field or matches an absent one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Required, TypeAlias, TypedDict

from sessiond.actors.params import EndedBy, Field, GroupField
from sessiond.actors.record import Scalar
from sessiond.actors.record_params import RecordField

__all__ = [
    "CommandArguments",
    "CountArguments",
    "CreateArguments",
    "EndArguments",
    "EndSessionsArguments",
    "ExplainArguments",
    "Fields",
    "FilterArguments",
    "GatewayArguments",
    "ListArguments",
    "RecordArguments",
    "RecordFields",
    "RecordWalkArguments",
    "RegistrationArguments",
    "SyncArguments",
    "Target",
    "UpdateArguments",
    "WalkArguments",
]

Target: TypeAlias = str | Mapping[str, str | None]
"""A session's id, or its address: ``{"gateway": ..., "external_id": ...}``."""


class CreateArguments(TypedDict, total=False):
    """What ``create_session`` takes; see ``params.NewSession``. Times are epoch seconds, timeouts seconds."""

    type: Required[str]
    state: str
    gateway: str | None
    external_id: str | None
    caller: str | None
    callee: str | None
    direction: str | None
    parent: str | None
    group: str | None
    metadata: Mapping[str, Scalar] | None
    setup_timeout: float | None
    idle_timeout: float | None
    max_duration: float | None
    request_id: str | None
    at: float | None
    answered_at: float | None


class UpdateArguments(TypedDict, total=False):
    """What ``update_session`` can change; see ``params.Changes``. None clears, or goes back to the default."""

    caller: str | None
    callee: str | None
    external_id: str | None
    parent: str | None
    group: str | None
    setup_timeout: float | None
    idle_timeout: float | None
    max_duration: float | None


class EndArguments(TypedDict, total=False):
    """The options of ``end_session``; see ``params.EndOptions``."""

    if_version: int | None
    ended_by: EndedBy | None
    sip_code: int | None
    q850_cause: int | None
    at: float | None
    answered_at: float | None


class CallFilterArguments(TypedDict, total=False):
    """Which calls, up or over; see ``params.CallFilters``. None matches absent."""

    type: str
    gateway: str | None
    external_id: str | None
    caller: str | None
    callee: str | None
    direction: str | None
    parent: str | None
    group: str | None
    metadata: Mapping[str, Scalar | None]
    created_after: float | None
    created_before: float | None


class FilterArguments(CallFilterArguments, total=False):
    """Which sessions; see ``params.Filters``."""

    state: str | Sequence[str]
    suspect: bool
    ended: bool | Literal["any"]


class WalkArguments(FilterArguments, total=False):
    """What ``sessions`` takes; ``limit`` is how many sessions are fetched at a time."""

    order: Literal["asc", "desc"]
    limit: int


class ListArguments(WalkArguments, total=False):
    """What ``list_sessions`` takes, but for ``fields``; see ``params.ListQuery``."""

    cursor: str | None


class RecordWalkArguments(CallFilterArguments, total=False):
    """What ``records`` takes; see ``record_params.RecordFilters``.

    ``limit`` is how many records are fetched at a time.
    """

    end_reason: str | Sequence[str]
    ended_by: EndedBy | Sequence[EndedBy]
    ended_after: float | None
    ended_before: float | None
    order: Literal["asc", "desc"]
    limit: int


class RecordArguments(RecordWalkArguments, total=False):
    """What ``list_records`` takes, but for ``fields``; see ``record_params.RecordQuery``."""

    cursor: str | None


class CountArguments(FilterArguments, total=False):
    """What ``count_sessions`` takes; see ``params.CountQuery``."""

    by: GroupField | None


class CommandArguments(TypedDict, total=False):
    """How long a command may take, in seconds; None is as configured."""

    timeout: float | None
    """For each attempt."""
    wait: float | None
    """For a gateway that is gone to come back."""


class EndSessionsArguments(FilterArguments, total=False):
    """What ``end_sessions`` takes; see ``params.EndQuery``."""

    dry_run: bool
    most: int | None
    limit: int
    cursor: str | None


class ExplainArguments(TypedDict, total=False):
    """The options of ``explain_limit``; see ``params.ExplainOptions``."""

    value: Scalar | None
    limit: int
    cursor: str | None


class RegistrationArguments(TypedDict, total=False):
    """The options of ``register_gateway``; see ``params.Registration``."""

    epoch: str | None
    capabilities: Sequence[str] | None
    lease: float | None
    metadata: Mapping[str, Scalar] | None


class SyncArguments(TypedDict, total=False):
    """The options of ``sync_sessions``; see ``params.SyncPart``."""

    sync: str | None
    ids: Sequence[str] | None
    external_ids: Sequence[str] | None
    final: bool
    cursor: str | None


class GatewayArguments(TypedDict, total=False):
    """What ``list_gateways`` takes; see ``params.GatewayQuery``."""

    name: str | None
    limit: int
    cursor: str | None


Fields: TypeAlias = Sequence[Field]
"""The names of the fields that ``list_sessions`` shall show."""

RecordFields: TypeAlias = Sequence[RecordField]
"""The names of the fields that ``list_records`` shall show."""
