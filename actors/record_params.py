"""What ``list_records`` takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from sessiond.actors.params import MAX_PAGE, CallFilters, EndedBy, Epoch, Text

__all__ = ["RecordField", "RecordFilters", "RecordQuery"]

RecordField: TypeAlias = Literal[
    "id", "number", "type", "gateway", "epoch", "external_id", "caller", "callee", "direction", "parent", "group",
    "metadata", "created_at", "ringing_at", "answered_at", "ended_at",
    "setup_duration", "ring_duration", "talk_duration", "duration",
    "end_reason", "ended_by", "sip_code", "q850_cause", "version", "history", "history_dropped",
]  # fmt: skip


class RecordFilters(CallFilters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which records."""

    end_reason: Text | Annotated[list[Text], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    ended_by: EndedBy | Annotated[list[EndedBy], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    ended_after: Epoch | None = None
    ended_before: Epoch | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The filters that were given, by name."""
        return self.given_among(RecordFilters.__struct_fields__)


class RecordQuery(RecordFilters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What ``list_records`` takes."""

    order: Literal["asc", "desc"] = "asc"
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100
    cursor: Text | None = None
    fields: Annotated[list[RecordField], Meta(min_length=1, max_length=64)] | None = None
