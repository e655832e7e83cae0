"""docs/records.md says what is kept of a call, and how to get at it."""

from __future__ import annotations

import csv
import gzip

import pytest
from likeness import play
from pages import blocks, code, page, section, table
from pyarrow import parquet

from sessiond.actors.call_record import CallRecord
from sessiond.actors.record_params import RecordFilters
from sessiond.record_output import FORMATS
from sessiond.records.export import COLUMNS
from sessiond.stores.record_search import STEP_ROWS
from sessiond.stores.record_span import SPAN_STEPS, STEP_ENDS
from sessiond.stores.records import PAGE_STEPS

RECORDS = page("docs/records.md")
LISTING = section(page("docs/wire.md"), "### `list_records`")


@pytest.fixture
def configuration(tmp_path):
    (said,) = blocks(RECORDS, "toml")
    return said.replace("sessiond.db", str(tmp_path / "sessiond.db"))


def test_a_record_has_the_fields_of_the_table():
    rows = table(section(RECORDS, "## The record"), "field")
    assert [code(name)[0] for name, *_ in rows] == list(CallRecord.__struct_fields__) == list(COLUMNS)


def test_the_examples_are_answered_as_they_say(service, connection):
    assert {"get_record", "list_records"} <= play(RECORDS, connection, {"number"})


def test_the_client_of_the_example_prints_the_calls(service, connection, capsys):
    play(RECORDS, connection, {"number"})
    (snippet,) = blocks(RECORDS, "python")
    exec(compile(snippet.replace("Client()", f"Client(port={service.port})"), "records.md", "exec"), {})
    assert capsys.readouterr().out.startswith("+15550100 busy ")


def test_the_commands_of_the_example_write_what_they_should(service, connection, tmp_path):
    play(RECORDS, connection, {"number"})
    (script,) = blocks(RECORDS, "sh")
    script = script.replace("2026-02-01", "2126-02-01")  # it is later than that January, and the call has just ended
    assert " +15550100  " in service.shell(f"cd {tmp_path}\n{script}")
    with (tmp_path / "january.csv").open(newline="") as file:
        assert [row["caller"] for row in csv.DictReader(file)] == ["+15550100"]
    assert gzip.decompress((tmp_path / "busy.jsonl.gz").read_bytes()).count(b"\n") == 1
    assert parquet.read_table(tmp_path / "acc-7.parquet").num_rows == 1


def test_the_formats_are_those_of_the_table():
    assert [code(name)[0] for name, _ in table(RECORDS, "format")] == list(FORMATS)


def test_the_limits_of_a_search_are_told():
    cost = section(RECORDS, "## What it costs").replace("\n", " ")
    assert f"looks at {STEP_ROWS:,} records in a step" in cost
    assert f"among {STEP_ROWS * PAGE_STEPS:,}" in cost
    assert f"some {STEP_ROWS * PAGE_STEPS:,} records" in LISTING
    assert f"up to {STEP_ENDS * SPAN_STEPS:,} calls ended" in LISTING
    assert {code(row[0])[0].removeprefix("query.") for row in table(LISTING, "parameter")} >= set(
        RecordFilters.__struct_fields__
    )
