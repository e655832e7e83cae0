"""Sessions that crash, and how often they may."""

from __future__ import annotations

import pytest
from services import Service

from sessiond.actors.errors import Internal
from sessiond.actors.results import Updated
from sessiond.actors.session import SessionActor

__all__ = ["RESTARTS", "Touchy", "touch"]

RESTARTS = 3
"""So many crashes within 60 s are survived."""


class Touchy(SessionActor):
    """Crashes when touched, and after it has changed its metadata."""

    def touch(self) -> Updated:
        raise RuntimeError

    def annotate(self, *args) -> Updated:
        super().annotate(*args)
        raise RuntimeError


def touch(manager: Service, session_id: str) -> None:
    """Have a Touchy session crash."""
    with pytest.raises(Internal):
        manager.touch_session(session_id)
