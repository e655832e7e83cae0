"""Waiting for what another program does, which gives no event: it is asked again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "eventually"]

R = TypeVar("R")

PATIENCE = 30
"""Seconds after which a test that waits has failed. No test that passes waits for so long."""


def eventually(ask: Callable[[], R], what: str, every: float = 0.01) -> R:
    """What ``ask`` gives once that is something; ``what`` says that.

    It is asked every so many seconds: each question takes time of what is waited for.
    """
    deadline = time.monotonic() + PATIENCE
    while not (found := ask()):
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(every)
    return found
