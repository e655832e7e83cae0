"""A service that gateways reach through a proxy, which notes what they say and can be told to interfere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import msgspec
from proxies import proxying
from serving import serving

from sessiond import Client, Registration
from sessiond.actors.settings import GatewaySettings
from sessiond.config import Config

__all__ = ["Tapped", "call", "create", "live", "other", "policy", "tapped"]


class Tapped:
    """A service, the proxy before it, and an operator's client of the service itself."""

    def __init__(self, served: Any, proxy: Any, client: Client) -> None:
        self.served = served
        self.client = client
        self.port = proxy.port
        self.heard: list[list[tuple[str, Any]]] = []
        """What came on each connection: methods with their parameters."""
        self.before: dict[str, Callable[[], None]] = {}
        """What is done before a request for a method is passed on; if it raises ``Cut``, the connection is closed."""
        self._proxy = proxy
        self._own = threading.local()  # each connection is passed on by a thread of its own
        proxy.to_service = self._note

    def cut(self) -> None:
        """Close the connections of the gateways; they can connect anew."""
        self._proxy.cut()

    def become(self, served: Any) -> None:
        """From now on the service is another one, as after a restart."""
        self._proxy.upstream = served.port
        self._proxy.cut()

    @property
    def methods(self) -> list[str]:
        """The methods that were asked for, on whatever connection."""
        return [method for each in self.heard for method, _ in each]

    def _note(self, data: bytes) -> bytes:
        if not hasattr(self._own, "unpacker"):
            self._own.unpacker = msgpack.Unpacker()
            self._own.heard = []
            self.heard.append(self._own.heard)
        self._own.unpacker.feed(data)
        for message in self._own.unpacker:
            if message[0] == 0:
                _, _, method, params = message
                self._own.heard.append((method, params))
                self.before.get(method, _nothing)()
        return data


def _nothing() -> None:
    """Nothing is done before a request."""


def policy(name: str) -> Config:
    """A service that does so when a second instance of a live gateway registers."""
    return msgspec.structs.replace(Config(), gateways=GatewaySettings(policy=name))


@contextlib.contextmanager
def tapped(config: Config | None = None) -> Iterator[Tapped]:
    """A service behind a proxy, until the block ends."""
    with serving(config) as served, proxying(served.port) as proxy, Client(port=served.port) as client:
        yield Tapped(served, proxy, client)


@contextlib.contextmanager
def other(served: Any, epoch: str = "e1", name: str = "gw-1") -> Iterator[Client]:
    """Another worker of a gateway, or one of another run; it is registered."""
    with Client(port=served.port, gateway=Registration(name=name, epoch=epoch)) as client:
        client.ping()
        yield client


def call(name: str, state: str = "active") -> dict[str, Any]:
    """A call that a gateway has."""
    return {"type": "sip", "external_id": name, "state": state}


def create(client: Client, name: str) -> str:
    """Create the session of a call; its id."""
    return client.create_session(**call(name), gateway="gw-1").id


def live(client: Client) -> dict[str | None, str]:
    """The live sessions of the gateway and their states, by its own ids."""
    return {each.external_id: each.state for each in client.sessions(gateway="gw-1")}
