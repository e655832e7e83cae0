"""``sessiond bench`` as a shell sees it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import re
import signal
import socket
import subprocess

import pytest
from pages import code, page, table
from serving import serving

from sessiond.actors.errors import Unavailable
from sessiond.bench import command
from sessiond.bench.command import bench, exit_code
from sessiond.bench.measured import Load, Result
from sessiond.bench.progress import ProgressLine
from sessiond.bench.report import Report
from sessiond.bench.workload import Step
from sessiond.cli import main
from sessiond.sources import ConfigError

SHORT = ("--connections", "2", "--duration", "0.05", "--warm-up", "0")


def live(sessiond, server):
    return json.loads(sessiond("call", "--server", server, "count_sessions").stdout)["count"]


def test_it_prints_a_table(serve, sessiond):
    server = serve().server
    done = sessiond("bench", "--server", server, "--no-ceiling", *SHORT)
    assert done.returncode == 0
    assert done.stderr.startswith("connecting\nmeasuring\n")
    assert done.stdout.startswith(f"{server}: 2 connections, 1 request under way on each, closed loop, ")
    assert "\nall " in done.stdout
    assert "generator" not in done.stdout


def test_it_prints_json(serve, sessiond):
    done = sessiond("bench", "--json", "--no-ceiling", "--rate", "500", *SHORT, SESSIOND_SERVER=serve().server)
    said = json.loads(done.stdout)
    assert said["load"]["rate"] == 500
    assert said["ceiling_rate"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_was_measured_and_the_calls_with_it(number, serve, sessiond, environ):
    service = serve()
    options = ("--server", service.server, "--no-ceiling", "--duration", "1000", "--warm-up", "0", "--resident", "10")
    with subprocess.Popen(
        [*service.process.args[:3], "bench", *options],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        while process.stderr.readline() != "measuring\n":
            assert process.poll() is None
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "10 resident sessions" in out
    assert "whole calls" in out
    assert live(sessiond, service.server) == 0


def test_a_service_that_is_not_there_is_exit_code_3(sessiond):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = f"127.0.0.1:{taken.getsockname()[1]}"
    done = sessiond("bench", "--server", server, "--no-ceiling", *SHORT)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == f"unavailable: {server} cannot be reached: Connection refused"


def test_a_service_that_refuses_connections_is_exit_code_3(serve, sessiond):
    """Some connections were made and closed again before anything was measured."""
    server = serve("--limits-max-connections", "1").server
    done = sessiond("bench", "--server", server, "--no-ceiling", "--connections", "20", "--duration", "0.05")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_a_generator_that_cannot_measure_itself_says_so(monkeypatch):
    """For want of open files, or because its echo server is gone."""

    @contextlib.asynccontextmanager
    async def no_server():
        raise OSError(errno.EMFILE, "Too many open files")
        yield

    monkeypatch.setattr(command, "echo_server", no_server)
    with pytest.raises(Unavailable, match="The generator cannot be measured: Too many open files"):
        bench("127.0.0.1:1", Load(), ProgressLine(io.StringIO()), has_ceiling=True)

    @contextlib.asynccontextmanager
    async def server_that_hangs_up():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1")
        async with server:
            yield server.sockets[0].getsockname()[1]

    monkeypatch.setattr(command, "echo_server", server_that_hangs_up)
    with pytest.raises(Unavailable, match="The generator cannot be measured: a connection was lost"):
        bench("127.0.0.1:1", Load(), ProgressLine(io.StringIO()), has_ceiling=True)


def test_requests_that_failed_are_exit_code_1(serve, sessiond):
    server = serve("--sessions-max-sessions", "1").server
    done = sessiond("bench", "--server", server, "--no-ceiling", "--resident", "2", *SHORT)
    assert done.returncode == 1
    assert "requests failed: limit_exceeded" in done.stdout


def test_a_service_that_went_away_is_exit_code_3_whatever_failed():
    result = Result(lost="a connection was lost")
    result.errors[Step.GET]["internal"] = 1
    assert exit_code(Report("", Load(), result, None)) == 3


def test_what_was_measured_before_the_service_went_away_is_printed(monkeypatch, capsys):
    report = Report("127.0.0.1:7600", Load(), Result(seconds=1.0, lost="a connection was lost"), None)
    monkeypatch.setattr("sessiond.cli.bench", lambda *_arguments, **_options: report)
    assert main(["bench"]) == 3
    printed = capsys.readouterr()
    assert "whole calls" in printed.out
    assert printed.err == "unavailable: a connection was lost\n"


def test_it_knows_its_own_ceiling(monkeypatch):
    monkeypatch.setattr(command, "CEILING_DURATION", 0.05)
    monkeypatch.setattr(command, "CEILING_WARM_UP", 0.0)
    load = Load(connections=2, duration=0.05, warm_up=0.0)
    with serving() as served:
        report = bench(f"127.0.0.1:{served.port}", load, ProgressLine(io.StringIO()), has_ceiling=True)
    assert report.ceiling is not None


@pytest.mark.parametrize(
    ("server", "load", "text"),
    [
        ("7600", Load(), "--server must be HOST:PORT, not '7600'"),
        ("127.0.0.1:7600", Load(touches=5.0, rate=1.0), "--touches needs --rate, and sessions to touch: --resident"),
        ("127.0.0.1:7600", Load(touches=5.0, resident=1), "--touches needs --rate"),
    ],
)
def test_what_does_not_fit_together_is_refused(server, load, text):
    with pytest.raises(ConfigError, match=text):
        bench(server, load, ProgressLine(io.StringIO()), has_ceiling=False)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--connections", "0"], "must be a whole number from 1, not '0'"),
        (["--pipeline", "1025"], "must be a whole number from 1 to 1,024, not '1025'"),
        (["--resident", "1e6"], "must be a whole number from 0, not '1e6'"),
        (["--rate", "0"], "must be a number per second above 0, not '0'"),
        (["--warm-up", "-1"], "must be seconds above 0, not '-1'"),
        (["--spacing", "odd"], "invalid choice: 'odd'"),
    ],
)
def test_wrong_numbers_are_refused(arguments, text, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def help_text(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bench", "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_its_help_has_examples(capsys):
    assert "\n  sessiond bench " in help_text(capsys)


def test_its_defaults_are_those_that_its_help_tells(capsys):
    load = Load()
    told = re.findall(r"^  (--[a-z-]+) (?:(?!^  --)[\s\S])*?\(default: ([0-9a-z]+)\)", help_text(capsys), re.MULTILINE)
    assert dict(told) == {
        "--connections": f"{load.connections}",
        "--pipeline": f"{load.pipeline}",
        "--resident": f"{load.resident}",
        "--duration": f"{load.duration:g}",
        "--warm-up": f"{load.warm_up:g}",
        "--spacing": load.spacing,
    }


def test_its_page_tells_every_option(capsys):
    flags = set(re.findall(r"^  (--[a-z-]+)", help_text(capsys), re.MULTILINE))
    assert {cells[0] for cells in map(code, (row[0] for row in table(page("docs/bench.md"), "option")))} == {*flags}
