"""What the clients ask: each method's request, from its arguments to bytes and from the reply to its result."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from sessiond.actors.arguments import (
    CommandArguments,
    CountArguments,
    CreateArguments,
    EndArguments,
    EndSessionsArguments,
    ExplainArguments,
    Fields,
    GatewayArguments,
    ListArguments,
    RecordArguments,
    RecordFields,
    RegistrationArguments,
    SyncArguments,
    Target,
    UpdateArguments,
)
from sessiond.actors.call_record import CallRecord, CallRecords
from sessiond.actors.errors import Internal, InvalidRequest, RequestTimeout, Unavailable
from sessiond.actors.params import EndQuery
from sessiond.actors.record import Scalar, Session
from sessiond.actors.results import (
    Commanded,
    Count,
    Created,
    Ended,
    EndedSessions,
    Explanation,
    Gateways,
    History,
    Page,
    Registered,
    Renewed,
    Synced,
    Terminated,
    Updated,
)
from sessiond.actors.settings import Commanding
from sessiond.transport.client_repeats import UPDATES, Repeat, rule, session_key
from sessiond.transport.client_replies import UNREADABLE, Reply, error_from
from sessiond.transport.codec import MAX_ARRAY, MAX_DEPTH, MAX_FRAME, MAX_MAP, REQUEST

__all__ = ["FieldsPage", "RecordFieldsPage", "RecordPage", "Request", "SessionPage"]

R = TypeVar("R")

_encode = msgspec.msgpack.Encoder().encode
_SCALARS = frozenset({str, int, float, bool, type(None)})


class SessionPage(Page, frozen=True):
    """A page of whole sessions."""

    sessions: list[Session]


class FieldsPage(Page, frozen=True):
    """A page of the fields that were asked for."""

    sessions: list[dict[str, Any]]


class RecordPage(CallRecords, frozen=True):
    """A page of whole records."""

    records: list[CallRecord]


class RecordFieldsPage(CallRecords, frozen=True):
    """A page of the fields that were asked for."""

    records: list[dict[str, Any]]


class Request(Generic[R]):
    """One request, whichever connections it is sent over."""

    __slots__ = ("_decode", "is_sent", "method", "number", "params", "patience", "session")

    def __init__(
        self, method: str, params: Iterable[object], decode: Callable[[msgspec.Raw], R], patience: float = 0.0
    ) -> None:
        """Ask for ``method`` with its parameters on the wire; ``decode`` reads the result.

        The answer may take ``patience`` seconds longer than others, since somebody else has to give it. A create
        without a ``request_id`` gets one, so that it can be repeated.

        Raises:
            InvalidRequest: the service would take the parameters for no frame at all, and close the connection on
                which other requests are under way.
        """
        plain: list[Any] = list(params)
        for place, param in enumerate(plain):
            if param.__class__ not in _SCALARS:
                plain[place] = _plain(param, "params", MAX_DEPTH - 2)
        if method == "create_session" and plain and isinstance(plain[0], dict):
            plain[0]["request_id"] = plain[0].get("request_id") or secrets.token_hex(16)
        self.method = method
        self.params = plain
        self.patience = patience
        self.session = session_key(plain) if method in UPDATES else None
        """Which session it updates; None if it updates none."""
        self.number: int | None = None
        """Its place in the order of sending, see ``Journal``; None before."""
        self.is_sent = False
        """Whether the service may have received it whole."""
        self._decode = decode

    def renewed(self) -> Request[R]:
        """The same request, never sent before."""
        request: Request[R] = copy.copy(self)
        request.number, request.is_sent = None, False
        return request

    @property
    def repeat(self) -> Repeat:
        """Whether it may be sent again when its connection is lost."""
        return rule(self.method, self.params, self.session)

    def encode(self, msgid: int) -> bytes:
        """The frame to send.

        Raises:
            InvalidRequest: a parameter cannot be encoded, or all of them together are too long.
        """
        try:
            frame = _encode((REQUEST, msgid, self.method, self.params))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidRequest(f"params: {error}", field="params") from None
        if len(frame) > MAX_FRAME:
            raise InvalidRequest(f"params: over {MAX_FRAME} bytes", field="params")
        return frame

    def read(self, reply: Reply) -> R:
        """The result in ``reply``.

        Raises:
            SessiondError: the error in it, as the class that has its code.
        """
        if reply.error is not None:
            raise error_from(reply.error)
        try:
            return self._decode(reply.result)
        except UNREADABLE as error:
            raise Internal(f"The answer to {self.method} cannot be read: {error}") from None

    def timed_out(self, seconds: float) -> RequestTimeout:
        """What to raise when no answer came in ``seconds``."""
        return RequestTimeout(f"No answer to {self.method} within {seconds:g} s")

    def unavailable(self, why: str) -> Unavailable:
        """What to raise when the service cannot be reached."""
        if not self.is_sent:
            return Unavailable(why)
        return Unavailable(f"{why}; whether {self.method} was carried out is not known", outcome="unknown")


def _plain(value: object, field: str, depth: int) -> Any:
    """``value`` if it is something that a frame may hold; maps as dicts."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (dict, Mapping)):
        _check_size(field, len(value), MAX_MAP, depth)
        return _plain_map(value, field, depth - 1)
    if isinstance(value, (list, tuple)):
        _check_size(field, len(value), MAX_ARRAY, depth)
        return [_plain(item, field, depth - 1) for item in value]
    raise InvalidRequest(f"{field}: a {type(value).__name__} cannot be sent", field=field)


def _plain_map(value: Mapping[Any, Any], field: str, depth: int) -> dict[Any, Any]:
    """A copy of ``value``. Looks at items one by one only where one of them is no scalar."""
    plain = dict(value)
    if not _SCALARS.issuperset(map(type, plain)):
        for key in plain:
            _plain(key, field, 0)
    if not _SCALARS.issuperset(map(type, plain.values())):
        for key, item in value.items():
            if item.__class__ not in _SCALARS:
                plain[key] = _plain(item, _name(key, field), depth)
    return plain


def _check_size(field: str, size: int, limit: int, depth: int) -> None:
    if size > limit:
        raise InvalidRequest(f"{field}: more than {limit} items", field=field)
    if depth == 0:
        raise InvalidRequest(f"{field}: nested too deep", field=field)


def _name(key: object, field: str) -> str:
    return key if isinstance(key, str) else field


def _decoder(kind: type[R]) -> Callable[[msgspec.Raw], R]:
    return msgspec.msgpack.Decoder(kind).decode


_USUAL = Commanding()
"""As a service is configured, unless somebody has changed it."""
_COMMANDS = frozenset({"terminate_session", "modify_session", "warn_session", "request_sync", "end_sessions"})

_anything = _decoder(Any)
_created = _decoder(Created)
_session = _decoder(Session)
_updated = _decoder(Updated)
_ended = _decoder(Ended)
_history = _decoder(History)
_session_page = _decoder(SessionPage)
_fields_page = _decoder(FieldsPage)
_count = _decoder(Count)
_record_page = _decoder(RecordPage)
_record_fields_page = _decoder(RecordFieldsPage)
_record = _decoder(CallRecord)
_terminated = _decoder(Terminated)
_commanded = _decoder(Commanded)
_ended_sessions = _decoder(EndedSessions)
_explanation = _decoder(Explanation)
_registered = _decoder(Registered)
_renewed = _decoder(Renewed)
_gateways = _decoder(Gateways)
_synced = _decoder(Synced)
_text = _decoder(str)
_map = _decoder(dict[str, Any])


def call(method: str, params: Sequence[object]) -> Request[Any]:
    """Any method, its result as plain data."""
    return Request(method, params, _anything, _patience(method, params))


def create_session(fields: CreateArguments) -> Request[Created]:
    """See ``Client.create_session``, as for all that follow."""
    return Request("create_session", (fields,), _created)


def get_session(target: Target) -> Request[Session]:
    return Request("get_session", (target,), _session)


def update_session(target: Target, changes: UpdateArguments, if_version: int | None) -> Request[Updated]:
    return Request("update_session", (target, changes, *_options(if_version=if_version)), _updated)


def update_session_state(target: Target, state: str, if_version: int | None, at: float | None) -> Request[Updated]:
    return Request("update_session_state", (target, state, *_options(if_version=if_version, at=at)), _updated)


def update_session_metadata(
    target: Target, metadata: Mapping[str, Scalar | None], if_version: int | None
) -> Request[Updated]:
    return Request("update_session_metadata", (target, metadata, *_options(if_version=if_version)), _updated)


def touch_session(target: Target) -> Request[Updated]:
    return Request("touch_session", (target,), _updated)


def end_session(target: Target, reason: str | None, options: EndArguments) -> Request[Ended]:
    return Request("end_session", (target, reason, options) if options else (target, reason), _ended)


def get_session_history(target: Target) -> Request[History]:
    return Request("get_session_history", (target,), _history)


def terminate_session(target: Target, reason: str | None, options: CommandArguments) -> Request[Terminated]:
    arguments = None if reason is None else {"reason": reason}
    return _command("terminate_session", (target, arguments), options, _terminated)


def modify_session(
    target: Target, changes: Mapping[str, Scalar | None], options: CommandArguments
) -> Request[Commanded]:
    return _command("modify_session", (target, changes), options, _commanded)


def warn_session(target: Target, text: str, options: CommandArguments) -> Request[Commanded]:
    return _command("warn_session", (target, text), options, _commanded)


def request_sync(gateway: str, options: CommandArguments) -> Request[Commanded]:
    return _command("request_sync", (gateway,), options, _commanded)


def end_sessions(query: EndSessionsArguments) -> Request[EndedSessions]:
    params = (query,)
    return Request("end_sessions", params, _ended_sessions, _patience("end_sessions", params))


def _command(
    method: str, named: tuple[object, ...], options: CommandArguments, decode: Callable[[msgspec.Raw], R]
) -> Request[R]:
    params = (*named, options) if options else named
    return Request(method, params, decode, _patience(method, params))


def _patience(method: str, params: Iterable[object]) -> float:
    """How many seconds longer than others a request may take."""
    if method not in _COMMANDS:
        return 0.0
    given: dict[str, Any] = {"limit": EndQuery().limit if method == "end_sessions" else 0}
    for param in params:
        if isinstance(param, Mapping):
            given.update(param)
    timeout, wait, limit = (given.get(name) for name in ("timeout", "wait", "limit"))
    seconds = _USUAL.wait if wait is None else wait
    return _number(seconds) + _USUAL.attempts * _number(timeout or _USUAL.timeout) + _number(limit) / _USUAL.rate


def _number(value: object) -> float:
    """A number as it is; what is none is the service's to refuse."""
    return value if isinstance(value, (int, float)) and value >= 0 else 0.0


def list_sessions(fields: Fields | None, query: ListArguments) -> Request[SessionPage | FieldsPage]:
    if fields is None:
        return Request("list_sessions", (query,), _session_page)
    return Request("list_sessions", ({**query, "fields": fields},), _fields_page)


def count_sessions(query: CountArguments) -> Request[Count]:
    return Request("count_sessions", (query,), _count)


def explain_limit(name: str, options: ExplainArguments) -> Request[Explanation]:
    return Request("explain_limit", (name, options) if options else (name,), _explanation)


def list_records(fields: RecordFields | None, query: RecordArguments) -> Request[RecordPage | RecordFieldsPage]:
    if fields is None:
        return Request("list_records", (query,), _record_page)
    return Request("list_records", ({**query, "fields": fields},), _record_fields_page)


def get_record(target: Target) -> Request[CallRecord]:
    return Request("get_record", (target,), _record)


def register_gateway(name: str, options: RegistrationArguments) -> Request[Registered]:
    return Request("register_gateway", (name, options), _registered)


def heartbeat_gateway(name: str, epoch: str | None) -> Request[Renewed]:
    return Request("heartbeat_gateway", (name, {"epoch": epoch}), _renewed)


def list_gateways(query: GatewayArguments) -> Request[Gateways]:
    return Request("list_gateways", (query,), _gateways)


def sync_sessions(gateway: str, options: SyncArguments) -> Request[Synced]:
    return Request("sync_sessions", (gateway, options), _synced)


def ping() -> Request[str]:
    return Request("ping", (), _text)


def server_info() -> Request[dict[str, Any]]:
    return Request("server_info", (), _map)


def _options(**options: float | None) -> tuple[dict[str, float], ...]:
    """The trailing map of options, if any is given."""
    given = {name: value for name, value in options.items() if value is not None}
    return (given,) if given else ()
