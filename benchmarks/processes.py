"""Servers as processes of their own, each on the core that is theirs, and what the kernel says about them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["Server", "free_port", "pinned", "started"]

TICKS = os.sysconf("SC_CLK_TCK")
READY = re.compile(r"(?:listening on 127\.0\.0\.1:|^)(?P<port>[0-9]+)(?:,|$)|Ready to accept connections")
"""What servers print once they can be used. All but Redis say their port as well."""
PATIENCE = 10
"""Seconds that a server has to end when it is told to."""


class Server:
    """A server under measurement."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self._proc = Path("/proc", str(pid))
        self.port = port

    @property
    def cpu_seconds(self) -> float:
        """The processor time that all its threads have used so far, in steps of a clock tick (10 ms)."""
        # The name of the program comes first, in brackets, and may hold spaces itself.
        fields = (self._proc / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        user, system = fields[11:13]
        return (int(user) + int(system)) / TICKS

    def pin(self, core: int) -> None:
        """Let it run on nothing but ``core``. Only once it is up, since a program may choose cores itself."""
        for thread in (self._proc / "task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})

    @property
    def resident_bytes(self) -> int:
        """The memory that it holds now."""
        rollup = (self._proc / "smaps_rollup").read_text(encoding="utf-8")
        found = re.search(r"^Rss: +([0-9]+) kB$", rollup, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


@contextlib.contextmanager
def started(command: Sequence[str], core: int, port: int = 0) -> Iterator[Server]:
    """Start a server, and end it with the block.

    Args:
        command: the program and its arguments.
        core: the only one that it may use.
        port: where it listens, if it does not say so itself.

    Raises:
        RuntimeError: it ended before it could be used.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SESSIOND_")}
    with subprocess.Popen(  # noqa: S603
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as popen:
        try:
            server = Server(popen.pid, _announced(popen) or port)
            server.pin(core)
            yield server
        finally:
            popen.terminate()
            try:
                popen.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                popen.kill()


def _announced(popen: subprocess.Popen[str]) -> int | None:
    """Wait until the server can be used; its port, if it says so."""
    assert popen.stdout is not None
    said = []
    for line in popen.stdout:
        if found := READY.search(line):
            return int(found["port"]) if found["port"] else None
        said.append(line)
    raise RuntimeError(f"{popen.args!r} did not start: {''.join(said)}")


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Let this thread, and those that it starts, run on nothing but ``core`` until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port of this machine that nobody listens on, for servers that cannot choose one themselves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
