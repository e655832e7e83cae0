"""Records of calls as files for other programs: CSV and JSON Lines; ``parquet`` has the third format.

A writer is given one page after the other and keeps none, so a file may have any length.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Protocol

import msgspec

from sessiond.actors.call_record import CallRecord

__all__ = ["COLUMNS", "CsvWriter", "JsonLinesWriter", "Writer", "columns_of"]

COLUMNS = CallRecord.__struct_fields__
"""Of every table, in this order; later versions may add some at the end."""

_encode = msgspec.json.Encoder().encode
_JSON = frozenset({"metadata", "history"})


class Writer(Protocol):
    """Writes records to a file that somebody else opens and closes."""

    def write(self, records: Iterable[CallRecord]) -> None:
        """Add records."""

    def finish(self) -> None:
        """There are no more. Without it the file is not whole."""

    def abandon(self) -> None:
        """The file will not be whole, and may be closed; nothing more is written."""


class JsonLinesWriter:
    """One JSON object in UTF-8 on each line."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to ``file``."""
        self._file = file

    def write(self, records: Iterable[CallRecord]) -> None:
        """See ``Writer``."""
        self._file.write(b"".join(_encode(record) + b"\n" for record in records))

    def finish(self) -> None:
        """See ``Writer``."""

    def abandon(self) -> None:
        """See ``Writer``."""


class CsvWriter:
    """CSV as of RFC 4180 in UTF-8, with a line of names; what is absent is an empty field."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to ``file``."""
        self._file = file
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text)
        self._writer.writerow(COLUMNS)

    def write(self, records: Iterable[CallRecord]) -> None:
        """See ``Writer``."""
        self._writer.writerows(map(columns_of, records))
        self._pass_on()

    def finish(self) -> None:
        """See ``Writer``."""
        self._pass_on()

    def abandon(self) -> None:
        """See ``Writer``."""

    def _pass_on(self) -> None:
        self._file.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()


def columns_of(record: CallRecord) -> Iterator[Any]:
    """The values of ``COLUMNS``; metadata and history as JSON."""
    for name in COLUMNS:
        value = getattr(record, name)
        yield _encode(value).decode() if name in _JSON else value
