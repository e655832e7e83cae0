"""What there may be any number of: tables ``[[limit]]`` and ``[[sink]]`` of the file, which come from nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sessiond.actors.limits import Limit
from sessiond.config import check_names
from sessiond.options import ConfigError, Option, options
from sessiond.records.settings import FileSink, WebhookSink

__all__ = ["LIMITS", "SINKS", "TABLES", "Tables"]


class Tables(NamedTuple):
    """The tables of one name, which is that of the field of ``Config`` that holds them."""

    name: str
    about: str
    kinds: tuple[type[msgspec.Struct], ...]
    """What a table may be; if several, the option ``kind`` says which."""
    example: msgspec.Struct

    def options(self, kind: type[msgspec.Struct]) -> tuple[Option, ...]:
        """What can stand in a table of ``kind``, beside ``kind`` itself."""
        return tuple(options(kind, self.name))

    def read(self, tables: Any, path: Path) -> tuple[Any, ...]:
        """What the tables of a file are about.

        Raises:
            ConfigError: one is wrong; the text names the file, the table by number and name, and the option.
        """
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise ConfigError(f"{path}: {self.name} must be tables, each headed [[{self.name}]]")
        found = tuple(self._made(table, self._place(path, number, table)) for number, table in enumerate(tables, 1))
        try:
            check_names(self.name, found)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
        return found

    def as_toml(self, found: tuple[msgspec.Struct, ...], source: str) -> Iterator[str]:
        """The lines of a file that sets the same; without tables, what one could look like."""
        if found:
            yield f"# {self.about}. ({source})"
            for each in found:
                yield from self._table(each)
        else:
            yield f"# {self.about}: none. ({source}) Each is such a table:"
            yield from (f"# {line}" for line in self._table(self.example))

    def _place(self, path: Path, number: int, table: Mapping[str, Any]) -> str:
        name = table.get("name")
        return f"{path}: [[{self.name}]] {number}" + (f" ({name})" if isinstance(name, str) else "")

    def _made(self, table: dict[str, Any], place: str) -> msgspec.Struct:
        kind, given = self._kind(table, place)
        known = {option.name: option for option in self.options(kind)}
        for name in given:
            if name not in known:
                raise ConfigError(f"{place}: unknown option {name}")
        for option in known.values():
            if option.default is msgspec.NODEFAULT and option.name not in given:
                raise ConfigError(f"{place}: {option.name} is missing")
        values = {name: _checked(known[name], value, place) for name, value in given.items()}
        try:
            return kind(**values)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None

    def _kind(self, table: dict[str, Any], place: str) -> tuple[type[msgspec.Struct], dict[str, Any]]:
        """What a table is, and what else it says."""
        if len(self.kinds) == 1:
            return self.kinds[0], table
        kinds = {str(kind.__struct_config__.tag): kind for kind in self.kinds}
        if "kind" not in table:
            raise ConfigError(f"{place}: kind is missing")
        kind = table["kind"]
        if not isinstance(kind, str) or kind not in kinds:
            raise ConfigError(f"{place}: kind must be one of {', '.join(kinds)}, not {kind!r}")
        return kinds[kind], {name: value for name, value in table.items() if name != "kind"}

    def _table(self, each: msgspec.Struct) -> Iterator[str]:
        yield f"[[{self.name}]]"
        values = msgspec.structs.asdict(each)
        if len(self.kinds) > 1:
            values = {"name": values["name"], "kind": each.__struct_config__.tag} | values
        for name, value in values.items():
            if value is not None:
                yield f"{name} = {_as_toml(value)}"


def _checked(option: Option, value: Any, place: str) -> Any:
    try:
        return msgspec.convert(value, option.type)
    except msgspec.ValidationError:
        but = "" if option.is_private else f", not {value!r}"
        raise ConfigError(f"{place}: {option.name} must be {option.expected}{but}") from None


def _as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_as_toml(name)} = {_as_toml(item)}' for name, item in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


LIMITS = Tables(
    "limit",
    "Limits on sessions",
    (Limit,),
    Limit(name="trunk-3-calls", by="metadata.trunk", value="t-3", concurrent=100, per_second=10.0),
)
SINKS = Tables(
    "sink",
    "Sinks of call records",
    (FileSink, WebhookSink),
    FileSink(name="billing", path="/var/lib/sessiond/records.jsonl"),
)
TABLES = (LIMITS, SINKS)
