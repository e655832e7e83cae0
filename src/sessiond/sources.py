"""Where the configuration comes from: flags override the environment, which overrides the file."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from sessiond.config import Config
from sessiond.options import BY_KEY, BY_VARIABLE, OPTIONS, PREFIX, SECTIONS, ConfigError, Option
from sessiond.tables import TABLES

__all__ = ["ConfigError", "Sourced", "as_toml", "gather", "load"]

OF_OTHERS = re.compile(
    r"SESSIOND_(CONFIG|SERVER)=.*"
    r"|SESSIOND(_\w+)?_((SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_\w+)=.*|PORT=\w+://.*)",
    re.DOTALL,
)
"""Variables that are no options: arguments of the commands, and what Kubernetes puts into every container beside a
Service whose name begins with ``sessiond``."""
COMMENT = textwrap.TextWrapper(100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


class Sourced(NamedTuple):
    """A value and where it came from."""

    value: Any
    source: str


def load(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """The configuration of a file, the variables of ``environ`` and flags by key.

    Raises:
        ConfigError: an option is unknown or its value is wrong, or the file cannot be read.
    """
    found = gather(path, environ, flags)
    tree: dict[str, Any] = {tables.name: found[tables.name].value for tables in TABLES}
    for option in OPTIONS:
        table = tree if option.section is None else tree.setdefault(option.section, {})
        table[option.name] = found[option.key].value
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from None


def gather(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> dict[str, Sourced]:
    """The value of every option by key, and the tables by name, as ``load`` finds them."""
    tree = {} if path is None else _read(path)
    found = {option.key: Sourced(option.default, "default") for option in OPTIONS}
    for tables in TABLES:
        found[tables.name] = Sourced((), "default")
        if path is not None and tables.name in tree:
            found[tables.name] = Sourced(tables.read(tree.pop(tables.name), path), str(path))
    for option, value, source in _of_file(tree, path):
        found[option.key] = Sourced(_checked(option, value, source, strict=True), source)
    for option, text, source in (*_of_environment(environ), *_of_flags(flags)):
        found[option.key] = Sourced(_checked(option, _split(option, text), source, strict=False), source)
    return found


def as_toml(found: Mapping[str, Sourced]) -> str:
    """What was found as a file that sets the same, with descriptions and sources as comments."""
    lines: list[str] = []
    section = None
    for option in OPTIONS:
        if option.section != section:
            section = option.section
            lines += ["", f"[{section}]"]
        value, source = found[option.key]
        lines += COMMENT.wrap(f"{option.description} ({source})")
        lines.append(f"{option.name} = {json.dumps(value, ensure_ascii=False)}")
    for tables in TABLES:
        lines += ["", *tables.as_toml(*found[tables.name])]
    return "\n".join(lines)


# Sources

Given: TypeAlias = tuple[Option, Any, str]
"""An option, what was given for it, and where."""


def _of_file(tree: Mapping[str, Any], path: Path | None) -> Iterator[Given]:
    for key, value in _flat(tree):
        if key not in BY_KEY:
            raise ConfigError(f"{path}: unknown option {key}")
        yield BY_KEY[key], value, str(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{path}: {error}") from None


def _flat(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if name in SECTIONS and isinstance(value, dict):
            yield from ((f"{name}.{key}", item) for key, item in value.items())
        else:
            yield name, value


def _of_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    for variable, text in environ.items():
        if variable in BY_VARIABLE:
            yield BY_VARIABLE[variable], text, f"{variable} in the environment"
        elif variable.startswith(PREFIX) and not OF_OTHERS.fullmatch(f"{variable}={text}"):
            raise ConfigError(f"{variable} in the environment: there is no such option")


def _of_flags(flags: Mapping[str, Any]) -> Iterator[Given]:
    for key, value in flags.items():
        yield BY_KEY[key], value, BY_KEY[key].flag


def _split(option: Option, text: Any) -> Any:
    """The text of a list as its items; any other as it is."""
    if not isinstance(option.default, tuple):
        return text
    return [item.strip() for item in text.split(",") if item.strip()]


def _checked(option: Option, value: Any, source: str, *, strict: bool) -> Any:
    """``value`` as the option's type, into which text is turned unless ``strict``."""
    try:
        return msgspec.convert(value, option.type, strict=strict)
    except msgspec.ValidationError:
        raise ConfigError(f"{source}: {option.key} must be {option.expected}, not {value!r}") from None
