"""What the documentation speaks of: a service in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys

import msgpack
import pytest


class Service:
    """A running ``sessiond serve``, what it said on its first line, and how a shell or a client gets at it."""

    command = f"{sys.executable} -m sessiond"

    def __init__(self, process, environ):
        self._process = process
        self.line = process.stdout.readline()
        self.port, self.metrics_port = map(int, re.findall(r":([0-9]+)\b", self.line))
        self.environ = environ | {"SESSIOND_SERVER": f"127.0.0.1:{self.port}"}

    def shell(self, script, **variables):
        """Run a script in which ``sessiond`` is the command; what it wrote."""
        script = f'set -eu\nsessiond() {{ {self.command} "$@"; }}\n{script}'
        return subprocess.run(
            ["sh", "-c", script], env=self.environ | variables, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def kill(self):
        self._process.kill()
        self._process.wait(20)

    def ask(self, connection, request):
        """The bytes that answer the bytes of a request."""
        connection.sendall(request)
        answer = b""
        unpacker = msgpack.Unpacker()
        while True:
            received = connection.recv(65536)
            assert received, f"closed after {answer!r}"
            answer += received
            unpacker.feed(received)
            if list(unpacker):
                return answer


@pytest.fixture
def configuration():
    """The text of the configuration file that the service has."""
    return ""


@pytest.fixture
def start(tmp_path):
    """Starts services with the configuration that they are given."""
    path = tmp_path / "sessiond.toml"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SESSIOND_")}
    anywhere = ("--config", path, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    with contextlib.ExitStack() as processes:

        def start(configuration):
            path.write_text(configuration, encoding="utf-8")
            process = processes.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "sessiond", "serve", *anywhere],
                    env=environ,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            processes.callback(process.kill)
            return Service(process, environ)

        yield start


@pytest.fixture
def service(configuration, start):
    return start(configuration)


@pytest.fixture
def connection(service):
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connected:
        yield connected
