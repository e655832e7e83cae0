"""A service on a socket, and connections to it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from serving import serving
from wire import Peer, peer


@pytest.fixture(scope="module")
def served():
    """A service that serves on the address that its ``port`` says, for all the tests of a module."""
    with serving() as running:
        yield running


@pytest.fixture
def connect(served):
    """Open connections, which are closed at the end of the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(peer(served.port))


@pytest.fixture
def wire(connect) -> Peer:
    """A connection."""
    return connect()
