"""Sessions that have ended, as rows of the table of records and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sessiond.actors.record import Metadata, Session
from sessiond.actors.store import Ending

__all__ = ["COLUMNS", "ending", "row"]

COLUMNS = (
    'number, seq, id, type, gateway, epoch, external_id, caller, callee, direction, parent, "group", metadata, '
    "created_at, updated_at, ringing_at, answered_at, ended_at, last_activity_at, end_reason, ended_by, sip_code, "
    "q850_cause, version, timeline, request_id, digest"
)

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
