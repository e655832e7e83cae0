"""docs/sinks.md says how records get to billing."""

from __future__ import annotations

import json
import subprocess
import threading

import msgspec
import pytest
from kept_records import KeptRecords
from pages import blocks, page, section, table
from receivers import receiver

from sessiond.actors.call_record import CallRecord
from sessiond.actors.clock import SystemClock
from sessiond.records.answers import _OTHERWISE, MAX_RETRY_AFTER
from sessiond.records.backoff import FIRST_PAUSE, MAX_PAUSE
from sessiond.records.delivery import SHARE, Delivery
from sessiond.records.settings import FileSink, WebhookSink
from sessiond.records.webhook import SIGNATURE, Webhook
from sessiond.sources import load
from sessiond.tables import SINKS

SINKS_PAGE = page("docs/sinks.md")


@pytest.mark.parametrize(("kind", "heading"), [(FileSink, "a file sink"), (WebhookSink, "a webhook")])
def test_the_tables_of_options_have_them_all(kind, heading):
    """If one does not: replace it by what this test expects."""
    expected = [
        [
            f"`{option.name}`",
            "" if option.default in (msgspec.NODEFAULT, None, {}) else f"`{json.dumps(option.default)}`",
            option.expected,
            option.description,
        ]
        for option in SINKS.options(kind)
    ]
    assert table(SINKS_PAGE, f"in {heading}") == expected


@pytest.fixture
def examples(tmp_path):
    """The configurations that are shown, with all files in a folder of the test."""
    found = []
    for example in blocks(SINKS_PAGE, "toml"):
        path = tmp_path / "sessiond.toml"
        path.write_text(example.replace("/var/lib/sessiond", str(tmp_path)).replace("/etc/sessiond", str(tmp_path)))
        found.append(load(path, {}, {}))
    return found


def test_the_examples_are_accepted(examples):
    assert [sink.name for config in examples for sink in config.sink] == ["archive", "billing"]


def test_a_file_gets_records_of_the_shape_that_is_shown(examples, tmp_path):
    config, _ = examples
    (shown,) = blocks(section(SINKS_PAGE, "## The record"), "json")
    msgspec.json.decode(shown, type=CallRecord)
    assert json.loads(shown).keys() == {*CallRecord.__struct_fields__}
    kept = KeptRecords(config.store.path)
    kept.add(2)
    written = threading.Event()

    class Store:
        def put(self, name, value):
            if value == 6:
                written.set()

    delivery = Delivery(
        config.records, config.sink, config.store.path, Store(), lambda callback: callback(), lambda *_: None
    )
    delivery.start({})
    assert written.wait(20)
    delivery.stop()
    kept.close()
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert [json.loads(line).keys() for line in lines] == [json.loads(shown).keys()] * 2


def test_the_statuses_that_say_not_now_are_all_there():
    (row,) = (cell for cell, _ in table(SINKS_PAGE, "answer") if cell.startswith("401"))
    assert set(map(int, row.split(", "))) == _OTHERWISE
    assert f"after {FIRST_PAUSE:.0f} s, then after twice as long each time up to {MAX_PAUSE:.0f} s" in SINKS_PAGE
    assert f"`Retry-After` says, up to {MAX_RETRY_AFTER:.0f} s" in SINKS_PAGE
    assert SHARE == 0.25


def test_the_signature_is_verified_as_shown(tmp_path):
    (example,) = blocks(SINKS_PAGE, "python")
    names = {}
    exec(compile(example, "docs/sinks.md", "exec"), names)
    with receiver() as server:
        settings = WebhookSink(name="x", url=server.url, dead_letters=str(tmp_path / "x"), secret="env:SECRET")
        webhook = Webhook(settings, SystemClock(), {"SECRET": "s3cret"})
        webhook.prepare()
        webhook.deliver([b"{}"])
        webhook.close()
    (request,) = server.requests
    assert names["is_genuine"](b"s3cret", request.body, request.headers[SIGNATURE])
    assert not names["is_genuine"](b"s3cret", request.body + b" ", request.headers[SIGNATURE])


def test_dead_letters_can_be_sent_again_as_shown(tmp_path):
    letter = {"at": 1.0, "reason": "x", "record": {"id": "a"}}
    (tmp_path / "billing-dead.jsonl").write_text((json.dumps(letter) + "\n") * 150)
    (script,) = blocks(section(SINKS_PAGE, "## Dead letters"), "sh")
    with receiver() as server:
        done = subprocess.run(
            ["sh", "-euc", script],
            cwd=tmp_path,
            env={"url": server.url, "PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
        )
    assert done.stdout == b"200\n200\n"
    assert [len(request.records) for request in server.requests] == [100, 50]
