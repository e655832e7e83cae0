"""What people and programs are told of a result, and what is told on the way."""

from __future__ import annotations

import io
import json

from sessiond.bench.measured import Load, Progress, Result
from sessiond.bench.progress import ProgressLine
from sessiond.bench.report import Report, as_json, as_table
from sessiond.bench.workload import Step


def measured(**options):
    result = Result(seconds=2.0, calls=1, **options)
    for milliseconds in range(1, 101):
        result.steps[Step.GET].record(milliseconds / 1000)
    result.steps[Step.END].record(0.5)
    return result


def reported(result, ceiling=None, **load):
    return Report("127.0.0.1:7600", Load(**load), result, ceiling)


def test_a_row_has_what_succeeded_in_milliseconds():
    rows = as_table(reported(measured())).splitlines()
    (row,) = [row.split() for row in rows if row.startswith("get_session")]
    assert row[:3] == ["get_session", "100", "50"]
    assert 50 <= float(row[3]) <= 51
    assert row[-2:] == ["100.000", "0"]
    assert any(row.split()[:3] == ["all", "101", "50"] for row in rows)


def test_steps_that_were_not_made_are_not_shown():
    assert "touch_session" not in as_table(reported(measured()))


def test_a_step_that_only_failed_has_no_times():
    result = measured()
    result.errors[Step.CREATE]["limit_exceeded"] = 3
    rows = as_table(reported(result)).splitlines()
    (row,) = [row.split() for row in rows if row.startswith("create_session")]
    assert row == ["create_session", "0", "0", *"-----", "3"]
    assert "3 requests failed: limit_exceeded" in rows


def test_the_headline_says_what_was_done():
    closed = as_table(reported(measured(), connections=1, pipeline=64))
    assert closed.startswith("127.0.0.1:7600: 1 connection, 64 requests under way on each, closed loop, 2.0 s\n")
    opened = as_table(reported(measured(), rate=4000, resident=100_000, touches=20_000, spacing="even"))
    assert "open loop of 4,000 calls/s (even) and 20,000 touches/s, 100,000 resident sessions" in opened


def test_a_generator_with_little_to_spare_is_told():
    rate = measured().rate
    assert "close to the result" in as_table(reported(measured(), ceiling=rate * 1.2))
    enough = as_table(reported(measured(), ceiling=rate * 100))
    assert "This generator could have made 5,050 requests/s" in enough
    assert "close to the result" not in enough
    assert "generator" not in as_table(reported(measured()))


def test_a_service_that_did_not_keep_up_is_told():
    assert "7 were due and never begun" in as_table(reported(measured(behind=7), rate=10))


def test_nothing_measured_is_no_error():
    assert "0 whole calls, 0 per s" in as_table(reported(Result()))


def test_json_says_the_same():
    result = measured()
    result.errors[Step.END]["not_found"] = 2
    said = json.loads(json.dumps(as_json(reported(result, ceiling=9.5, connections=3))))
    assert said["load"]["connections"] == 3
    assert said["load"]["steps"][0] == "create"
    assert (said["calls"], said["seconds"], said["ceiling_rate"], said["lost"]) == (1, 2.0, 9.5, None)
    assert said["all"]["requests"] == 101
    assert said["all"]["errors"] == {"not_found": 2}
    assert said["steps"]["get"]["method"] == "get_session"
    assert said["steps"]["get"]["max_ms"] == 100
    assert list(said["steps"]) == ["get", "end"]


def test_json_has_no_times_where_nothing_succeeded():
    assert as_json(reported(Result()))["all"]["p99_ms"] is None


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream):
    """What comes out of three calls, one second apart."""
    seconds = iter(range(10))
    line = ProgressLine(stream, lambda: next(seconds))
    line.show(Progress("creating", 10, 2000, 10))
    line.show(Progress("creating", 1500, 2000, 1500))
    line.show(Progress("measuring", 0.5, 10.0, 1600))
    line.clear()
    return stream.getvalue()


def test_a_terminal_has_one_line_that_changes():
    lines = shown(Terminal()).split("\r\x1b[K")
    assert lines == [
        "",
        "creating 10 of 2,000, 10 requests/s",
        "creating 1,500 of 2,000, 1,490 requests/s",
        "measuring 0.5 of 10.0, 100 requests/s",
        "",
    ]


def test_a_log_has_a_line_for_each_phase():
    assert shown(io.StringIO()) == "creating\nmeasuring\n"
