"""The service as a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from polling import eventually
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["SERVE", "Process", "process"]

SERVE = ("-m", "sessiond", "serve")
PATIENCE = 30
"""Seconds after which a process that should have ended is killed and the test has failed."""


class Process:
    """A running service."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        assert popen.stdout is not None
        line = popen.stdout.readline()
        self.port, self.metrics_port = map(int, re.findall(r":([0-9]+)\b", line))

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """What a scrape says now: for each name the values by those of their labels, ordered by name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, {})[*(sample.labels[label] for label in sorted(sample.labels)),] = (
                    sample.value
                )
        return found

    def readiness(self) -> tuple[int, str]:
        """The status and the text of ``/readyz``."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def await_readiness(self, status: int) -> str:
        """Return once ``/readyz`` has that status; its text."""

        def text() -> list[str]:
            now, told = self.readiness()
            return [told] if now == status else []

        return eventually(text, f"/readyz is {status}")[0]

    def stop(self, number: int) -> int:
        """Send it a signal that ends it; its exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(PATIENCE)


@contextlib.contextmanager
def process(log: Path, *arguments: str, port: int = 0, environ: dict[str, str] | None = None) -> Iterator[Process]:
    """Python with these arguments, which serve on ``port`` or a free one, until the block ends; it logs into a file."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SESSIOND_")} | (environ or {})
    command = [sys.executable, *arguments, "--listen", f"127.0.0.1:{port}", "--metrics", "127.0.0.1:0"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True) as popen,
    ):
        try:
            yield Process(popen)
        finally:
            popen.kill()
