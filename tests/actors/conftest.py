"""What the tests of actors share."""

from __future__ import annotations

import pykka
import pytest
from runtimes import DISPATCHERS
from services import service


@pytest.fixture(params=DISPATCHERS)
def dispatcher(request):
    """Both kinds of dispatcher, one after the other."""
    with DISPATCHERS[request.param]() as dispatcher:
        yield dispatcher
        pykka.ActorRegistry.stop_all()


@pytest.fixture
def manager():
    """A session manager with the default settings."""
    with service() as running:
        yield running
