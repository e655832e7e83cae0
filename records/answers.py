"""What the answer to a webhook's request means."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from sessiond.records.sink import Failed, Refused

__all__ = ["MAX_RETRY_AFTER", "judge"]

MAX_RETRY_AFTER = 300.0
"""Seconds: nobody is believed who asks for a longer pause."""

_OTHERWISE = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 425, 426, 429})
"""Statuses of requests that speak of the moment, the address or the credentials. The records may be right, and are
as soon as somebody has mended what is not."""
_TEXT = 200
"""Characters of a body that errors repeat."""


def judge(status: int, retry_after: str | None, body: bytes, now: float) -> None:
    """Return if an answer, which came at ``now`` (epoch), says that the records were taken.

    Raises:
        Failed: they were not, but may be later.
        Refused: they never will be.
    """
    if HTTPStatus(200) <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    said = body.decode(errors="replace").strip()[:_TEXT]
    reason = f"HTTP status {status}" + (f": {said}" if said else "")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _OTHERWISE:
        raise Refused(reason)
    raise Failed(reason, _pause(retry_after, now))


def _pause(retry_after: str | None, now: float) -> float:
    """The seconds that ``Retry-After`` asks for: a number, or a date. 0 if it makes no sense."""
    if retry_after is None:
        return 0.0
    try:
        asked = float(retry_after) if retry_after.isdecimal() else parsedate_to_datetime(retry_after).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, asked), MAX_RETRY_AFTER) if math.isfinite(asked) else MAX_RETRY_AFTER
