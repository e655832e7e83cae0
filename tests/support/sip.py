"""Kamailio with its gateway, and SIPp, as processes. What they, being foreign, do not tell is asked again and again."""

from __future__ import annotations

import contextlib
import csv
import errno
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from polling import PATIENCE, eventually

import sessiond

__all__ = [
    "EXAMPLE",
    "NAME",
    "Call",
    "Kamailio",
    "Sipp",
    "example",
    "free_port",
    "kamailio",
    "lacking",
    "sidecar",
    "sipp",
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "kamailio"
NAME = "gw-sip"
"""What Kamailio is called."""


def free_port() -> int:
    """A UDP port of this machine that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def is_taken(port: int) -> bool:
    """Whether some process has this UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            assert error.errno == errno.EADDRINUSE  # noqa: PT017
            return True
        return False


def example(name: str) -> ModuleType:
    """A module of the example, which is no package."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Kamailio


def lacking() -> str | None:
    """What Kamailio, which is installed, lacks to run the example with the packages of this Python."""
    told = subprocess.run(["kamailio", "-I"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"paths to modules: (\S+)", told)
    module = Path(found[1] if found else "") / "app_python3.so"
    if not module.exists():
        return "kamailio-python3-modules is not installed"
    embedded = re.search(rb"libpython(\d+\.\d+)", module.read_bytes())
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    return None if embedded and embedded[1].decode() == own else f"Kamailio does not embed Python {own}"


REQUEST = """{method} {uri} SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{number}
From: <sip:probe@127.0.0.1>;tag=probe
To: <{uri}>
Call-ID: probe-{number}
CSeq: 1 {method}
Contact: <sip:probe@127.0.0.1:{port}>
Max-Forwards: 70
Content-Length: 0

"""


class Kamailio:
    """A running Kamailio."""

    def __init__(self, popen: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.popen = popen
        self.port = port
        self.folder = folder
        """Its runtime folder, with its log and the FIFO for commands."""

    @property
    def epoch(self) -> str:
        """Of the run that is under way."""
        return (self.folder / "epoch").read_text()

    def complaints(self) -> list[str]:
        """What it has logged of errors, its script's among them."""
        lines = (self.folder / "log").read_text().splitlines()
        return [line for line in lines if re.search(r"ERROR|CRITICAL|ALERT|BUG|Traceback", line)]

    def kill(self) -> None:
        """End all its processes at once, with no chance to say anything."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(PATIENCE)

    def ask(self, method: str, uri: str, timeout: float = PATIENCE) -> str:
        """The final answer to a request, which is sent once.

        Raises:
            OSError: there was none in time, or nobody listens.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(timeout)
            probe.connect(("127.0.0.1", self.port))
            own = probe.getsockname()[1]
            request = REQUEST.format(method=method, uri=uri, port=own, number=time.monotonic_ns())
            probe.send(request.replace("\n", "\r\n").encode())
            while (answer := probe.recv(4096).decode()).startswith("SIP/2.0 1"):
                pass
            return answer

    def answers(self) -> bool:
        """Whether it answers now."""
        with contextlib.suppress(OSError):
            return self.ask("OPTIONS", "sip:probe@127.0.0.1", 0.2).startswith("SIP/2.0 200")
        return False


@contextlib.contextmanager
def kamailio(folder: Path, service_port: int, *, port: int = 0, **definitions: object) -> Iterator[Kamailio]:
    """The example's Kamailio, until the block ends, with ``definitions`` (-A NAME=VALUE); it logs into ``folder``.

    It embeds the Python it was built for, which must be of the version of this one: it is given its packages.
    """
    port = port or free_port()
    run = folder / f"kamailio-{port}"
    run.mkdir(exist_ok=True)
    definitions = {"LISTEN": f"udp:127.0.0.1:{port}", "REPLIES": f'"{run}/"', **definitions}
    command = ["kamailio", "-f", str(EXAMPLE / "kamailio.cfg"), "-w", str(EXAMPLE), "-DD", "-E", "-Y", str(run)]
    command += ["-P", str(run / "pid"), *(f"-A{name}={value}" for name, value in definitions.items())]
    packages = (Path(sessiond.__file__).parents[1], sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, packages)),
        "SESSIOND": f"127.0.0.1:{service_port}",
        "GATEWAY": NAME,
        "RUNTIME": str(run),
    }
    with (
        (run / "log").open("ab") as log,
        subprocess.Popen(command, cwd=EXAMPLE, env=environ, stderr=log, stdout=log, start_new_session=True) as popen,
    ):
        started = Kamailio(popen, port, run)
        try:
            eventually(lambda: popen.poll() is not None or started.answers(), f"Kamailio answers, see {run / 'log'}")
            assert popen.poll() is None, (run / "log").read_text()
            yield started
        finally:
            started.kill()


@contextlib.contextmanager
def sidecar(folder: Path, service_port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The example's sidecar for the Kamailio with this runtime folder, until the block ends."""
    command = [sys.executable, str(EXAMPLE / "sidecar.py"), "--gateway", NAME, "--folder", str(folder)]
    command += ["--sessiond", f"127.0.0.1:{service_port}", *options]
    with (folder / "sidecar.log").open("ab") as log, subprocess.Popen(command, stderr=log, stdout=log) as popen:
        try:
            yield popen
        finally:
            popen.kill()


# SIPp


@dataclass
class Call:
    """When a SIPp saw the messages of one call: epoch seconds by what they were, such as ``"R 180 INVITE"``.

    What it received was on the wire before that time; what it sent may have been there a moment before, too, for it
    writes that down afterwards. Of what came or went several times, the first time.
    """

    call_id: str
    times: dict[str, float]


class Sipp:
    """A running SIPp."""

    def __init__(self, popen: subprocess.Popen[bytes], name: str, log: Path) -> None:
        self.popen = popen
        self._name = name
        self._log = log

    def finish(self) -> None:
        """Return when all its calls went as its scenario says."""
        code = self.popen.wait(PATIENCE)
        errors = self._log.with_suffix(".errors")
        assert code == 0, f"{self._name}: {errors.read_text() if errors.exists() else code}"

    def calls(self) -> list[Call]:
        """Its calls up to now, in the order in which they began."""
        found: dict[str, Call] = {}
        with self._log.open(newline="") as lines:
            for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                if len(row) == 7:  # the last one may be half written
                    _, _, at, way, call_id, cseq, first = row
                    kind = first.split()[1] if first.startswith("SIP/2.0") else "request"
                    call = found.setdefault(call_id, Call(call_id, {}))
                    call.times.setdefault(f"{way} {kind} {cseq.split()[-1]}", float(at))
        return list(found.values())


@contextlib.contextmanager
def sipp(folder: Path, scenario: Path, port: int, *arguments: str) -> Iterator[Sipp]:
    """SIPp with a scenario on ``port``, until the block ends. A callee is ready when this begins."""
    log = folder / f"{scenario.stem}-{port}.calls"
    command = ["sipp", "-sf", str(scenario), "-i", "127.0.0.1", "-p", str(port), "-nostdin", *arguments]
    command += ["-trace_shortmsg", "-shortmessage_file", str(log)]
    command += ["-trace_err", "-error_file", str(log.with_suffix(".errors"))]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as popen:
        try:
            eventually(lambda: popen.poll() is not None or is_taken(port), f"{scenario.stem} has its port")
            yield Sipp(popen, scenario.stem, log)
        finally:
            popen.kill()
