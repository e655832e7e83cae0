"""What ``list_records`` takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sessiond.actors.params import MAX_PAGE, Direction, EndedBy, Epoch, MetadataChanges, Text

__all__ = ["RecordField", "RecordFilters", "RecordQuery"]

RecordField: TypeAlias = Literal[
    "id", "number", "type", "gateway", "epoch", "external_id", "caller", "callee", "direction", "parent", "group",
    "metadata", "created_at", "ringing_at", "answered_at", "ended_at",
    "setup_duration", "ring_duration", "talk_duration", "duration",
    "end_reason", "ended_by", "sip_code", "q850_cause", "version", "history", "history_dropped",
]  # fmt: skip


class RecordFilters(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which records: all the filters given must match. UNSET is "not given"; None matches absent."""

    type: Text | UnsetType = UNSET
    gateway: Text | UnsetType | None = UNSET
    external_id: Text | UnsetType | None = UNSET
    caller: Text | UnsetType | None = UNSET
    callee: Text | UnsetType | None = UNSET
    direction: Direction | UnsetType | None = UNSET
    parent: Text | UnsetType | None = UNSET
    group: Text | UnsetType | None = UNSET
    metadata: MetadataChanges | UnsetType = UNSET
    end_reason: Text | Annotated[list[Text], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    ended_by: EndedBy | Annotated[list[EndedBy], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    created_after: Epoch | None = None
    """Inclusive, as all that end in ``after``."""
    created_before: Epoch | None = None
    """Exclusive, as all that end in ``before``."""
    ended_after: Epoch | None = None
    ended_before: Epoch | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The filters that were given, by name."""
        return {name: value for name in RecordFilters.__struct_fields__ if (value := getattr(self, name)) is not UNSET}


class RecordQuery(RecordFilters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What ``list_records`` takes."""

    order: Literal["asc", "desc"] = "asc"
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100
    cursor: Text | None = None
    fields: Annotated[list[RecordField], Meta(min_length=1, max_length=64)] | None = None
