"""The configuration: every option with its default and its reason. ``options`` says where their values come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from sessiond.actors.limits import Limit
from sessiond.actors.settings import Commanding, GatewaySettings, Settings, WatchSettings
from sessiond.records.settings import FileSink, RecordSettings, SinkSettings
from sessiond.stores.settings import StoreSettings
from sessiond.transport.settings import Limits

__all__ = ["Address", "Config", "check_names"]

HOST = r"(\[[^\[\]\s]+\]|[^:\[\]\s]+)"
PORT = r"([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
Address: TypeAlias = Annotated[str, Meta(pattern=rf"\A{HOST}:{PORT}\Z")]
"""HOST:PORT; an IPv6 host stands in brackets."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole configuration. A program that embeds uses all of it but the ports, the log and ``limits``."""

    listen: Annotated[Address, Meta(description="Where gateways connect; port 0 picks a free one.")] = "127.0.0.1:7600"
    metrics: Annotated[
        Address, Meta(description="Where Prometheus and health checks connect; port 0 picks a free one.")
    ] = "127.0.0.1:9600"
    allow_unauthenticated: Annotated[
        bool, Meta(description="Listen beyond loopback although whoever reaches a port may do everything.")
    ] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least severe that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "text", "json"], Meta(description="auto is text on a terminal and JSON lines otherwise.")
    ] = "auto"
    sessions: Settings = Settings()
    gateways: GatewaySettings = GatewaySettings()
    watch: WatchSettings = WatchSettings()
    limits: Limits = Limits()
    commands: Commanding = Commanding()
    store: StoreSettings = StoreSettings()
    records: RecordSettings = RecordSettings()
    limit: tuple[Limit, ...] = ()
    """Limits on sessions. No options: each is a table ``[[limit]]`` of the file, see ``tables``."""
    sink: tuple[SinkSettings, ...] = ()
    """Where the records of calls go, each a table ``[[sink]]``."""

    def __post_init__(self) -> None:
        """Refuse what no single option says.

        Raises:
            ValueError: two limits or two sinks have one name, two sinks one file, or nobody keeps records for sinks.
        """
        check_names("limit", self.limit)
        check_names("sink", self.sink)
        paths = [each.path if isinstance(each, FileSink) else each.dead_letters for each in self.sink]
        for sink, path in zip(self.sink, paths, strict=True):
            if paths.count(path) > 1:
                raise ValueError(f"sink {sink.name}: another one writes to {path} too")
            if self.store.kind == "memory":
                raise ValueError(
                    f'sink {sink.name}: there are no records without a store; set kind = "sqlite" in [store]'
                )


def check_names(kind: str, tables: Sequence[Any]) -> None:
    """Refuse two of one name.

    Raises:
        ValueError: there are.
    """
    names = [each.name for each in tables]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{kind} {name}: there are several of that name")
