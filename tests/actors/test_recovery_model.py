"""The same as ``test_session_model``, with a service that is stopped, or dies, at any point, and starts anew.

Everything is as it was: whoever asks finds no difference, but for the time that has passed.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import msgspec
from gated import GatedService
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from session_machine import Sessions
from session_model import DEFAULTS, RETENTION

from sessiond.actors.session import SessionActor

FIELDS = ("type", "state", "gateway", "external_id", "caller", "callee", "direction", "parent", "group")


class Recovered(Sessions):
    step_wall = None
    """What is known of earlier runs are the times on the wall's clock, so that this one must go as time does."""

    def serve(self):
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.paths = (self.folder / f"{number}.db" for number in itertools.count())
        self.path = next(self.paths)
        self.stack.callback(self.stop)
        return self.start_at(None)

    def stop(self):
        self.service.stop()

    def start_at(self, clock):
        return GatedService(self.path, SessionActor, retention=RETENTION, clock=clock, **DEFAULTS)

    @rule(is_crash=st.booleans(), tens=st.sampled_from([0, 0, 1, 5, 50]))
    def restart(self, is_crash, tens):
        """It is away for a while."""
        self.service.keep_all()
        before = self.known()
        watched = self.service.watch(lambda _: None, snapshot=False).number
        if is_crash:
            self.path = next(self.paths)
            self.service.crash(self.path)
        self.service.stop()
        clock = self.service.clock
        clock.advance(10 * tens)
        self.service = self.start_at(clock)
        if not tens:
            assert self.known() == before
        assert self.service.watch(lambda _: None, snapshot=False).number > watched
        self.model.restart(self.now)
        self.pass_time(0)

    def known(self):
        """All that anybody can ask for."""
        sessions = self.service.list_sessions(ended="any").sessions
        return (
            [msgspec.structs.asdict(session) for session in sessions],
            [self.service.get_session_history(session.id) for session in sessions],
            [self.service.count_sessions(by=field, ended=ended) for field in FIELDS for ended in (True, False, "any")],
        )


TestRecovered = Recovered.TestCase
TestRecovered.settings = settings(max_examples=60, stateful_step_count=50, deadline=None, derandomize=True)
