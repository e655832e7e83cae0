"""``sessiond records``: what a shell gets of the records of calls."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
import threading

import pytest
from proxies import first, passing, proxying, swallowing
from pyarrow import parquet
from recorded import recorded

from sessiond.cli import main
from sessiond.records.export import COLUMNS
from sessiond.stores import record_search, records

DAY = 86_400.0
BEGAN = 1_793_491_200.0
"""2026-11-01, midnight in UTC."""
COUNT = 600


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Ten calls of each day, more than a page holds."""
    with recorded(tmp_path_factory.mktemp("records") / "store.db") as (served, store):
        for number in range(COUNT):
            at = BEGAN + DAY * (number // 10)
            store.add(
                {"n": number % 3, "s": "yes" if number % 2 else "no"}, gateway=f"gw-{number % 4}", created_at=at,
                ended_at=at + 30.25, caller=f"+{number}", end_reason="busy" if number % 5 == 0 else "normal",
            )  # fmt: skip
        yield served


@pytest.fixture
def sessiond(service, capfdbinary):
    """Run a command against the service; its exit code and what it wrote."""

    def run(*arguments, server=None):
        code = main(["records", *arguments, "--server", server or f"127.0.0.1:{service.port}"])
        out, err = capfdbinary.readouterr()
        return code, out, err.decode()

    return run


def rows(text):
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


# Exports


def test_csv_goes_to_standard_output(sessiond):
    code, out, err = sessiond("export")
    assert (code, err) == (0, "600 records\n")
    assert [row["number"] for row in rows(out)] == [str(number) for number in range(1, COUNT + 1)]
    assert tuple(rows(out)[0]) == COLUMNS


def test_json_lines_and_parquet_have_the_same(sessiond, tmp_path):
    _, out, _ = sessiond("export", "--format", "jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    path = tmp_path / "calls.parquet"
    assert sessiond("export", "--format", "parquet", "--output", str(path)) == (0, b"", "600 records\n")
    table = parquet.read_table(path).to_pylist()
    assert [(row["id"], row["caller"], row["duration"]) for row in table] == [
        (line["id"], line["caller"], line["duration"]) for line in lines
    ]
    assert table[0]["ended_at"].isoformat() == "2026-11-01T00:00:30.250000+00:00"


def test_parquet_goes_through_a_pipe_too(service):
    exported = subprocess.run(
        [sys.executable, "-m", "sessiond", "records", "export", "--format", "parquet"],
        env=os.environ | {"SESSIOND_SERVER": f"127.0.0.1:{service.port}"}, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert parquet.read_table(io.BytesIO(exported.stdout)).num_rows == COUNT


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--gateway", "gw-1"], lambda n: n % 4 == 1),
        (["--ended-after", "2026-11-02", "--ended-before", "2026-11-04T00:00Z"], lambda n: 10 <= n < 30),
        (["--ended-after", "2026-11-02T01:00+01:00", "--ended-before", str(BEGAN + 3 * DAY)], lambda n: 10 <= n < 30),
        (["--created-after", str(BEGAN + 59 * DAY)], lambda n: n >= 590),
        (["--end-reason", "busy", "--end-reason", "failed", "--ended-by", "gateway"], lambda n: n % 5 == 0),
        (["--metadata", "n=1", "--metadata", "s=yes"], lambda n: n % 3 == 1 and n % 2),
        (["--metadata", 'n="1"'], lambda _: False),
        (["--metadata", "s=null"], lambda _: False),
        (["--caller", "+7"], lambda n: n == 7),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_filters_are_those_of_the_wire(sessiond, flags, expected):
    _, out, _ = sessiond("export", *flags)
    assert [int(row["number"]) - 1 for row in rows(out)] == [number for number in range(COUNT) if expected(number)]


def test_pages_without_records_are_passed_over(sessiond, monkeypatch):
    monkeypatch.setattr(records, "PAGE_STEPS", 1)
    monkeypatch.setattr(record_search, "STEP_ROWS", 50)
    assert sessiond("export", "--caller", "+599", "--ended-before", "2027-01-01")[2] == "1 record\n"


# Formats


def test_the_ending_of_the_file_says_the_format(sessiond, tmp_path):
    for name in ("calls.csv", "calls.jsonl", "CALLS.PARQUET"):
        assert sessiond("export", "--output", str(tmp_path / name)) == (0, b"", "600 records\n")
    assert len(rows((tmp_path / "calls.csv").read_bytes())) == COUNT
    assert json.loads((tmp_path / "calls.jsonl").read_bytes().splitlines()[0])["number"] == 1
    assert parquet.read_table(tmp_path / "CALLS.PARQUET").num_rows == COUNT


def test_a_format_that_is_named_counts_more_than_an_ending(sessiond, tmp_path):
    path = tmp_path / "calls.csv"
    assert sessiond("export", "--format", "jsonl", "--output", str(path))[0] == 0
    assert json.loads(path.read_bytes().splitlines()[0])["number"] == 1


@pytest.mark.parametrize("name", ["calls", "calls.txt", "calls.csv.gz", ".csv"])
def test_an_ending_that_says_nothing_is_exit_code_2(sessiond, tmp_path, name):
    assert sessiond("export", "--output", str(tmp_path / name)) == (
        2, b"", f"sessiond: {tmp_path / name} ends in none of .csv, .jsonl, .parquet: name the format by --format\n",
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


# Files


def test_a_file_takes_its_place_once_it_is_whole(sessiond, tmp_path):
    path = tmp_path / "calls.csv"
    path.write_text("of yesterday")
    path.chmod(0o600)
    link = tmp_path / "latest.csv"
    link.symlink_to(path)
    assert sessiond("export", "--output", str(link))[0] == 0
    assert link.is_symlink()
    assert len(rows(path.read_bytes())) == COUNT
    assert sorted(tmp_path.iterdir()) == [path, link]


def test_nothing_is_left_of_an_export_that_fails(service, sessiond, tmp_path):
    path = tmp_path / "calls.parquet"
    path.write_text("of yesterday")
    with proxying(service.port) as proxy:
        proxy.to_service = first(passing, then=swallowing)  # the second page never comes
        code, _, err = sessiond(
            "export", "--format", "parquet", "--output", str(path), "--timeout", "0.3",
            server=f"127.0.0.1:{proxy.port}",
        )  # fmt: skip
    assert code == 4
    assert err.startswith("timeout: ")
    assert path.read_text() == "of yesterday"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_to_and_stays_one(sessiond, tmp_path):
    path = tmp_path / "calls.fifo"
    os.mkfifo(path)
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    assert sessiond("export", "--format", "jsonl", "--output", str(path))[0] == 0
    reader.join(20)
    assert len(read[0].splitlines()) == COUNT
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_file_that_cannot_be_written_is_exit_code_2(sessiond, tmp_path):
    path = tmp_path / "missing" / "calls.csv"
    assert sessiond("export", "--output", str(path)) == (
        2, b"", f"sessiond: {path} cannot be written: No such file or directory\n",
    )  # fmt: skip


def test_without_pyarrow_the_extra_is_named(sessiond, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sessiond.records.parquet", None)
    path = tmp_path / "calls.parquet"
    code, _, err = sessiond("export", "--format", "parquet", "--output", str(path))
    assert (code, err) == (2, "sessiond: parquet needs pyarrow: pip install 'sessiond[parquet]'\n")
    assert list(tmp_path.iterdir()) == []


def test_parquet_is_nothing_for_a_terminal(sessiond, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert sessiond("export", "--format", "parquet")[0] == 2


# Lists


def test_a_list_is_a_table_with_the_newest_first(sessiond):
    code, out, err = sessiond("list", "--limit", "2", "--gateway", "gw-3")
    assert (code, err) == (0, "")
    assert out.decode().splitlines() == [
        "ended                 id      type  gateway  caller  callee  talk  end_reason  ended_by",
        "2026-12-30T00:00:30Z  id-600  sip   gw-3     +599    -       0.0   normal      gateway",
        "2026-12-30T00:00:30Z  id-596  sip   gw-3     +595    -       0.0   busy        gateway",
    ]
    assert len(sessiond("list", "--limit", "550", "--order", "asc")[1].splitlines()) == 551
    assert len(sessiond("list")[1].splitlines()) == 51


# What is wrong


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ended-after", "yesterday"], "must be seconds since the epoch or ISO 8601, not 'yesterday'"),
        (["--ended-after", "nan"], "must be seconds since the epoch or ISO 8601, not 'nan'"),
        (["--metadata", "trunk"], "must be KEY=VALUE, not 'trunk'"),
        (["--metadata", "trunk={"], "is no JSON"),
        (["--format", "xml"], "invalid choice"),
        (["--gate", "gw-1"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(capsys, flags, said):
    with pytest.raises(SystemExit) as caught:
        main(["records", "export", *flags])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_what_the_service_refuses_is_one_line(sessiond):
    code, out, err = sessiond("list", "--ended-by", "nobody")
    assert (code, out) == (1, b"")
    assert err.startswith("invalid_request: ended_by: ")
    code, _, err = sessiond("list", "--timeout", "0.1", server="127.0.0.1:1")
    assert (code, err[:13]) == (3, "unavailable: ")
