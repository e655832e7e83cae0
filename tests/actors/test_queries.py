"""Listing and counting against brute force over a plain list, while sessions come, change, end and are forgotten."""

from __future__ import annotations

from hypothesis import settings
from query_model import Queries


class WideQueries(Queries):
    """The same as only large services do it: over all chunks, by records where values are many, rebuilding chunks."""

    narrow, many_values, shrink_at = 0, 0, frozenset(range(1, 1024))


machine_settings = settings(derandomize=True, deadline=None, max_examples=100, stateful_step_count=40)
TestQueries = Queries.TestCase
TestQueries.settings = machine_settings
TestWideQueries = WideQueries.TestCase
TestWideQueries.settings = machine_settings
