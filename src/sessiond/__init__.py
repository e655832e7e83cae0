"""sessiond: the session manager of a voice gateway layer.

``start`` and ``stop`` embed it; ``Client`` and ``AsyncClient`` speak to one that serves, and ``Reporter`` goes on
while it is away.
"""

from __future__ import annotations

from sessiond._version import __version__
from sessiond.actors import arguments, errors, events, results
from sessiond.actors.limits import Limit
from sessiond.actors.mirror import Mirror
from sessiond.actors.record import Session
from sessiond.actors.registry import RegistryRef
from sessiond.actors.session import SessionActor, SessionRef
from sessiond.actors.settings import GatewaySettings, Settings, WatchSettings
from sessiond.config import Config
from sessiond.embedded import collector, start, stop
from sessiond.records.settings import FileSink, RecordSettings, WebhookSink
from sessiond.stores.settings import StoreSettings
from sessiond.transport.async_client import AsyncClient
from sessiond.transport.async_gateway import AsyncGateway
from sessiond.transport.client import Client
from sessiond.transport.gateway import Gateway
from sessiond.transport.registration import Registration
from sessiond.transport.reporter import Reporter

__all__ = [
    "AsyncClient",
    "AsyncGateway",
    "Client",
    "Config",
    "FileSink",
    "Gateway",
    "GatewaySettings",
    "Limit",
    "Mirror",
    "RecordSettings",
    "Registration",
    "RegistryRef",
    "Reporter",
    "Session",
    "SessionActor",
    "SessionRef",
    "Settings",
    "StoreSettings",
    "WatchSettings",
    "WebhookSink",
    "__version__",
    "arguments",
    "collector",
    "errors",
    "events",
    "results",
    "start",
    "stop",
]
