"""What the methods take, said a second time and in another way than the service says it.

A shape is a function that tells whether a value fits, of those that ``plain_msgpack.parse`` gives: a map is a tuple of
pairs there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["METHODS"]

Shape: TypeAlias = Callable[[Any], bool]

SERVICE_REASONS = {"idle_timeout", "setup_timeout", "max_duration", "gateway_lost", "crashed", "admin"}
STATES = ("initializing", "ringing", "active", "held", "ended")
FIELDS = (
    *("id", "type", "state", "gateway", "external_id", "caller", "callee", "direction"),
    *("parent", "group", "metadata", "epoch", "suspect"),
    *("created_at", "updated_at", "ringing_at", "answered_at", "ended_at", "last_activity_at", "expires_at"),
    *("end_reason", "ended_by", "sip_code", "q850_cause", "version"),
)
RECORD_FIELDS = (
    *("id", "number", "type", "gateway", "epoch", "external_id", "caller", "callee", "direction", "parent", "group"),
    *("metadata", "created_at", "ringing_at", "answered_at", "ended_at"),
    *("setup_duration", "ring_duration", "talk_duration", "duration"),
    *("end_reason", "ended_by", "sip_code", "q850_cause", "version", "history", "history_dropped"),
)
PARTIES = ("caller", "callee", "gateway", "service", "admin")
GROUPS = (
    *("type", "state", "gateway", "external_id", "caller", "callee", "direction", "parent", "group"),
    *("end_reason", "ended_by"),
)


def one_of(*values: Any) -> Shape:
    return lambda value: any(type(value) is type(each) and value == each for each in values)


def text(least: int = 0, most: int = 4096) -> Shape:
    return lambda value: type(value) is str and least <= len(value) <= most and len(value.encode()) <= 4096


def whole(least: int, most: int) -> Shape:
    return lambda value: type(value) is int and least <= value <= most


def number(least: float, most: float) -> Shape:
    return lambda value: type(value) in {int, float} and least <= value <= most


def optional(shape: Shape) -> Shape:
    return lambda value: value is None or shape(value)


def either(*shapes: Shape) -> Shape:
    return lambda value: any(shape(value) for shape in shapes)


def several(shape: Shape, most: int) -> Shape:
    return lambda value: type(value) is list and 1 <= len(value) <= most and all(map(shape, value))


def up_to(most: int, shape: Shape) -> Shape:
    return lambda value: type(value) is list and len(value) <= most and all(map(shape, value))


def fields(required: str = "", **shapes: Shape) -> Shape:
    """A map with these keys, of which ``required`` may not be left out."""

    def fits(value: Any) -> bool:
        if type(value) is not tuple or not all(type(key) is str and key in shapes for key, _ in value):
            return False
        return all(shapes[key](item) for key, item in value) and set(required.split()) <= {key for key, _ in value}

    return fits


def pairs(shape: Shape) -> Shape:
    """A map from any text to what has the shape."""
    return lambda value: type(value) is tuple and all(text()(key) and shape(item) for key, item in value)


def arguments(least: int, *shapes: Shape) -> Shape:
    """An array of at least so many arguments, and at most one for each shape."""
    return lambda values: (
        least <= len(values) <= len(shapes) and all(shape(value) for shape, value in zip(shapes, values, strict=False))
    )


name = text(least=1)
short = text(least=1, most=64)
seconds = number(0, 1e9)
epoch = number(0, 1e11)
direction = one_of("inbound", "outbound")
version = whole(1, 2**63 - 1)
scalar = either(
    text(), one_of(True, False), whole(-(2**63), 2**63 - 1), lambda value: type(value) is float and math.isfinite(value)
)
target = either(text(), fields(required="external_id", gateway=optional(name), external_id=name))
timeouts = {
    "setup_timeout": optional(seconds),
    "idle_timeout": optional(seconds),
    "max_duration": optional(seconds),
}
if_version = optional(fields(if_version=optional(version)))
patience = optional(
    fields(timeout=optional(lambda value: number(0, 60)(value) and value > 0), wait=optional(number(0, 3600)))
)
filters = {
    "type": text(),
    "state": either(one_of(*STATES), several(one_of(*STATES), 16)),
    "gateway": optional(text()),
    "external_id": optional(text()),
    "caller": optional(text()),
    "callee": optional(text()),
    "direction": optional(direction),
    "parent": optional(text()),
    "group": optional(text()),
    "suspect": one_of(True, False),
    "metadata": pairs(optional(scalar)),
    "created_after": optional(epoch),
    "created_before": optional(epoch),
    "ended": one_of(True, False, "any"),
}

METHODS: dict[str, Shape] = {
    "create_session": arguments(
        1,
        fields(
            required="type",
            type=short,
            state=one_of(*STATES[:-1]),
            gateway=optional(name),
            external_id=optional(name),
            caller=optional(text()),
            callee=optional(text()),
            direction=optional(direction),
            parent=optional(name),
            group=optional(name),
            metadata=optional(pairs(scalar)),
            request_id=optional(name),
            at=optional(epoch),
            answered_at=optional(epoch),
            **timeouts,
        ),
    ),
    "get_session": arguments(1, target),
    "get_session_history": arguments(1, target),
    "update_session": arguments(
        2,
        target,
        fields(
            caller=optional(text()),
            callee=optional(text()),
            external_id=optional(name),
            parent=optional(name),
            group=optional(name),
            **timeouts,
        ),
        if_version,
    ),
    "update_session_state": arguments(
        2,
        target,
        one_of(*STATES),
        optional(fields(if_version=optional(version), at=optional(epoch))),
    ),
    "update_session_metadata": arguments(2, target, pairs(optional(scalar)), if_version),
    "touch_session": arguments(1, target),
    "end_session": arguments(
        1,
        target,
        optional(lambda value: short(value) and value not in SERVICE_REASONS),
        optional(
            fields(
                if_version=optional(version),
                ended_by=optional(one_of("caller", "callee", "gateway", "service", "admin")),
                sip_code=optional(whole(100, 699)),
                q850_cause=optional(whole(0, 127)),
                at=optional(epoch),
                answered_at=optional(epoch),
            )
        ),
    ),
    "terminate_session": arguments(1, target, optional(fields(reason=optional(short))), patience),
    "modify_session": arguments(2, target, pairs(optional(scalar)), patience),
    "warn_session": arguments(2, target, name, patience),
    "request_sync": arguments(1, name, patience),
    "end_sessions": arguments(
        0,
        optional(
            fields(
                dry_run=one_of(True, False),
                most=optional(whole(0, 2**63 - 1)),
                limit=whole(1, 256),
                cursor=optional(text()),
                **filters,
            )
        ),
    ),
    "list_sessions": arguments(
        0,
        optional(
            fields(
                order=one_of("asc", "desc"),
                limit=whole(1, 500),
                cursor=optional(text()),
                fields=optional(several(one_of(*FIELDS), 64)),
                **filters,
            )
        ),
    ),
    "count_sessions": arguments(0, optional(fields(by=optional(one_of(*GROUPS)), **filters))),
    "list_records": arguments(
        0,
        optional(
            fields(
                type=text(),
                metadata=pairs(optional(scalar)),
                direction=optional(direction),
                end_reason=either(text(), several(text(), 16)),
                ended_by=either(one_of(*PARTIES), several(one_of(*PARTIES), 16)),
                order=one_of("asc", "desc"),
                limit=whole(1, 500),
                cursor=optional(text()),
                fields=optional(several(one_of(*RECORD_FIELDS), 64)),
                **dict.fromkeys(
                    ["gateway", "external_id", "caller", "callee", "parent", "group"],
                    optional(text()),
                ),
                **dict.fromkeys(
                    ["created_after", "created_before", "ended_after", "ended_before"],
                    optional(epoch),
                ),
            )
        ),
    ),
    "get_record": arguments(1, target),
    "explain_limit": arguments(
        1, text(), optional(fields(value=optional(scalar), limit=whole(1, 500), cursor=optional(text())))
    ),
    "watch": arguments(
        0,
        optional(
            fields(
                **{"from": optional(whole(0, 2**63 - 1))},
                instance=optional(text()),
                snapshot=one_of(True, False),
                **filters,
            )
        ),
    ),
    "unwatch": arguments(1, whole(0, 2**63 - 1)),
    "register_gateway": arguments(
        1,
        name,
        optional(
            fields(
                epoch=optional(short),
                capabilities=optional(up_to(16, short)),
                lease=optional(number(1, 3600)),
                metadata=optional(pairs(scalar)),
            )
        ),
    ),
    "heartbeat_gateway": arguments(1, name, optional(fields(epoch=optional(short)))),
    "list_gateways": arguments(0, optional(fields(name=optional(name), limit=whole(1, 500), cursor=optional(text())))),
    "sync_sessions": arguments(
        1,
        name,
        optional(
            fields(
                sync=optional(text()),
                ids=optional(up_to(256, text())),
                external_ids=optional(up_to(256, name)),
                final=one_of(True, False),
                cursor=optional(text()),
            )
        ),
    ),
    "ping": arguments(0),
    "server_info": arguments(0),
}
