"""The methods by which administrators have gateways do something."""

from __future__ import annotations

from typing import Any

from sessiond.actors import params as p
from sessiond.actors.registry import RegistryActor
from sessiond.transport.method import Method, Positional, on_registry

__all__ = ["COMMAND_METHODS"]


class TerminateSession(Positional, frozen=True):
    id: p.Target
    arguments: p.TerminateArguments | None = None
    options: p.CommandOptions | None = None


class ModifySession(Positional, frozen=True):
    id: p.Target
    changes: p.MetadataChanges
    options: p.CommandOptions | None = None


class WarnSession(Positional, frozen=True):
    id: p.Target
    text: p.Name
    options: p.CommandOptions | None = None


class RequestSync(Positional, frozen=True):
    gateway: p.Name
    options: p.CommandOptions | None = None


class EndSessions(Positional, frozen=True):
    query: p.EndQuery | None = None


_NOTHING_ENDED = p.EndQuery()


def _terminate(registry: RegistryActor, call: TerminateSession) -> object:
    return registry.terminate(call.id, None if call.arguments is None else call.arguments.reason, call.options)


def _modify(registry: RegistryActor, call: ModifySession) -> object:
    return registry.tell(call.id, "modify_session", {"changes": call.changes}, call.options)


def _warn(registry: RegistryActor, call: WarnSession) -> object:
    return registry.tell(call.id, "warn_session", {"text": call.text}, call.options)


def _request_sync(registry: RegistryActor, call: RequestSync) -> object:
    return registry.request_report(call.gateway, call.options)


def _end_sessions(registry: RegistryActor, call: EndSessions) -> object:
    return registry.end_many(call.query or _NOTHING_ENDED)


COMMAND_METHODS: dict[str, Method[Any]] = {
    "terminate_session": Method(TerminateSession, on_registry(_terminate), is_patient=True),
    "modify_session": Method(ModifySession, on_registry(_modify), is_patient=True),
    "warn_session": Method(WarnSession, on_registry(_warn), is_patient=True),
    "request_sync": Method(RequestSync, on_registry(_request_sync), is_patient=True),
    "end_sessions": Method(EndSessions, on_registry(_end_sessions), is_patient=True),
}
