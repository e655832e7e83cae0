"""The sessions of a real service against a plain model of the contract, in whatever order Hypothesis thinks of."""

from __future__ import annotations

from hypothesis import settings
from session_machine import Sessions

TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=150, stateful_step_count=50, deadline=None, derandomize=True)
