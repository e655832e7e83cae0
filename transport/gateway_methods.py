"""The methods of the wire that have to do with gateways."""

from __future__ import annotations

from typing import Any

from sessiond.actors import params as p
from sessiond.actors.gateway_registry import part_was_refused
from sessiond.actors.guard import run
from sessiond.actors.registry import RegistryActor
from sessiond.transport.method import Method, Positional, on_registry
from sessiond.transport.peer import Peer

__all__ = ["GATEWAY_METHODS"]


class RegisterGateway(Positional, frozen=True):
    name: p.Name
    options: p.Registration | None = None


class HeartbeatGateway(Positional, frozen=True):
    name: p.Name
    options: p.WhichEpoch | None = None


class ListGateways(Positional, frozen=True):
    query: p.GatewayQuery | None = None


class SyncSessions(Positional, frozen=True):
    gateway: p.Name
    options: p.SyncPart | None = None


_NO_REGISTRATION = p.Registration()
_NO_EPOCH = p.WhichEpoch()
_ALL = p.GatewayQuery()
_NOTHING_NAMED = p.SyncPart()


def _register(registry: RegistryActor, call: RegisterGateway, peer: Peer) -> object:
    """At once, whatever waits for the registry: the requests that follow on the connection are the gateway's."""
    return run(registry, lambda itself: itself.register(call.name, call.options or _NO_REGISTRATION, peer))


def _sync(registry: RegistryActor, call: SyncSessions) -> object:
    requester = registry.context.requester
    is_gateway = requester is not None and requester.gateway == call.gateway and requester.loss is None
    return registry.sync(call.gateway, call.options or _NOTHING_NAMED, requester if is_gateway else None)


GATEWAY_METHODS: dict[str, Method[Any]] = {
    "register_gateway": Method(RegisterGateway, _register, needs_peer=True),
    "heartbeat_gateway": Method(
        HeartbeatGateway, on_registry(lambda registry, call: registry.renew(call.name, call.options or _NO_EPOCH))
    ),
    "list_gateways": Method(
        ListGateways, on_registry(lambda registry, call: registry.gateways(call.query or _ALL)), is_slow=True
    ),
    "sync_sessions": Method(
        SyncSessions,
        on_registry(_sync),
        is_slow=True,
        refused=lambda registry: part_was_refused(registry.context.requester),
    ),
}
