"""The method table: what each method of the wire takes, and which actor answers it."""

from __future__ import annotations

from typing import Any

from sessiond.actors import params as p
from sessiond.actors.context import Known
from sessiond.actors.registry import RegistryActor
from sessiond.transport.codec import MAX_FRAME
from sessiond.transport.command_methods import COMMAND_METHODS
from sessiond.transport.gateway_methods import GATEWAY_METHODS
from sessiond.transport.method import Method, Positional, on_registry, on_session
from sessiond.transport.record_methods import RECORD_METHODS
from sessiond.transport.watch_methods import WATCH_METHODS

__all__ = ["METHODS"]

_NO_OPTIONS = p.EndOptions()


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


_finish = on_session(lambda session, call: session.finish(call.reason, call.options or _NO_OPTIONS))


def _server_info(registry: RegistryActor, _call: Nothing) -> object:
    info = registry.server_info()
    info["limits"] |= {"frame_bytes": MAX_FRAME, "string_bytes": p.MAX_STRING_BYTES, "page": p.MAX_PAGE}
    return info | {"methods": sorted(METHODS)}


_ALL_LISTED = p.ListQuery()
_ALL_COUNTED = p.CountQuery()
_EXPLAINED = p.ExplainOptions()

METHODS: dict[str, Method[Any]] = {
    "create_session": Method(CreateSession, on_registry(lambda registry, call: registry.create(call.fields))),
    "get_session": Method(Named, on_session(lambda session, _call: session.get())),
    "update_session": Method(UpdateSession, on_session(_update_session)),
    "update_session_state": Method(UpdateSessionState, on_session(_update_session_state)),
    "update_session_metadata": Method(UpdateSessionMetadata, on_session(_update_session_metadata)),
    "touch_session": Method(Named, on_session(lambda session, _call: session.touch())),
    "end_session": Method(EndSession, _end_session),
    "get_session_history": Method(Named, on_registry(lambda registry, call: registry.history(call.id)), is_slow=True),
    "list_sessions": Method(
        ListSessions, on_registry(lambda registry, call: registry.page(call.query or _ALL_LISTED)), is_slow=True
    ),
    "count_sessions": Method(
        CountSessions, on_registry(lambda registry, call: registry.number(call.query or _ALL_COUNTED)), is_slow=True
    ),
    "explain_limit": Method(
        ExplainLimit,
        on_registry(lambda registry, call: registry.explain(call.name, call.options or _EXPLAINED)),
        is_slow=True,
    ),
    **RECORD_METHODS,
    **GATEWAY_METHODS,
    **WATCH_METHODS,
    **COMMAND_METHODS,
    "ping": Method(Nothing, lambda registry, _call: registry.ping()),
    "server_info": Method(Nothing, _server_info),
}
