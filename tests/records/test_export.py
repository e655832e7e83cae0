"""Records as files, read back by whatever else reads such files."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from sessiond.actors.call_record import CallRecord
from sessiond.actors.results import Author, HistoryEntry
from sessiond.records.export import COLUMNS, CsvWriter, JsonLinesWriter
from sessiond.records.parquet import SCHEMA, ParquetWriter

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["=1+1", '"', ",", "\r\n", "\n", "\0", " x ", "é", ";"]
)
names = st.none() | texts.filter(bool)
times = st.floats(0, 1e11)
codes = st.none() | st.integers(0, 699)
scalars = texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
entries = st.builds(
    HistoryEntry, times, st.just(Author("gateway", "gw-1", "e1")), st.just("ended"), reason=names | st.none()
)
kept = st.builds(
    CallRecord,
    id=texts, number=st.integers(1, 2**63 - 1), type=texts, gateway=names, epoch=names, external_id=names,
    caller=names, callee=names, direction=st.sampled_from([None, "inbound"]), parent=names, group=names,
    metadata=st.dictionaries(texts, scalars, max_size=3), created_at=times, ringing_at=st.none() | times,
    answered_at=st.none() | times, ended_at=times, setup_duration=times, ring_duration=times, talk_duration=times,
    duration=times, end_reason=texts, ended_by=texts, sip_code=codes, q850_cause=codes, version=st.integers(1, 2**31),
    history=st.lists(entries, max_size=2), history_dropped=st.integers(0, 9),
)  # fmt: skip
pages = st.lists(st.lists(kept, max_size=4), max_size=4)


def written(kind, pages):
    file = io.BytesIO()
    writer = kind(file)
    for page in pages:
        writer.write(page)
    writer.finish()
    return file.getvalue()


def plain(pages):
    """The records as plain data, all pages together."""
    return [msgspec.to_builtins(record) for page in pages for record in page]


@given(pages)
def test_json_lines_have_everything_as_it_was(pages):
    lines = written(JsonLinesWriter, pages).decode().split("\n")
    assert lines.pop() == ""
    assert list(map(json.loads, lines)) == plain(pages)


@given(pages)
def test_csv_has_everything_in_its_columns(pages):
    header, *rows = csv.reader(io.StringIO(written(CsvWriter, pages).decode(), newline=""), strict=True)
    assert header == list(COLUMNS)
    expected = plain(pages)
    assert len(rows) == len(expected)
    for row, record in zip(rows, expected, strict=True):
        for name, field in zip(COLUMNS, row, strict=True):
            value = record[name]
            if name in {"metadata", "history"}:
                assert json.loads(field) == value
            elif isinstance(value, float):
                assert float(field) == value
            else:
                assert field == ("" if value is None else str(value))


@given(pages)
def test_parquet_has_everything_in_its_types(pages):
    table = parquet.read_table(io.BytesIO(written(ParquetWriter, pages)))
    assert table.schema.equals(SCHEMA)
    for row, record in zip(table.to_pylist(), plain(pages), strict=True):
        for name, value in record.items():
            if name in {"metadata", "history"}:
                assert json.loads(row[name]) == value
            elif name.endswith("_at") and value is not None:
                assert abs(row[name] - moment(value)) <= timedelta(microseconds=1) or value > 1e10
            else:
                assert row[name] == value


def moment(seconds):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(seconds, 1e10))


RECORD = CallRecord(
    id="x", number=1, type="sip", gateway=None, epoch=None, external_id=None, caller=None, callee=None, direction=None,
    parent=None, group=None, metadata={}, created_at=1.0, ringing_at=None, answered_at=None, ended_at=2.0,
    setup_duration=1.0, ring_duration=0.0, talk_duration=0.0, duration=1.0, end_reason="normal", ended_by="gateway",
    sip_code=None, q850_cause=None, version=2, history=[], history_dropped=0,
)  # fmt: skip


def test_parquet_is_written_in_row_groups_as_the_pages_come():
    file = io.BytesIO()
    writer = ParquetWriter(file)
    sizes = []
    for _ in range(45):
        writer.write([RECORD] * 500)
        sizes.append(file.tell())
    writer.finish()
    assert len(set(sizes)) == 3  # the beginning, and after each of two groups
    described = parquet.ParquetFile(io.BytesIO(file.getvalue())).metadata
    assert [described.row_group(number).num_rows for number in range(described.num_row_groups)] == [
        10_000, 10_000, 2_500,
    ]  # fmt: skip


def test_what_looks_like_a_formula_is_left_as_it_is():
    """It is a caller's number or a customer's text; whoever opens it in a spreadsheet has to import it as text."""
    record = msgspec.structs.replace(RECORD, caller="+15550100", callee='=HYPERLINK("x")')
    (_, row) = csv.reader(io.StringIO(written(CsvWriter, [[record]]).decode(), newline=""))
    assert row[COLUMNS.index("caller")] == "+15550100"
    assert row[COLUMNS.index("callee")] == '=HYPERLINK("x")'


@pytest.mark.parametrize("kind", [CsvWriter, JsonLinesWriter, ParquetWriter])
def test_a_file_of_no_records_is_one_too(kind):
    empty = written(kind, [])
    assert empty == {CsvWriter: ",".join(COLUMNS).encode() + b"\r\n", JsonLinesWriter: b""}.get(kind, empty)


@pytest.mark.parametrize("kind", [CsvWriter, JsonLinesWriter, ParquetWriter])
def test_a_writer_that_is_given_up_says_nothing_to_a_closed_file(kind):
    file = io.BytesIO()
    writer = kind(file)
    writer.write([RECORD])
    file.close()
    writer.abandon()
