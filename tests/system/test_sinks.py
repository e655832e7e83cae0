"""Call records of the real service get to its sinks, whatever becomes of the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from processes import PATIENCE, SERVE, process
from receivers import receiver

from sessiond import Client

KILLS = 3
CALLS = 20


@pytest.fixture
def server():
    with receiver() as served:
        yield served


@pytest.fixture
def configuration(tmp_path, server):
    path = tmp_path / "sessiond.toml"
    path.write_text(f"""
        [store]
        kind = "sqlite"
        path = "{tmp_path}/store.db"

        [[sink]]
        name = "lines"
        kind = "file"
        path = "{tmp_path}/records.jsonl"

        [[sink]]
        name = "hook"
        kind = "webhook"
        url = "{server.url}"
        batch = 7
        dead_letters = "{tmp_path}/dead.jsonl"
    """)
    return path


def make_calls(port):
    """Calls that begin and end; their ids."""
    with Client("127.0.0.1", port) as client:
        ids = [client.create_session(type="sip", gateway="gw-1").id for _ in range(CALLS)]
        for each in ids:
            client.end_session(each, "normal")
    return ids


def test_each_end_that_was_acknowledged_gets_to_every_sink_though_the_process_is_killed(
    tmp_path, configuration, server
):
    """At least once, and in order but for what comes again."""
    ended = []
    for _ in range(KILLS):
        with process(tmp_path / "log", *SERVE, "--config", str(configuration)) as service:
            ended += make_calls(service.port)
            service.stop(signal.SIGKILL)
    with process(tmp_path / "log", *SERVE, "--config", str(configuration)) as service:
        ended += make_calls(service.port)
        while (samples := service.metrics())["sessiond_sink_lag_records"] != {("hook",): 0, ("lines",): 0}:
            pass
        assert sum(samples["sessiond_sink_records_total"].values()) > 0
        assert set(samples["sessiond_sink_dead_letters_total"].values()) == {0}
        while not set(ended) <= set(server.ids) & set(written(tmp_path)):
            service.metrics()
        assert service.stop(signal.SIGTERM) == 0
    for had in (server.ids, written(tmp_path)):
        assert list(dict.fromkeys(had)) == ended


def written(tmp_path):
    return [json.loads(line)["id"] for line in (tmp_path / "records.jsonl").read_text().splitlines()]


def test_a_webhook_that_hangs_keeps_no_service_from_its_end(tmp_path, configuration, server):
    server.answer = server.hang
    with process(tmp_path / "log", *SERVE, "--config", str(configuration)) as service:
        make_calls(service.port)
        assert server.came.wait(PATIENCE)
        assert service.stop(signal.SIGTERM) == 0
    assert "does not stop" not in (tmp_path / "log").read_text()


def test_a_sink_that_cannot_be_used_is_said_and_nothing_is_served(tmp_path, configuration):
    (tmp_path / "dead.jsonl").mkdir()
    done = subprocess.run(
        [sys.executable, *SERVE, "--config", configuration, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"sink hook: {tmp_path}/dead.jsonl is no regular file" in done.stderr
