"""Where ``sessiond records`` writes to, and how: a file that is whole or not there, and a table for people."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from sessiond.logs import escaped
from sessiond.records.export import CsvWriter, JsonLinesWriter, Writer
from sessiond.sources import ConfigError

__all__ = ["FORMATS", "as_table", "format_of", "output", "writer"]

FORMATS = ("csv", "jsonl", "parquet")

LISTED = ("ended_at", "id", "type", "gateway", "caller", "callee", "talk_duration", "end_reason", "ended_by")
"""What people are shown of a record."""


def format_of(path: Path | None) -> str:
    """Which of ``FORMATS`` the ending of ``path`` means; without a path the first one.

    Raises:
        ConfigError: it means none of them.
    """
    if path is None:
        return FORMATS[0]
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise ConfigError(f"{path} ends in none of .{', .'.join(FORMATS)}: name the format by --format")
    return form


def writer(form: str, file: BinaryIO) -> Writer:
    """What writes ``form``, one of ``FORMATS``, to ``file``.

    Raises:
        ConfigError: what it takes is not installed.
    """
    if form == "csv":
        return CsvWriter(file)
    if form == "jsonl":
        return JsonLinesWriter(file)
    try:
        from sessiond.records.parquet import ParquetWriter  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError:
        raise ConfigError("parquet needs pyarrow: pip install 'sessiond[parquet]'") from None
    return ParquetWriter(file)


@contextlib.contextmanager
def output(path: Path | None) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` once it is whole, and never if it does not come to that.

    Without a path it is standard output, and if the path is a device or a pipe, that itself.

    Raises:
        OSError: it cannot be written.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = path.resolve()
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def as_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Maps of ``LISTED`` as columns, with a line of names."""
    rows = [[name.removesuffix("_at").removesuffix("_duration") for name in LISTED]]
    rows += ([_shown(record[name], name) for name in LISTED] for record in records)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _shown(value: Any, name: str) -> str:
    if value is None:
        return "-"
    if name == "ended_at":
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{value:.1f}" if isinstance(value, float) else escaped(value)
