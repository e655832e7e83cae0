"""Records of calls as a Parquet file, by pyarrow, which only this module imports."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from sessiond.actors.call_record import CallRecord
from sessiond.records.export import COLUMNS, columns_of

__all__ = ["ROW_GROUP", "SCHEMA", "ParquetWriter"]

ROW_GROUP = 10_000
"""Rows that are written together, once there are so many; fewer of long ones."""
_GROUP_PAGES = 64
"""Pages of the service that are written together at most: some megabytes."""

_MOMENT = pa.timestamp("us", tz="UTC")
_TYPES = {
    "number": pa.int64(),
    "sip_code": pa.int16(),
    "q850_cause": pa.int16(),
    "version": pa.int64(),
    "history_dropped": pa.int32(),
}
_OPTIONAL = frozenset(
    {"gateway", "epoch", "external_id", "caller", "callee", "direction", "parent", "group"}
    | {"ringing_at", "answered_at", "sip_code", "q850_cause"}
)


def _type(name: str) -> pa.DataType:
    if name.endswith("_at"):
        return _MOMENT
    return pa.float64() if name.endswith("duration") else _TYPES.get(name, pa.string())


SCHEMA = pa.schema([pa.field(name, _type(name), nullable=name in _OPTIONAL) for name in COLUMNS])
"""Times are moments, durations seconds; metadata and history are JSON."""


class _Sink(io.RawIOBase):
    """A file, until it is let go of: pyarrow must end what it has begun, and writes when it does."""

    def __init__(self, file: BinaryIO) -> None:
        self.file: BinaryIO | None = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.file is not None:
            self.file.write(data)
        return len(data)


class ParquetWriter:
    """See ``export.Writer``. Writes row groups; the file cannot be read before it is finished."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to ``file``, which need not be able to seek."""
        self._sink = _Sink(file)
        self._writer = parquet.ParquetWriter(self._sink, SCHEMA, compression="zstd")
        self._rows: list[list[Any]] = []
        self._pages = 0

    def write(self, records: Iterable[CallRecord]) -> None:
        """See ``export.Writer``."""
        self._rows += map(_row, records)
        self._pages += 1
        if len(self._rows) >= ROW_GROUP or self._pages >= _GROUP_PAGES:
            self._pass_on()

    def finish(self) -> None:
        """See ``export.Writer``."""
        self._pass_on()
        self._writer.close()

    def abandon(self) -> None:
        """See ``export.Writer``."""
        self._sink.file = None
        self._writer.close()

    def _pass_on(self) -> None:
        if self._rows:
            columns = [
                pa.array(values, field.type)
                for values, field in zip(zip(*self._rows, strict=True), SCHEMA, strict=True)
            ]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))
        self._rows.clear()
        self._pages = 0


def _row(record: CallRecord) -> list[Any]:
    return [
        round(value * 1e6) if name.endswith("_at") and value is not None else value
        for name, value in zip(COLUMNS, columns_of(record), strict=True)
    ]
