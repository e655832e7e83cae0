"""What a SIP message says about its call, in sessiond's words. Knows neither Kamailio nor sockets."""

from __future__ import annotations

import re

__all__ = ["END_MARK", "end_reason", "is_on_hold", "q850_cause", "state_after_offer"]

END_MARK = "sessiond"
"""Stands in the Reason header of a BYE that the sidecar asked for: such an end needs no report, the service knows."""

_REASONS = {
    486: "busy",
    600: "busy",
    408: "no_answer",
    480: "no_answer",
    487: "canceled",
    403: "rejected",
    603: "rejected",
}


def end_reason(status: int) -> str:
    """Why a call that got this final answer ended."""
    return _REASONS.get(status, "failed")


def q850_cause(reason_header: str | None) -> int | None:
    """The cause of Q.850 in a Reason header (RFC 3326), which may hold several reasons."""
    found = re.search(r"Q\.850\s*;[^,]*?\bcause\s*=\s*(\d{1,3})\b", reason_header or "", re.IGNORECASE)
    cause = int(found[1]) if found else 128
    return cause if cause < 128 else None  # noqa: PLR2004  (seven bits)


def state_after_offer(*descriptions: str | None) -> str | None:
    """The state of a call after these session descriptions, offer and answer, were exchanged; None if there are none.

    One of them on hold is enough: not every phone answers `sendonly` with `recvonly`, as RFC 3264 wants it to.
    """
    given = [description for description in descriptions if description]
    if not given:
        return None
    return "held" if any(map(is_on_hold, given)) else "active"


def is_on_hold(description: str) -> bool:
    """Whether no medium flows both ways. A refused medium (port 0) does not count."""
    session, *media = re.split(r"^(?=m=)", description, flags=re.MULTILINE)
    flowing = [medium for medium in media if not re.match(r"m=\S+ 0[ /]", medium)]
    default_direction = _direction(session, "sendrecv")
    default_address = _address(session, "")
    return bool(flowing) and not any(
        _direction(medium, default_direction) == "sendrecv" and _address(medium, default_address) != "0.0.0.0"  # noqa: S104
        for medium in flowing
    )


def _direction(part: str, default: str) -> str:
    found = re.search(r"^a=(sendrecv|sendonly|recvonly|inactive)\s*$", part, re.MULTILINE)
    return found[1] if found else default


def _address(part: str, default: str) -> str:
    """Where media shall go; 0.0.0.0 was how to put on hold before there were directions (RFC 2543)."""
    found = re.search(r"^c=IN IP4 (\S+)", part, re.MULTILINE)
    return found[1] if found else default
