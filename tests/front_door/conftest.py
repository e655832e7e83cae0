"""The command as a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

COMMAND = (sys.executable, "-m", "sessiond")
ANYWHERE = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
ENDS_WITHIN = 30
"""Seconds, for what takes a fraction of one: a bound on hangs."""


class Serving:
    """A running ``sessiond serve`` and what it said on its first line."""

    def __init__(self, process):
        self.process = process
        self.line = process.stdout.readline()
        ports = re.findall(r":([0-9]+)\b", self.line)
        self.port, self.metrics_port = map(int, ports)

    @property
    def server(self):
        return f"127.0.0.1:{self.port}"

    def signal(self, number):
        self.process.send_signal(number)

    def outcome(self):
        """Its exit code, and what is left of standard output and standard error."""
        out, err = self.process.communicate(timeout=ENDS_WITHIN)
        return self.process.returncode, out, err


@pytest.fixture
def environ():
    """An environment that configures nothing."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SESSIOND_")}


@pytest.fixture
def sessiond(environ):
    """Run a command to its end."""

    def run(*arguments, **variables):
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environ | variables,
            capture_output=True,
            text=True,
            timeout=ENDS_WITHIN,
            check=False,
        )

    return run


@pytest.fixture
def serve(environ):
    """Start services, on free ports unless told otherwise; whatever still runs at the end is killed."""

    @contextmanager
    def running(*options, **popen):
        process = subprocess.Popen(
            [*COMMAND, "serve", *ANYWHERE, *options],
            env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen,
        )  # fmt: skip
        with process:
            try:
                yield Serving(process)
            finally:
                process.kill()

    with ExitStack() as stack:
        yield lambda *options, **popen: stack.enter_context(running(*options, **popen))
