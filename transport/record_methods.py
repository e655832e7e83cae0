"""The methods that read the records of calls that have ended."""

from __future__ import annotations

from typing import Any

from sessiond.actors import params as p
from sessiond.actors.record_params import RecordQuery
from sessiond.transport.method import Method, Positional, on_registry

__all__ = ["RECORD_METHODS"]


class ListRecords(Positional, frozen=True):
    query: RecordQuery | None = None


class GetRecord(Positional, frozen=True):
    id: p.Target


_ALL_LISTED = RecordQuery()

RECORD_METHODS: dict[str, Method[Any]] = {
    "list_records": Method(
        ListRecords, on_registry(lambda registry, call: registry.record_page(call.query or _ALL_LISTED)), is_slow=True
    ),
    "get_record": Method(GetRecord, on_registry(lambda registry, call: registry.record(call.id)), is_slow=True),
}
