"""Limits on sessions as tables ``[[limit]]`` of the configuration file, the only place that they come from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sessiond.actors.limits import Limit
from sessiond.config import Config
from sessiond.options import ConfigError, Option, options

__all__ = ["LIMIT", "LIMIT_OPTIONS", "as_toml", "read"]

LIMIT = "limit"
"""The name of the tables, and of the field of ``Config`` that holds them."""

LIMIT_OPTIONS = tuple(options(Limit, LIMIT))
"""What can stand in one of them."""
_BY_NAME = {option.name: option for option in LIMIT_OPTIONS}

EXAMPLE = Limit(name="trunk-3-calls", by="metadata.trunk", value="t-3", concurrent=100, per_second=10.0)


def read(tables: Any, path: Path) -> tuple[Limit, ...]:
    """The limits of a file.

    Raises:
        ConfigError: a table is wrong; the text names the file, the table by number and name, and the field.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: limit must be tables, each headed [[limit]]")
    limits = tuple(_limit(table, _place(path, number, table)) for number, table in enumerate(tables, 1))
    try:
        Config(limit=limits)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return limits


def as_toml(limits: tuple[Limit, ...], source: str) -> Iterator[str]:
    """The lines of a file that sets the same; without limits, what one could look like."""
    if limits:
        yield f"# Limits on sessions. ({source})"
        for limit in limits:
            yield from _table(limit)
    else:
        yield f"# Limits on sessions: none. ({source}) Each is such a table:"
        yield from (f"# {line}" for line in _table(EXAMPLE))


def _place(path: Path, number: int, table: Mapping[str, Any]) -> str:
    name = table.get("name")
    return f"{path}: [[limit]] {number}" + (f" ({name})" if isinstance(name, str) else "")


def _limit(table: Mapping[str, Any], place: str) -> Limit:
    for name in table:
        if name not in _BY_NAME:
            raise ConfigError(f"{place}: unknown option {name}")
    for option in LIMIT_OPTIONS:
        if option.default is msgspec.NODEFAULT and option.name not in table:
            raise ConfigError(f"{place}: {option.name} is missing")
    values = {name: _checked(_BY_NAME[name], value, place) for name, value in table.items()}
    try:
        return Limit(**values)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None


def _checked(option: Option, value: Any, place: str) -> Any:
    try:
        return msgspec.convert(value, option.type)
    except msgspec.ValidationError:
        raise ConfigError(f"{place}: {option.name} must be {option.expected}, not {value!r}") from None


def _table(limit: Limit) -> Iterator[str]:
    yield "[[limit]]"
    for name, value in msgspec.structs.asdict(limit).items():
        if value is not None:
            yield f"{name} = {json.dumps(value, ensure_ascii=False)}"
