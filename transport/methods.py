"""The method table: what each method of the wire takes, and which actor answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from sessiond.actors import params as p
from sessiond.actors.context import Known
from sessiond.actors.errors import InvalidRequest, SessiondError
from sessiond.actors.guard import Performer, perform
from sessiond.actors.registry import RegistryActor
from sessiond.actors.shards import SHARD_MASK
from sessiond.transport.codec import MAX_FRAME, NotAFrameError, inspect

__all__ = ["METHODS", "SMALL", "Method"]

SMALL = p.MAX_STRING_BYTES
"""No string of parameters of at most so many bytes can be too long, nor all of their metadata together."""


class Positional(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False, frozen=True):
    """The positional parameters of a method; the fields' names are those that errors name."""


class Nothing(Positional, frozen=True):
    """No parameters."""


class CreateSession(Positional, frozen=True):
    fields: p.NewSession


class Named(Positional, frozen=True):
    id: p.Target


class UpdateSession(Positional, frozen=True):
    id: p.Target
    changes: p.Changes
    options: p.IfVersion | None = None


class UpdateSessionState(Positional, frozen=True):
    id: p.Target
    state: p.State
    options: p.StateOptions | None = None


class UpdateSessionMetadata(Positional, frozen=True):
    id: p.Target
    metadata: p.MetadataChanges
    options: p.IfVersion | None = None


class EndSession(Positional, frozen=True):
    id: p.Target
    reason: p.ShortName | None = None
    options: p.EndOptions | None = None


class ListSessions(Positional, frozen=True):
    query: p.ListQuery | None = None


class CountSessions(Positional, frozen=True):
    query: p.CountQuery | None = None


class ExplainLimit(Positional, frozen=True):
    name: p.Text
    options: p.ExplainOptions | None = None


P = TypeVar("P", bound=Positional)

_NO_OPTIONS = p.EndOptions()


class Method(Generic[P]):
    """One method of the wire."""

    def __init__(self, kind: type[P], run: Callable[[RegistryActor, P], object], *, is_slow: bool = False) -> None:
        """Decode parameters as ``kind`` and answer with ``run``, which may return a pending answer.

        ``is_slow`` says that even what is done at once may take a good part of a millisecond.
        """
        self.is_slow = is_slow
        self._arguments = kind.__struct_fields__
        self.decode = msgspec.msgpack.Decoder(kind).decode
        """The fast way, good for at most ``SMALL`` bytes; raises anything for what ``examine`` is to see."""
        self.run = run

    def examine(self, params: msgspec.Raw, frame: bytes) -> P:
        """The parameters of the call in ``frame``, whatever is wrong with it.

        Raises:
            InvalidRequest: they are wrong; ``field`` says which.
            NotAFrameError: the frame is no frame at all.
        """
        try:
            decoded = self.decode(params)
        except Exception as error:  # noqa: BLE001  (``inspect`` says whether this is a frame at all)
            message = inspect(frame)
            if not isinstance(message[-1], list):
                raise NotAFrameError("the parameters are no array") from None
            if isinstance(error, msgspec.ValidationError):
                raise p.invalid(error, self._arguments) from None
            raise InvalidRequest("params: cannot be decoded", field="params") from None
        if len(frame) > SMALL:
            p.check_sizes(_fields(decoded))
        return decoded


def _fields(decoded: Positional) -> dict[str, Any]:
    """The parameters and the fields inside them by name, for the check of sizes."""
    fields: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(decoded).items():
        fields.update(msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else {name: value})
    return fields


def _take_turn(actor: Performer, operation: Callable[[Any, Any], object], call: Any) -> object:
    return perform(actor, lambda itself: operation(itself, call))


def _on_session(operation: Callable[[Known, Any], object]) -> Callable[[RegistryActor, Any], object]:
    """The method that runs ``operation`` as a turn of the session that the call names."""

    def run(registry: RegistryActor, call: Any) -> object:
        session = registry.sessions[hash(call.id) & SHARD_MASK].get(call.id) or registry.find(call.id)
        if session._ref is not None:  # noqa: SLF001
            return _take_turn(session, operation, call)
        try:  # what ``perform`` does then, two calls nearer: it is the way of almost every request
            return operation(session, call)
        except SessiondError:
            raise
        except BaseException as error:  # noqa: BLE001
            raise session._crashed(error) from None  # noqa: SLF001

    return run


def _on_registry(operation: Callable[[RegistryActor, Any], object]) -> Callable[[RegistryActor, Any], object]:
    """The method that runs ``operation`` as a turn of the registry."""

    def run(registry: RegistryActor, call: Any) -> object:
        if not registry.mailbox.is_idle:
            return _take_turn(registry, operation, call)
        try:  # as above
            return operation(registry, call)
        except SessiondError:
            raise
        except BaseException as error:  # noqa: BLE001
            raise registry._crashed(error) from None  # noqa: SLF001

    return run


def _version(options: p.IfVersion | None) -> int | None:
    return None if options is None else options.if_version


def _update_session(session: Known, call: UpdateSession) -> object:
    return session.amend(call.changes, _version(call.options))


def _update_session_state(session: Known, call: UpdateSessionState) -> object:
    options = call.options
    if options is None:
        return session.update_state(call.state)
    return session.update_state(call.state, options.if_version, options.at)


def _update_session_metadata(session: Known, call: UpdateSessionMetadata) -> object:
    return session.annotate(call.metadata, _version(call.options))


def _end_session(registry: RegistryActor, call: EndSession) -> object:
    if call.reason in p.SERVICE_REASONS:
        p.checked_reason(call.reason)
    return _finish(registry, call)


_finish = _on_session(lambda session, call: session.finish(call.reason, call.options or _NO_OPTIONS))


def _server_info(registry: RegistryActor, _call: Nothing) -> object:
    info = registry.server_info()
    info["limits"] |= {"frame_bytes": MAX_FRAME, "string_bytes": p.MAX_STRING_BYTES, "page": p.MAX_PAGE}
    return info | {"methods": sorted(METHODS)}


_ALL_LISTED = p.ListQuery()
_ALL_COUNTED = p.CountQuery()
_EXPLAINED = p.ExplainOptions()

METHODS: dict[str, Method[Any]] = {
    "create_session": Method(CreateSession, _on_registry(lambda registry, call: registry.create(call.fields))),
    "get_session": Method(Named, _on_session(lambda session, _call: session.get())),
    "update_session": Method(UpdateSession, _on_session(_update_session)),
    "update_session_state": Method(UpdateSessionState, _on_session(_update_session_state)),
    "update_session_metadata": Method(UpdateSessionMetadata, _on_session(_update_session_metadata)),
    "touch_session": Method(Named, _on_session(lambda session, _call: session.touch())),
    "end_session": Method(EndSession, _end_session),
    "get_session_history": Method(Named, _on_registry(lambda registry, call: registry.history(call.id)), is_slow=True),
    "list_sessions": Method(
        ListSessions, _on_registry(lambda registry, call: registry.page(call.query or _ALL_LISTED)), is_slow=True
    ),
    "count_sessions": Method(
        CountSessions, _on_registry(lambda registry, call: registry.number(call.query or _ALL_COUNTED)), is_slow=True
    ),
    "explain_limit": Method(
        ExplainLimit,
        _on_registry(lambda registry, call: registry.explain(call.name, call.options or _EXPLAINED)),
        is_slow=True,
    ),
    "ping": Method(Nothing, lambda registry, _call: registry.ping()),
    "server_info": Method(Nothing, _server_info),
}
