"""The table of options, one for each field of ``Config`` and of its sections, and the names that each goes by.

One of a section has three: ``[sessions] idle_timeout = 60`` in the file, ``SESSIOND_SESSIONS_IDLE_TIMEOUT=60`` in the
environment, and the flag ``--sessions-idle-timeout 60``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from sessiond.config import Config

__all__ = ["BY_KEY", "BY_VARIABLE", "OPTIONS", "PREFIX", "SECTIONS", "ConfigError", "Option", "options"]

PREFIX = "SESSIOND_"
"""What the names of all variables begin with."""


class ConfigError(Exception):
    """An option is unknown or its value is wrong; the text names it and where it came from."""


@dataclasses.dataclass(frozen=True)
class Option:
    """One field of the configuration."""

    section: str | None
    """The table that it stands in, None at the top."""
    name: str
    type: Any
    """What ``msgspec`` checks its value by."""
    default: Any
    description: str
    metavar: str
    """What a value looks like, for help."""
    expected: str
    """What a value must be, for errors."""
    is_private: bool = False
    """Whether errors must not repeat a wrong value, which may be a secret."""

    @property
    def key(self) -> str:
        """Its full name: ``sessions.idle_timeout``."""
        return self.name if self.section is None else f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.key.replace(".", "_").upper()

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.key.replace(".", "-").replace("_", "-")


def options(kind: type[msgspec.Struct], section: str | None = None) -> Iterator[Option]:
    """The options that the fields of ``kind`` are, and those of the sections among them.

    A field that holds any number of tables is none: it has no name outside of the file.
    """
    for field in msgspec.structs.fields(kind):
        info = inspect.type_info(field.type)
        if isinstance(info, inspect.StructType):
            yield from options(info.cls, field.name)
        elif not isinstance(info, inspect.VarTupleType):
            assert isinstance(info, inspect.Metadata), f"{field.name} has no description"
            description = (info.extra_json_schema or {})["description"]
            extra = info.extra or {}
            metavar, expected = ("", extra["expected"]) if extra else _form(info.type)
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            yield Option(section, field.name, field.type, default, description, metavar, expected, "private" in extra)


def _form(kind: inspect.Type) -> tuple[str, str]:
    """What values of a type look like, in help and in errors."""
    match kind:
        case inspect.LiteralType(values=values):
            return "|".join(map(str, values)), f"one of {', '.join(map(str, values))}"
        case inspect.BoolType():
            return "true|false", "true or false"
        case inspect.FloatType():
            return "SECONDS", f"seconds{_range(kind)}"
        case inspect.IntType():
            return "N", f"a whole number{_range(kind)}"
        case inspect.VarTupleType():
            return "NAME,...", "a list of names"
        case _:
            return ("HOST:PORT", "HOST:PORT") if getattr(kind, "pattern", None) else ("PATH", "a path")


def _range(kind: inspect.FloatType | inspect.IntType) -> str:
    low = f"from {kind.ge:,.0f}" if kind.gt is None else f"above {kind.gt:,.0f}"
    return f" {low} to {kind.le:,.0f}"


OPTIONS = tuple(options(Config))
BY_KEY = {option.key: option for option in OPTIONS}
BY_VARIABLE = {option.variable: option for option in OPTIONS}
SECTIONS = frozenset(option.section for option in OPTIONS if option.section is not None)
