"""The registry's part that has to do with the records of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack, cast

from sessiond.actors.errors import InvalidRequest
from sessiond.actors.params import Address, checked, checked_target
from sessiond.actors.record_params import RecordQuery
from sessiond.actors.service import ServiceActor

if TYPE_CHECKING:
    from sessiond.actors.arguments import RecordArguments, RecordFields, Target
    from sessiond.actors.call_record import CallRecord, CallRecords
    from sessiond.actors.store import Records

__all__ = ["RecordRegistry"]


class RecordRegistry(ServiceActor):
    """Answers for the calls that have ended, as long as their records are kept."""

    # The methods of the contract

    def list_records(self, /, *, fields: RecordFields | None = None, **query: Unpack[RecordArguments]) -> CallRecords:
        """One page of the records that match, in the order in which the ends were kept.

        The keys are those of ``record_params.RecordQuery``. A page may be short, or empty, and have a cursor: there is
        a limit to how much is searched for one.

        Raises:
            InvalidRequest: also if this service keeps no records.
        """
        return self.record_page(checked({"fields": fields, **query}, RecordQuery))

    def get_record(self, target: Target) -> CallRecord:
        """The record of a session that has ended; of several with an address the newest.

        Raises:
            NotFound: there is none, or none any more.
            InvalidRequest: also if this service keeps no records.
        """
        return self.record(checked_target(target))

    # The same with checked arguments

    def record_page(self, query: RecordQuery) -> CallRecords:
        """``list_records`` with a checked query."""
        return cast("CallRecords", self._records().page(query))

    def record(self, target: str | Address) -> CallRecord:
        """``get_record`` of a checked target."""
        return cast("CallRecord", self._records().find(target))

    def close_records(self) -> None:
        """The service stops: what is being read is given up."""
        if self._context.records is not None:
            self._context.records.close()

    def _records(self) -> Records:
        records = self._context.records
        if records is None:
            raise InvalidRequest("This service keeps no records of calls: it has no [store]", field="params")
        return records
