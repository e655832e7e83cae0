"""``sessiond call``: one request from a shell, its answer as JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from sessiond.actors.errors import CallerError, SessiondError, Unavailable
from sessiond.config import Address
from sessiond.logs import escaped
from sessiond.service import split_address
from sessiond.sources import ConfigError
from sessiond.transport.client import Client

__all__ = ["argument", "call", "error_line", "exit_code", "server_address"]

CALLER_AT_FAULT, UNREACHABLE, SERVICE_AT_FAULT = 1, 3, 4
"""Exit codes; 2 is a wrong command line."""


def call(server: str, timeout: float, method: str, arguments: list[str]) -> Any:
    """What ``method`` of the service at ``server`` answers to ``arguments``.

    Raises:
        ConfigError: ``server`` is not HOST:PORT.
        SessiondError: whatever the service answers, or that it cannot be reached.
    """
    host, port = server_address(server)
    with Client(host, port, timeout=timeout) as client:
        return client.call(method, *map(argument, arguments))


def server_address(server: str) -> tuple[str, int]:
    """The host and the port of ``--server``.

    Raises:
        ConfigError: it is not HOST:PORT.
    """
    try:
        return split_address(msgspec.convert(server, Address))
    except msgspec.ValidationError:
        raise ConfigError(f"--server must be HOST:PORT, not {server!r}") from None


def argument(text: str) -> Any:
    """An argument of a shell: the JSON that it is, else itself.

    Raises:
        ConfigError: it begins like a map, a list or a string of JSON and is none.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        if text[:1] in {"{", "[", '"'}:
            raise ConfigError(f"{text!r} is no JSON: {error}") from None
        return text


def error_line(error: SessiondError) -> str:
    """An error in one line: ``code: text (details)``."""
    told = {name: value for name, value in error.details.items() if (name, value) != ("field", "params")}  # all of them
    details = ", ".join(f"{name}={json.dumps(value, default=str)}" for name, value in told.items())
    return escaped(f"{error.code}: {error.text}" + (f" ({details})" if details else ""))


def exit_code(error: SessiondError) -> int:
    """What a shell is told of an error."""
    if isinstance(error, CallerError):
        return CALLER_AT_FAULT
    return UNREACHABLE if isinstance(error, Unavailable) else SERVICE_AT_FAULT
