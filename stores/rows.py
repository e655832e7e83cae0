"""Sessions that have ended: as rows of the table of records and back, and back from the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sessiond.actors.image import Row
from sessiond.actors.record import Metadata, Session
from sessiond.actors.store import Ending
from sessiond.stores.log import END

__all__ = ["COLUMNS", "ending", "endings", "row"]

COLUMNS = (
    'number, seq, id, type, gateway, epoch, external_id, caller, callee, direction, parent, "group", metadata, '
    "created_at, updated_at, ringing_at, answered_at, ended_at, last_activity_at, end_reason, ended_by, sip_code, "
    "q850_cause, version, timeline, request_id, digest"
)

BARE = 2
"""Values of an end as it was written when records did not come from the log: its record is in the table."""


class _End(msgspec.Struct, array_like=True):
    """The entry of an end in bytes."""

    kind: int
    seq: int
    final: Row
    timeline: bytes
    request_id: str | None
    digest: bytes | None


_values: Callable[[Any], tuple[Any, ...]] = msgspec.structs.astuple
_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder(Metadata).decode


def row(number: int, ended: Ending) -> tuple[Any, ...]:
    """``ended`` as the values of ``COLUMNS``."""
    seq, final, timeline, request_id, digest = ended
    return (
        number,
        seq,
        final.id,
        final.type,
        final.gateway,
        final.epoch,
        final.external_id,
        final.caller,
        final.callee,
        final.direction,
        final.parent,
        final.group,
        _to_json(final.metadata).decode(),
        final.created_at,
        final.updated_at,
        final.ringing_at,
        final.answered_at,
        final.ended_at,
        final.last_activity_at,
        final.end_reason,
        final.ended_by,
        final.sip_code,
        final.q850_cause,
        final.version,
        timeline,
        request_id,
        digest,
    )


def ending(values: Sequence[Any]) -> Ending:
    """The end that a row of ``COLUMNS`` is about.

    Raises:
        msgspec.DecodeError: the metadata is none.
    """
    _, seq, *fields, timeline, request_id, digest = values
    id_, type_, gateway, epoch, external_id, caller, callee, direction, parent, group, metadata, *rest = fields
    created_at, updated_at, ringing_at, answered_at, ended_at, last_activity_at, *rest = rest
    end_reason, ended_by, sip_code, q850_cause, version = rest
    final = Session(
        id=id_,
        type=type_,
        state="ended",
        gateway=gateway,
        epoch=epoch,
        external_id=external_id,
        caller=caller,
        callee=callee,
        direction=direction,
        parent=parent,
        group=group,
        metadata=_from_json(metadata),
        created_at=created_at,
        updated_at=updated_at,
        ringing_at=ringing_at,
        answered_at=answered_at,
        ended_at=ended_at,
        last_activity_at=last_activity_at,
        expires_at=None,
        end_reason=end_reason,
        ended_by=ended_by,
        sip_code=sip_code,
        q850_cause=q850_cause,
        version=version,
    )
    return Ending(seq, final, timeline, request_id, digest)


def endings(written: Sequence[Sequence[Any]], last: int, above: int) -> list[tuple[int, Ending]]:
    """The ends among entries as they are written, by position: of those up to ``last`` the ones ``above`` another.

    Raises:
        msgspec.DecodeError: one of them is no end.
    """
    first = last - len(written) + 1
    return [
        (position, _ending(entry))
        for position, entry in enumerate(written, first)
        if entry[0] == END and position > above and len(entry) > BARE
    ]


def _ending(entry: Sequence[Any]) -> Ending:
    end = msgspec.convert(entry, _End)
    return Ending(end.seq, Session(*_values(end.final)), end.timeline, end.request_id, end.digest)
