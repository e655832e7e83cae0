"""A real Prometheus watches a real service."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from urllib.parse import quote

import msgpack
import pytest
from polling import eventually

PATIENCE = 60
"""Seconds after which the test has failed; Prometheus needs two or three."""

CONFIG = """
global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
scrape_configs:
  - job_name: sessiond
    static_configs:
      - targets: ["{target}"]
"""


@pytest.fixture
def service(tmp_path):
    """A service in a process of its own: its address for gateways, and the one for Prometheus."""
    command = [sys.executable, "-m", "sessiond", "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    with (
        (tmp_path / "service.log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            yield re.fullmatch(
                r"sessiond listening on (.+), metrics on http://(.+)/metrics\n", process.stdout.readline()
            ).groups()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


@pytest.fixture
def prometheus(tmp_path, service):
    """A Prometheus that watches the service; asks it for the value of each series of an expression."""
    (tmp_path / "prometheus.yml").write_text(CONFIG.format(target=service[1]))
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    command = [
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    def ask(path: str):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return json.load(response)["data"] if response.status == 200 else None

    with (tmp_path / "prometheus.log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield ask
        finally:
            process.terminate()


def gateway(address: str, *requests) -> list:
    """The answers to requests ``(method, *params)``, sent one after the other."""
    host, port = address.split(":")
    unpacker = msgpack.Unpacker()
    answers = []
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        for method, *params in requests:
            connection.sendall(msgpack.packb([0, 0, method, params]))
            while (answer := next(unpacker, None)) is None:
                unpacker.feed(connection.recv(65536))
            answers.append(answer)
    return answers


def await_values(ask, expression: str, expected: dict[str, float]) -> None:
    """Ask Prometheus, whose time is not ours, until it finds these values by the only label of their series."""

    def is_found() -> bool:
        with contextlib.suppress(OSError):  # it does not listen yet
            answer = ask(f"/api/v1/query?query={quote(expression)}")
            return bool(answer) and expected == {
                label: float(each["value"][1]) for each in answer["result"] for label in each["metric"].values()
            }
        return False

    eventually(is_found, f"Prometheus finds {expected} by {expression}", every=0.05)


@pytest.mark.needs("prometheus")
def test_prometheus_sees_the_sessions_come_and_go(service, prometheus):
    active = ("create_session", {"type": "sip", "state": "active"})
    ringing = ("create_session", {"type": "fax", "state": "ringing"})
    created = gateway(service[0], active, active, active, ringing, ("no_such_method",))
    await_values(prometheus, "sum by (state) (sessiond_sessions) > 0", {"active": 3, "ringing": 1})

    gateway(service[0], *(("end_session", answer[3]["id"]) for answer in created[:2]))
    await_values(prometheus, "sum by (state) (sessiond_sessions) > 0", {"active": 1, "ringing": 1})
    await_values(prometheus, "sum by (reason) (sessiond_sessions_ended_total) > 0", {"normal": 2})
    await_values(prometheus, "sum by (code) (sessiond_requests_total) > 0", {"ok": 6, "unknown_method": 1})
    await_values(prometheus, "sum by (type) (sessiond_session_duration_seconds_count) > 0", {"sip": 2})
    (target,) = prometheus("/api/v1/targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
