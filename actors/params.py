"""What the methods take, declared once: the wire decodes straight into these types, the in-process API converts.

Types, ranges, unknown keys, NaN and infinity are refused by msgspec while it decodes; ``invalid`` says in the
service's own words what was wrong and in which field. Only the size of strings in bytes, which msgspec does not
count, is left to ``check_sizes``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sessiond.actors.errors import InvalidRequest

__all__ = [
    "MAX_LEASE",
    "MAX_METADATA_BYTES",
    "MAX_PAGE",
    "MAX_STRING_BYTES",
    "SERVICE_REASONS",
    "Address",
    "CallFilters",
    "Changes",
    "CommandOptions",
    "CountQuery",
    "EndOptions",
    "EndQuery",
    "ExplainOptions",
    "Filters",
    "GatewayQuery",
    "IfVersion",
    "ListQuery",
    "MetadataChanges",
    "NewSession",
    "NewState",
    "Registration",
    "StateOptions",
    "SyncPart",
    "Target",
    "TerminateArguments",
    "WatchQuery",
    "WhichEpoch",
    "check_metadata",
    "check_sizes",
    "checked",
    "checked_limit",
    "checked_metadata",
    "checked_name",
    "checked_reason",
    "checked_target",
    "invalid",
]

MAX_STRING_BYTES = 4096
MAX_METADATA_BYTES = 16_384
MAX_METADATA_KEYS = 64
MAX_PAGE = 500
MAX_ENDS = 256
"""Sessions that ``end_sessions`` ends at once."""

MAX_LEASE = 3600
"""Seconds: a gateway that is gone must not count as live for longer."""
MAX_CAPABILITIES = 16
MAX_NAMED = 256
"""Sessions that one part of a sync names by id, and as many by external id: what a frame's arrays may hold."""
MAX_TIMEOUT = 1e9
"""Seconds, some 30 years: past every call, and far below where adding it to a clock would lose precision."""
MAX_EPOCH = 1e11
"""Seconds since the epoch, some 3,000 years: refuses milliseconds sent by mistake."""

MAX_ECHO = 80
"""Characters of what a caller sent that an error repeats."""

SERVICE_REASONS = frozenset({"idle_timeout", "setup_timeout", "max_duration", "gateway_lost", "crashed", "admin"})
"""Reasons that only the service gives; refused from callers."""

Text: TypeAlias = Annotated[str, Meta(max_length=MAX_STRING_BYTES)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_STRING_BYTES)]
ShortName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Direction: TypeAlias = Literal["inbound", "outbound"]
State: TypeAlias = Literal["initializing", "ringing", "active", "held", "ended"]
LiveState: TypeAlias = Literal["initializing", "ringing", "active", "held"]
EndedBy: TypeAlias = Literal["caller", "callee", "gateway", "service", "admin"]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_TIMEOUT)]
Epoch: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_EPOCH)]
Version: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Value: TypeAlias = (
    Text
    | bool
    | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[float, Meta(ge=-1.7976931348623157e308, le=1.7976931348623157e308)]
)
"""A metadata value: a scalar that every client can hold; the bounds of the float keep NaN and infinity out."""
MetadataChanges: TypeAlias = Annotated[dict[Text, Value | None], Meta(max_length=MAX_METADATA_KEYS)]

Field: TypeAlias = Literal[
    "id", "type", "state", "gateway", "epoch", "suspect", "external_id", "caller", "callee", "direction",
    "parent", "group", "metadata",
    "created_at", "updated_at", "ringing_at", "answered_at", "ended_at", "last_activity_at", "expires_at",
    "end_reason", "ended_by", "sip_code", "q850_cause", "version",
]  # fmt: skip
GroupField: TypeAlias = Literal[
    "type",
    "state",
    "gateway",
    "external_id",
    "caller",
    "callee",
    "direction",
    "parent",
    "group",
    "end_reason",
    "ended_by",
]


class NewSession(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """What ``create_session`` takes. None is "not given" throughout."""

    type: ShortName
    state: LiveState = "initializing"
    gateway: Name | None = None
    external_id: Name | None = None
    caller: Text | None = None
    callee: Text | None = None
    direction: Direction | None = None
    parent: Name | None = None
    group: Name | None = None
    metadata: Annotated[dict[Text, Value], Meta(max_length=MAX_METADATA_KEYS)] | None = None
    setup_timeout: Seconds | None = None
    idle_timeout: Seconds | None = None
    max_duration: Seconds | None = None
    request_id: Name | None = None
    at: Epoch | None = None
    answered_at: Epoch | None = None


class Address(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """A session named by its gateway's own id of it."""

    external_id: Name
    gateway: Name | None = None


Target: TypeAlias = Text | Address
"""How a method names its session: by id or by address."""


class IfVersion(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """Options of a change: refuse it unless the session is at this version."""

    if_version: Version | None = None


class StateOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """Options of ``update_session_state``."""

    if_version: Version | None = None
    at: Epoch | None = None


class NewState(StateOptions, forbid_unknown_fields=True, frozen=True, gc=False, kw_only=True):
    """``update_session_state`` without its target."""

    state: State


class EndOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """Options of ``end_session``."""

    if_version: Version | None = None
    ended_by: EndedBy | None = None
    sip_code: Annotated[int, Meta(ge=100, le=699)] | None = None
    q850_cause: Annotated[int, Meta(ge=0, le=127)] | None = None
    at: Epoch | None = None
    answered_at: Epoch | None = None


class Changes(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False, omit_defaults=True):
    """What ``update_session`` can change. Not given leaves as it is; None clears, or goes back to the default."""

    caller: Text | UnsetType | None = UNSET
    callee: Text | UnsetType | None = UNSET
    external_id: Name | UnsetType | None = UNSET
    parent: Name | UnsetType | None = UNSET
    group: Name | UnsetType | None = UNSET
    setup_timeout: Seconds | UnsetType | None = UNSET
    idle_timeout: Seconds | UnsetType | None = UNSET
    max_duration: Seconds | UnsetType | None = UNSET


class CallFilters(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which calls, up or over: all the filters given must match. UNSET is "not given"; None matches absent."""

    type: Text | UnsetType = UNSET
    gateway: Text | UnsetType | None = UNSET
    external_id: Text | UnsetType | None = UNSET
    caller: Text | UnsetType | None = UNSET
    callee: Text | UnsetType | None = UNSET
    direction: Direction | UnsetType | None = UNSET
    parent: Text | UnsetType | None = UNSET
    group: Text | UnsetType | None = UNSET
    metadata: MetadataChanges | UnsetType = UNSET
    created_after: Epoch | None = None
    """Inclusive, as all that end in ``after``."""
    created_before: Epoch | None = None
    """Exclusive, as all that end in ``before``."""

    def given_among(self, names: Iterable[str]) -> dict[str, Any]:
        """Those of the filters ``names`` that were given, by name."""
        return {name: value for name in names if (value := getattr(self, name)) is not UNSET}


class Filters(CallFilters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which sessions."""

    state: State | Annotated[list[State], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    suspect: bool | UnsetType = UNSET
    ended: bool | Literal["any"] = False

    @property
    def given(self) -> dict[str, Any]:
        """The filters that were given, by name."""
        return self.given_among(Filters.__struct_fields__)


class ListQuery(Filters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What ``list_sessions`` takes."""

    order: Literal["asc", "desc"] = "asc"
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100
    cursor: Text | None = None
    fields: Annotated[list[Field], Meta(min_length=1, max_length=64)] | None = None


class CountQuery(Filters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What ``count_sessions`` takes."""

    by: GroupField | None = None


class EndQuery(Filters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What ``end_sessions`` takes."""

    dry_run: bool = True
    most: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ENDS)] = 100
    cursor: Text | None = None


class TerminateArguments(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """What a gateway is told of the end of a session."""

    reason: ShortName | None = None


class CommandOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """How long a command may take; None is as configured."""

    timeout: Annotated[float, Meta(gt=0, le=60)] | None = None
    """Seconds that each attempt has."""
    wait: Annotated[float, Meta(ge=0, le=3600)] | None = None
    """Seconds to wait for a gateway that is gone."""


class ExplainOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Options of ``explain_limit``."""

    value: Value | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100
    cursor: Text | None = None


class Registration(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Options of ``register_gateway``."""

    epoch: ShortName | None = None
    capabilities: Annotated[tuple[ShortName, ...], Meta(max_length=MAX_CAPABILITIES)] | None = None
    lease: Annotated[float, Meta(ge=1, le=MAX_LEASE)] | None = None
    metadata: Annotated[dict[Text, Value], Meta(max_length=MAX_METADATA_KEYS)] | None = None


class WhichEpoch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """Options of ``heartbeat_gateway``."""

    epoch: ShortName | None = None


class SyncPart(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Options of ``sync_sessions``."""

    sync: Text | None = None
    ids: Annotated[list[Text], Meta(max_length=MAX_NAMED)] | None = None
    external_ids: Annotated[list[Name], Meta(max_length=MAX_NAMED)] | None = None
    final: bool = True
    cursor: Text | None = None


class GatewayQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False, kw_only=True):
    """What ``list_gateways`` takes."""

    name: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100
    cursor: Text | None = None


class WatchQuery(Filters, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What ``watch`` takes."""

    since: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = msgspec.field(default=None, name="from")
    """The number of the last change that is known, ``from`` on the wire; None knows nothing."""
    instance: Text | None = None
    """The run of the service that gave the number."""
    snapshot: bool = True
    """Whether to begin with what there is, if the changes since then cannot be had."""


T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

_encode = msgspec.msgpack.Encoder().encode


def checked(values: Mapping[str, Any], kind: type[S]) -> S:
    """Keyword arguments as ``kind``, a parameter type of this module.

    Raises:
        InvalidRequest: what does not fit; ``field`` names it.
    """
    converted = _convert(values, kind, "params")
    check_sizes(msgspec.structs.asdict(converted))
    return converted


def checked_target(target: object) -> str | Address:
    """A session's id or address, as ``checked``."""
    return _convert(target, Target, "id")  # type: ignore[arg-type]  # a union is a type to msgspec


def checked_metadata(metadata: object, field: str = "metadata") -> dict[str, Any]:
    """Changes of metadata, or others of that form, as ``checked``."""
    changes = _convert(metadata, MetadataChanges, field)
    check_sizes({field: changes})
    return changes


def checked_name(name: object, field: str = "name") -> str:
    """A text that is not empty, as ``checked``."""
    text = _convert(name, Name, field)
    check_sizes({field: text})
    return text


def checked_limit(name: object) -> str:
    """The name of a limit, as ``checked``."""
    return _convert(name, Text, "name")


def checked_reason(reason: object) -> str | None:
    """A reason that a caller may give, as ``checked``."""
    if reason is None:
        return None
    name = _convert(reason, ShortName, "reason")
    _check_string("reason", name)
    if name in SERVICE_REASONS:
        raise InvalidRequest(f"reason: {name!r} is given by the service only", field="reason")
    return name


def _convert(values: object, kind: type[T], root: str) -> T:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise invalid(error, root=root) from None


_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"required field `([^`]*)`")
_TOO_SHORT = re.compile(r"at least length \d+, got (\d+)")
_PATH = re.compile(r" - at `(.*)`$")
_STEP = re.compile(r"\.([A-Za-z_0-9]+)|\[(\d+)\]|\[\.\.\.\]")


def invalid(error: msgspec.ValidationError, arguments: tuple[str, ...] = (), root: str = "params") -> InvalidRequest:
    """Msgspec's refusal as ours, naming the field.

    ``arguments`` are the names of positional arguments, for errors in an array of them; the innermost name on the
    way to the error is the field, ``root`` if there is none.
    """
    text = str(error)
    path = _PATH.search(text)
    where = "" if path is None else path.group(1)
    reason = text if path is None else text[: path.start()]
    if (named := _UNKNOWN.search(reason)) is not None:
        key = named.group(1)[:MAX_ECHO]
        return InvalidRequest(f"{key}: unknown key", field=key)
    if (named := _MISSING.search(reason)) is not None:
        return InvalidRequest(f"{named.group(1)}: missing", field=named.group(1))
    if arguments and (short := _TOO_SHORT.search(reason)) is not None and int(short.group(1)) < len(arguments):
        name = arguments[int(short.group(1))]
        return InvalidRequest(f"{name}: missing argument", field=name)
    field = root
    for level, step in enumerate(_steps(where)):
        if isinstance(step, str):
            field = step
        elif level == 0 and step < len(arguments):
            field = arguments[step]
    return InvalidRequest(f"{field}: {reason[:1].lower()}{reason[1:]}", field=field)


def _steps(path: str) -> Iterator[str | int]:
    for name, index in _STEP.findall(path):
        if name:
            yield name
        elif index:
            yield int(index)


def check_sizes(values: Mapping[str, Any]) -> None:
    """Refuse strings over 4 KiB of UTF-8 and metadata over 16 KiB; ``values`` are fields by name."""
    for name, value in values.items():
        if isinstance(value, str):
            _check_string(name, value)
        elif isinstance(value, dict):
            for key, item in value.items():
                _check_string(name, key)
                if isinstance(item, str):
                    _check_string(name, item)
            check_metadata(value, name)
        elif isinstance(value, (list, tuple)):
            for item in value:
                if isinstance(item, str):
                    _check_string(name, item)


def check_metadata(metadata: Mapping[str, Any], name: str = "metadata") -> None:
    """Refuse more metadata than a session may have: 64 keys, and 16 KiB as encoded in MessagePack."""
    if len(metadata) > MAX_METADATA_KEYS:
        raise InvalidRequest(f"{name}: over {MAX_METADATA_KEYS} keys", field=name)
    if len(_encode(metadata)) > MAX_METADATA_BYTES:
        raise InvalidRequest(f"{name}: over {MAX_METADATA_BYTES} bytes", field=name)


def _check_string(name: str, value: str) -> None:
    if value.isascii():
        size = len(value)
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise InvalidRequest(f"{name}: not valid Unicode", field=name) from None
    if size > MAX_STRING_BYTES:
        raise InvalidRequest(f"{name}: over {MAX_STRING_BYTES} bytes", field=name)
