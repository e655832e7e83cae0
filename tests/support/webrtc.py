"""The programs of ``examples/webrtc`` as processes: a gateway, and peers that call it."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["PATIENCE", "Gateway", "Peers", "gateway", "peers"]

PROGRAMS = Path(__file__).parents[2] / "examples" / "webrtc"
PATIENCE = 30
"""Seconds after which a test that waits has failed. No test that passes waits for so long."""
CONSENT = "4"
"""Seconds of silence after which the gateway gives a peer up. Less, and a busy machine looks like a dead one."""


class Gateway:
    """A running gateway."""

    def __init__(self, popen: subprocess.Popen[str], log: Path) -> None:
        self.popen = popen
        self.log = log
        assert popen.stdout is not None
        self.port = int(popen.stdout.readline().rpartition(":")[2])

    def stop(self, number: int) -> int:
        """Send it a signal that ends it; its exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(PATIENCE)


class Peers:
    """Peers in one process, which all do the same; each is a call."""

    def __init__(self, popen: subprocess.Popen[str], calls: int) -> None:
        self.popen = popen
        self._calls = calls
        self._news: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, name="peers")
        self._listener.start()

    def do(self, command: str) -> None:
        """Have all of them do something: ``hold``, ``resume``, ``stats``, ``bye``, ``drop``."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{command}\n")
        self.popen.stdin.flush()

    def hear(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Wait until each has told news with these fields; what they told, in the order in which it came."""
        wanted = {"event": event, **fields}
        heard: list[dict[str, Any]] = []
        while len(heard) < self._calls:
            news = self._news.get(timeout=PATIENCE)
            if wanted.items() <= news.items():
                heard.append(news)
        return heard

    def received(self) -> int:
        """How many packets of media the one that hears least has got so far."""
        self.do("stats")
        return min(news["received"] for news in self.hear("stats"))

    def end(self) -> None:
        """End them for good."""
        self.popen.kill()
        self._listener.join(PATIENCE)

    def _listen(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self._news.put(json.loads(line))


@contextlib.contextmanager
def gateway(log: Path, sessiond: int, *options: str) -> Iterator[Gateway]:
    """A gateway that tells the service on port ``sessiond``, until the block ends; it logs into a file."""
    where = ("--listen", "127.0.0.1:0", "--sessiond", f"127.0.0.1:{sessiond}", "--consent-timeout", CONSENT)
    with log.open("wb") as errors, _program("gateway.py", *where, *options, stderr=errors) as popen:
        yield Gateway(popen, log)


@contextlib.contextmanager
def peers(port: int, calls: int = 1, caller: str = "alice") -> Iterator[Peers]:
    """Peers that call the gateway on ``port``, until the block ends."""
    with _program("peer.py", "127.0.0.1", str(port), "--calls", str(calls), "--caller", caller) as popen:
        made = Peers(popen, calls)
        try:
            yield made
        finally:
            made.end()


@contextlib.contextmanager
def _program(name: str, *arguments: str, stderr: Any = None) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(PROGRAMS / name), *arguments, "--host-address", "127.0.0.1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True) as popen:
        try:
            yield popen
        finally:
            popen.kill()
