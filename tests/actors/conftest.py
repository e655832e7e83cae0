"""What the tests of actors share."""

from __future__ import annotations

import itertools

import pykka
import pytest
from msgspec.structs import replace
from runtimes import DISPATCHERS
from services import is_restless, kept_in, service

from sessiond.actors import residence
from sessiond.stores.settings import StoreSettings


@pytest.fixture(params=DISPATCHERS)
def dispatcher(request):
    """Both kinds of dispatcher, one after the other."""
    with DISPATCHERS[request.param]() as dispatcher:
        yield dispatcher
        pykka.ActorRegistry.stop_all()


CONTRACT = {
    "test_crash_recovery",
    "test_ends_in_bulk",
    "test_gateways",
    "test_herald",
    "test_history",
    "test_limits",
    "test_links",
    "test_listing",
    "test_reaper",
    "test_session_actors",
    "test_sessions",
    "test_supervision",
    "test_syncs",
    "test_tally",
}
"""The tests of what is so whatever keeps the sessions: each runs against every store."""
STORES = {
    "memory": StoreSettings(),
    "sqlite": StoreSettings(kind="sqlite"),
    "sqlite, passive": StoreSettings(kind="sqlite"),
    "sqlite, relaxed": StoreSettings(kind="sqlite", durability="relaxed", interval=0.01),
}


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__.rpartition(".")[2] in CONTRACT:
        metafunc.fixturenames.insert(0, "store")  # before the services of other fixtures start
        metafunc.parametrize("store", STORES, indirect=True)


@pytest.fixture
def store(request, tmp_path, monkeypatch):
    """What keeps the sessions of all services of the test."""
    numbers = itertools.count()
    settings = STORES[request.param]
    token = kept_in.set(lambda: replace(settings, path=str(tmp_path / f"{next(numbers)}.db")))
    restless = is_restless.set(request.param == "sqlite, passive")
    if request.param == "sqlite, passive":
        monkeypatch.setattr(residence, "JUST_USED", 0.0)
    yield
    kept_in.reset(token)
    is_restless.reset(restless)


@pytest.fixture
def manager():
    """A session manager with the default settings."""
    with service() as running:
        yield running
