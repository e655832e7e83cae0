"""``sessiond records``: what it gets from the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sessiond.actors.errors import SessiondError
from sessiond.actors.params import MAX_PAGE
from sessiond.call import server_address
from sessiond.record_output import LISTED, output, writer
from sessiond.records.export import Writer
from sessiond.sources import ConfigError
from sessiond.transport.client import Client

__all__ = ["export", "listed"]


def export(server: str, timeout: float, query: Mapping[str, Any], form: str, path: Path | None) -> int:
    """Write the records that match to ``path``, else to standard output; how many there were.

    Raises:
        ConfigError: ``server`` is not HOST:PORT, ``form`` needs what is not installed, or ``path`` cannot be written.
        BrokenPipeError: whoever reads standard output has seen enough.
        SessiondError: whatever the service answers, or that it cannot be reached.
    """
    try:
        with _client(server, timeout) as client, output(path) as file:
            return _write(_pages(client, {"limit": MAX_PAGE, **query}), writer(form, file))
    except (SessiondError, BrokenPipeError):  # of which some are errors of the system too
        raise
    except OSError as error:
        raise ConfigError(f"{path or 'standard output'} cannot be written: {error.strerror or error}") from None


def _write(pages: Iterator[list[Any]], table: Writer) -> int:
    count = 0
    try:
        for page in pages:
            table.write(page)
            count += len(page)
        table.finish()
    except BaseException:
        table.abandon()
        raise
    return count


def listed(server: str, timeout: float, query: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    """The first ``most`` records that match, with what people are shown of them.

    Raises:
        ConfigError: ``server`` is not HOST:PORT.
        SessiondError: as ``export``.
    """
    found: list[dict[str, Any]] = []
    with _client(server, timeout) as client:
        for page in _pages(client, {"limit": min(most, MAX_PAGE), "fields": LISTED, **query}):
            found += page
            if len(found) >= most:
                break
    return found[:most]


def _client(server: str, timeout: float) -> Client:
    host, port = server_address(server)
    return Client(host, port, timeout=timeout)


def _pages(client: Client, query: Mapping[str, Any]) -> Iterator[list[Any]]:
    cursor = None
    while True:
        page = client.list_records(**query, cursor=cursor)
        yield page.records
        cursor = page.cursor
        if cursor is None:
            return
