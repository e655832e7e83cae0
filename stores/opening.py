"""Which store the configuration asks for."""

from __future__ import annotations

from sessiond.stores.settings import StoreSettings
from sessiond.stores.sqlite import SqliteStore

__all__ = ["configured"]


def configured(settings: StoreSettings) -> SqliteStore | None:
    """The store of these settings, None for ``memory``; nothing of it is open yet."""
    return None if settings.kind == "memory" else SqliteStore(settings)
