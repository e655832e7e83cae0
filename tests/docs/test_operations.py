"""docs/operations.md and docs/alerts.yml say what there is to configure, to see and to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request

import pytest
from pages import ROOT, blocks, code, page, section, table

from sessiond.actors.limits import MAX_BUCKETS, Limit
from sessiond.options import OPTIONS
from sessiond.sources import load
from sessiond.tables import LIMITS

OPERATIONS = page("docs/operations.md")
ALERTS = page("docs/alerts.yml")


# Configuration


@pytest.fixture
def configuration(tmp_path):
    limits = blocks(section(OPERATIONS, "### Limits on sessions"), "toml")[0]
    return f'{limits}\n[store]\nkind = "sqlite"\npath = "{tmp_path / "sessiond.db"}"\n'


def test_the_table_of_options_has_them_all():
    """If it does not: replace it by what this test expects."""
    expected = [
        [f"`{option.key}`", f"`{json.dumps(option.default)}`", option.expected, option.description]
        for option in OPTIONS
    ]
    assert table(section(OPERATIONS, "## Configuration"), "option") == expected


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md"])
def test_the_example_of_a_file_is_accepted(name, tmp_path):
    path = tmp_path / "sessiond.toml"
    for example in blocks(page(name), "toml"):
        path.write_text(example)
        assert load(path, {}, {}).listen == "127.0.0.1:7600"


def test_the_table_of_what_a_limit_has_is_whole():
    """If it is not: replace it by what this test expects."""
    expected = [[f"`{option.name}`", option.expected, option.description] for option in LIMITS.options(Limit)]
    text = section(OPERATIONS, "### Limits on sessions")
    assert table(text, "in a limit") == expected
    assert f"latest {MAX_BUCKETS:,} values" in text


def test_the_question_about_a_limit_is_answered(service):
    (ask,) = blocks(section(OPERATIONS, "### Limits on sessions"), "sh")
    create = """sessiond call create_session '{"type": "sip", "metadata": {"account": "acc-7"}}'\n"""
    *_, said = service.shell(create * 2 + ask).splitlines()
    explained = json.loads(said)
    assert (explained["current"], explained["maximum"], len(explained["sessions"])) == (2, 5, 2)


# Metrics and alerts


@pytest.fixture
def exposed(service):
    """The text of ``/metrics`` after a request."""
    service.shell("sessiond call ping")
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=20) as answer:
        return answer.read().decode()


def test_the_table_of_metrics_has_them_all(exposed):
    rows = table(section(OPERATIONS, "## Metrics"), "metric")
    assert {(code(name)[0], kind) for name, kind, *_ in rows} == set(
        re.findall(r"^# TYPE (\S+) (\S+)$", exposed, re.MULTILINE)
    )


def test_the_table_of_metrics_has_their_labels(exposed):
    rows = table(section(OPERATIONS, "## Metrics"), "metric")
    said = {code(name)[0]: code(labels) for name, _, labels, _ in rows}
    for sample, labels in re.findall(r"^(\w+)\{(.*)\} ", exposed, re.MULTILINE):
        found = sorted(set(re.findall(r'(\w+)="', labels)) - {"le"})
        assert said[re.sub(r"_(bucket|count|sum)$", "", sample)] == found, sample


def test_alerts_look_at_metrics_that_there_are(exposed):
    later = {"sessiond_connections_closed_total", "sessiond_sink_lag_seconds", "sessiond_sink_dead_letters_total"}
    there = set(re.findall(r"^(\w+)[{ ]", exposed, re.MULTILINE)) | later
    expressions = re.findall(r"expr: (.*?)\n +(?:for|labels):", ALERTS, re.DOTALL)
    looked_at = {name for each in expressions for name in re.findall(r"\b(?:sessiond|process)_\w+", each)}
    assert looked_at
    assert looked_at <= there


def test_the_table_of_alerts_has_them_all():
    rows = table(section(OPERATIONS, "## Alerts"), "alert")
    alerts = re.findall(r"- alert: (\w+)\n.*?severity: (\w+)", ALERTS, re.DOTALL)
    assert sorted((code(name)[0], severity) for name, severity, _ in rows) == sorted(alerts)


def test_every_alert_is_seen_to_fire_and_not_to_fire():
    """Where all is well, none does; ``alerts_test.yml`` has a case of each that does."""
    well, *ill = re.split(r"^  - name: ", page("tests/docs/alerts_test.yml"), flags=re.MULTILINE)[1:]
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS))
    assert set(re.findall(r"alertname: (\w+)", well)) == alerts
    assert set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", "".join(ill))) == alerts


def promtool(*arguments, cwd=ROOT):
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("promtool")
def test_promtool_accepts_the_alerts():
    promtool("check", "rules", "docs/alerts.yml")
    promtool("test", "rules", "tests/docs/alerts_test.yml")


@pytest.mark.needs("promtool")
def test_promtool_accepts_the_example_of_its_configuration(tmp_path):
    (example,) = blocks(OPERATIONS, "yaml")
    (tmp_path / "prometheus.yml").write_text(example)
    (tmp_path / "alerts.yml").write_text(ALERTS)
    promtool("check", "config", "prometheus.yml", cwd=tmp_path)


# Troubleshooting


def test_what_to_do_about_stuck_sessions_can_be_done(service):
    """The commands of that section, on a service with three sessions of the gateway that they speak of."""
    create = """sessiond call create_session '{"type": "sip", "gateway": "gw-1", "state": "active"}'\n"""
    stuck = [json.loads(line)["id"] for line in service.shell(create * 3).splitlines()]
    (script,) = blocks(section(OPERATIONS, "### Stuck sessions"), "sh")
    counted, listed, *ended = map(json.loads, service.shell(script, id=stuck[1]).splitlines())
    assert counted["groups"] == {"gw-1": 3}
    assert [each["id"] for each in listed["sessions"]] == stuck
    assert [each["version"] for each in ended] == [2, 2, 2]
    reasons = json.loads(service.shell("""sessiond call count_sessions '{"ended": true, "by": "end_reason"}'"""))
    assert reasons["groups"] == {"stuck": 1, "gateway_down": 2}


def test_the_commands_for_a_look_from_a_shell_work(service):
    (script,) = blocks(section(OPERATIONS, "## Running it"), "sh")[1:]
    info, count = map(json.loads, service.shell(script).splitlines())
    assert info["name"] == "sessiond"
    assert count == {"count": 0, "groups": {}}


def test_calls_can_be_ended_as_it_says(service):
    """The commands of that section, on a service with calls of a gateway that takes no commands."""
    create = """sessiond call create_session '{"type": "sip", "gateway": "gw-1", "metadata": {"trunk": "t-3"}}'\n"""
    ids = [json.loads(line)["id"] for line in service.shell(create * 3).splitlines()]
    (script,) = blocks(section(OPERATIONS, "## Ending calls"), "sh")
    one, dry, many = map(json.loads, service.shell(script, id=ids[0]).splitlines())
    assert one["gateway"] == "not_asked"
    assert (dry["matched"], dry["ids"]) == (2, ids[1:])
    assert (many["ended"], many["failed"], many["cursor"]) == (2, [], None)


def test_what_happened_to_a_call_can_be_found(service):
    (script,) = blocks(section(OPERATIONS, "### What happened to a call"), "sh")
    create = """sessiond call create_session '{"type": "sip", "caller": "+15550100"}'\n"""
    made = json.loads(service.shell(create))["id"]
    service.shell(f"sessiond call end_session {made} busy")
    listed, history = map(json.loads, service.shell(script, id=made).splitlines())
    assert [(each["id"], each["end_reason"]) for each in listed["sessions"]] == [(made, "busy")]
    assert [each["change"] for each in history["entries"]] == ["created", "ended"]


def test_a_gateway_can_be_looked_at_as_it_happens(service):
    (script,) = blocks(section(OPERATIONS, "### A look at one gateway as it happens"), "sh")
    script = script.replace("/opt/sessiond/bin/python", sys.executable).replace("7600", str(service.port))
    with subprocess.Popen(["sh", "-c", f"exec {script}"], stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert [watching.stdout.readline().split("(")[0] for _ in range(2)] == ["SnapshotBegins", "WatchReady"]
            service.shell("""sessiond call create_session '{"type": "sip", "gateway": "gw-1"}'""")
            assert watching.stdout.readline().startswith("SessionChanged(")
        finally:
            watching.kill()
