"""A real SIP gateway: Kamailio with the example's script, between SIPp's callers and callees."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack

import pytest
from polling import eventually
from sip import EXAMPLE, NAME, free_port, kamailio, lacking, sidecar, sipp

from sessiond import Client

KEPT = ("--sessions-retention", "600")
"""Ended sessions can be read until the end of the test."""

UNRESOLVED = "callee.invalid|failure to add branches"
"""What Kamailio says of a callee that has no address."""


@pytest.fixture(autouse=True)
def _able_kamailio():
    if shutil.which("kamailio") and (lack := lacking()):
        pytest.skip(lack)


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def service(serve, request):
    """A service, started with what a test gives as its parameter besides."""
    return serve(*KEPT, *getattr(request, "param", ()))


@pytest.fixture
def start_gateway(tmp_path, stack, service):
    """Start a Kamailio that tells the service, and in the end has no error to tell of itself."""
    started = []

    def start(**definitions):
        started.append(stack.enter_context(kamailio(tmp_path, service.port, **definitions)))
        return started[-1]

    yield start
    complaints = [line for gateway in started for line in gateway.complaints()]
    assert [line for line in complaints if not re.search(UNRESOLVED, line)] == []


@pytest.fixture
def start_sidecar(stack, service, client):
    """Start the sidecar of a Kamailio, and wait until the service has it."""

    def start(gateway, *options):
        stack.enter_context(sidecar(gateway.folder, service.port, *options))
        eventually(lambda: "commands" in live_capabilities(client), "the sidecar is there")

    def live_capabilities(client):
        listed = client.list_gateways(name=NAME).gateways
        return [each for gateway in listed if gateway.state == "live" for each in gateway.capabilities]

    return start


@pytest.fixture
def client(stack, service):
    """Looks what the service knows."""
    return stack.enter_context(Client(port=service.port))


@pytest.fixture
def place(tmp_path, stack):
    """Place ``count`` calls through a gateway, ``rate`` per second: their callers and their callees."""

    def start(gateway, caller, callee, *, count=1, rate=10, ring=100, talk=300, status=None, more=()):
        scenarios = [EXAMPLE / "sipp" / f"caller-{caller}.xml", EXAMPLE / "sipp" / f"callee-{callee}.xml"]
        if status is not None:
            changed = scenarios[1].read_text().replace("486 Busy Here", status)
            scenarios[1] = tmp_path / scenarios[1].name
            scenarios[1].write_text(changed)
        port, calls = free_port(), ("-m", str(count), "-l", str(count), "-r", str(rate), *more)
        callees = stack.enter_context(sipp(tmp_path, scenarios[1], port, *calls, "-d", str(ring)))
        to = (f"127.0.0.1:{port}", "-rsa", f"127.0.0.1:{gateway.port}")
        callers = stack.enter_context(sipp(tmp_path, scenarios[0], free_port(), *calls, "-d", str(talk), *to))
        return callers, callees

    return start
