"""sessiond: the session manager of a voice gateway layer.

``start`` and ``stop`` embed it; ``Client`` and ``AsyncClient`` speak to one that serves.
"""

from __future__ import annotations

from sessiond._version import __version__
from sessiond.actors import errors, results
from sessiond.actors.record import Session
from sessiond.actors.registry import RegistryRef
from sessiond.actors.session import SessionActor, SessionRef
from sessiond.actors.settings import GatewaySettings, Settings
from sessiond.config import Config
from sessiond.embedded import collector, start, stop
from sessiond.transport.async_client import AsyncClient
from sessiond.transport.client import Client

__all__ = [
    "AsyncClient",
    "Client",
    "Config",
    "GatewaySettings",
    "RegistryRef",
    "Session",
    "SessionActor",
    "SessionRef",
    "Settings",
    "__version__",
    "collector",
    "errors",
    "results",
    "start",
    "stop",
]
