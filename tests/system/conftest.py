"""The service as strangers meet it: a process."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from processes import SERVE, process


@pytest.fixture
def serve(tmp_path):
    """Start ``sessiond serve`` with some options, maybe on a ``port``; whatever still runs at the end is killed."""
    with ExitStack() as stack:

        def start(*options, **where):
            return stack.enter_context(process(tmp_path / "service.log", *SERVE, *options, **where))

        yield start
