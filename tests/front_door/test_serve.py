"""The process: it starts, says where it listens, answers, and ends as its signals say."""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
import subprocess
import sys
import urllib.request

import msgpack
import pytest

from sessiond.serve import is_loopback

SIGNALS = [signal.SIGTERM, signal.SIGINT]


def test_it_says_where_it_listens_and_answers_there(serve, sessiond):
    service = serve()
    assert re.fullmatch(
        r"sessiond listening on 127\.0\.0\.1:\d+, metrics on http://127\.0\.0\.1:\d+/metrics\n", service.line
    )
    pong = sessiond("call", "ping", SESSIOND_SERVER=service.server)
    assert (pong.returncode, pong.stdout, pong.stderr) == (0, '"pong"\n', "")
    with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=10) as answer:
        assert b"sessiond_build_info" in answer.read()


def test_a_call_goes_its_way_from_a_shell(serve, sessiond):
    server = serve().server

    def call(*arguments):
        done = sessiond("call", "--server", server, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    id = call("create_session", '{"type": "sip", "gateway": "gw1", "external_id": "7"}')["id"]
    call("update_session_state", '{"gateway": "gw1", "external_id": "7"}', "active")
    assert call("get_session", id)["state"] == "active"
    assert call("count_sessions", '{"by": "state"}')["groups"] == {"active": 1}
    assert call("end_session", id, "null", '{"sip_code": 200}')["version"] == 3


def test_an_error_is_a_line_and_an_exit_code(serve, sessiond):
    server = serve().server
    refused = sessiond("call", "--server", server, "create_session", '{"typ": "sip"}')
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == 'invalid_request: typ: unknown key (field="typ")\n'


def test_a_service_that_is_not_there_is_exit_code_3(sessiond):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = f"127.0.0.1:{taken.getsockname()[1]}"
    gone = sessiond("call", "--server", server, "--timeout", "0.1", "ping")
    assert gone.returncode == 3
    assert gone.stderr.startswith("unavailable: ")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_drains(serve, number):
    """What came before the signal is answered, then the connection and the process end."""
    service = serve()
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(msgpack.packb([0, 1, "ping", []]) * 100)
        service.signal(number)
        answers = msgpack.Unpacker()
        while data := client.recv(65536):
            answers.feed(data)
    assert list(answers) == [[1, 1, None, "pong"]] * 100
    code, out, err = service.outcome()
    assert (code, out) == (0, "")
    assert [json.loads(line)["message"] for line in err.splitlines()] == [f"Draining on {number.name}"]


def test_a_second_signal_ends_it_at_once(serve):
    """Even while a client that does not read keeps the drain waiting."""
    service = serve("--limits-drain-timeout", "600", "--limits-write-timeout", "600")
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(
            msgpack.packb([0, 1, "create_session", [{"type": "sip", "metadata": dict.fromkeys("abc", "x" * 4000)}]])
        )
        id = msgpack.unpackb(client.recv(4096))[3]["id"]
        client.sendall(msgpack.packb([0, 2, "get_session", [id]]) * 2000)
        service.signal(signal.SIGTERM)
        assert "Draining" in service.process.stderr.readline()
        service.signal(signal.SIGTERM)
        assert service.process.wait(timeout=30) == -signal.SIGTERM


@pytest.mark.parametrize("option", ["--listen", "--metrics"])
def test_a_port_in_use_is_one_line_and_exit_code_1(option, sessiond):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        failed = sessiond("serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", option, address)
    assert (failed.returncode, failed.stdout) == (1, "")
    (line,) = failed.stderr.splitlines()
    assert json.loads(line)["message"].startswith("Cannot listen on ")
    assert address in line


@pytest.mark.parametrize("option", ["--listen", "--metrics"])
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "gateways.example:7600"])
def test_to_listen_beyond_loopback_is_refused(option, address, sessiond):
    """Who reaches the port can end every call; that must be somebody's decision."""
    refused = sessiond("serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", option, address)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"sessiond: {option.removeprefix('--')} = {address}: refused")
    assert "--allow-unauthenticated" in refused.stderr


def test_it_listens_beyond_loopback_where_told_to(serve):
    assert "listening on 0.0.0.0:" in serve("--listen", "0.0.0.0:0", "--allow-unauthenticated").line


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) is expected


def test_a_wrong_configuration_is_one_line_and_exit_code_2(sessiond, tmp_path):
    path = tmp_path / "sessiond.toml"
    path.write_text("[sessions]\nidle_timeout = 'soon'\n")
    refused = sessiond("serve", "--config", str(path))
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"sessiond: {path}: sessions.idle_timeout must be seconds")


def test_it_may_open_as_many_files_as_the_system_lets_it(serve):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    service = serve(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)))
    assert resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_it_says_when_the_limit_of_open_files_is_below_its_own(serve):
    service = serve(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    assert "Only 256 files may be open" in json.loads(service.process.stderr.readline())["message"]


def test_a_service_that_gives_up_is_exit_code_1(environ):
    script = (
        "import sys\n"
        "from sessiond import Config, logs, serve\n"
        "class Failing(serve.Service):\n"
        "    async def start(self):\n"
        "        await super().start()\n"
        "        self._give_up('reaper')\n"
        "serve.Service = Failing\n"
        "logs.configure('info', 'json')\n"
        "sys.exit(serve.serve(Config(listen='127.0.0.1:0', metrics='127.0.0.1:0')))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stderr)["level"] == "critical"


def test_a_reader_that_goes_away_does_no_harm(environ):
    """``sessiond config | head -1`` leaves no traceback."""
    pipe = subprocess.run(
        f"{sys.executable} -m sessiond config | head -1",
        shell=True,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (pipe.stdout.count("\n"), pipe.stderr) == (1, "")
