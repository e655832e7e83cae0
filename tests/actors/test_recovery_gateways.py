"""Gateways that come, go, claim and sync, in whatever order, and a service that starts anew at any point.

Whoever held a session holds it still, and is lost; nothing else of any session has changed.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from pathlib import Path

import msgspec
from gated import GatedService
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sessiond.actors.errors import SessiondError
from sessiond.actors.params import SyncPart
from sessiond.actors.session import SessionActor
from sessiond.actors.settings import GatewaySettings

GRACE = 100.0
NAMES = st.sampled_from(["g", "h"])
EPOCHS = st.sampled_from([None, "e1", "e2", "e3"])
NUMBERS = st.integers(0, 20)


class Restarts(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from(["share", "take_over", "refuse"]), name=NAMES, epoch=EPOCHS)
    def begin(self, policy, name, epoch):
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.paths = (self.folder / f"{number}.db" for number in itertools.count())
        self.path = next(self.paths)
        self.gateways = GatewaySettings(lease=3600, grace=GRACE, policy=policy)
        self.links = []
        self.service = self.start_at(None)
        self.connect(name, epoch)
        self.create(0, None)

    def start_at(self, clock):
        never = dict.fromkeys(["setup_timeout", "idle_timeout", "max_duration"], 0)
        return GatedService(self.path, SessionActor, gateways=self.gateways, clock=clock, retention=1000, **never)

    def teardown(self):
        if hasattr(self, "service"):
            self.service.stop()
            self.stack.close()

    @property
    def ids(self):
        return [session.id for session in self.service.list_sessions().sessions]

    @rule(name=NAMES, epoch=EPOCHS)
    def connect(self, name, epoch):
        with contextlib.suppress(SessiondError):
            link, _ = self.service.connect(name, epoch)
            self.links.append(link)
        for each in [link for link in self.links if link.closed_for]:
            self.links.remove(each)
            each.lose()

    @precondition(lambda self: self.links)
    @rule(number=NUMBERS)
    def lose(self, number):
        self.links.pop(number % len(self.links)).lose()

    @precondition(lambda self: self.links)
    @rule(number=NUMBERS, text=st.sampled_from([None, "x"]))
    def create(self, number, text):
        with self.links[number % len(self.links)].asking():
            self.service.create(state="active", caller=text)

    @precondition(lambda self: self.links and self.ids)
    @rule(number=NUMBERS, which=NUMBERS, action=st.sampled_from(["touch", "change", "end"]))
    def tell(self, number, which, action):
        """Whoever speaks of a session that nobody holds any more claims it."""
        session_id = self.ids[which % len(self.ids)]
        with self.links[number % len(self.links)].asking() as manager:
            if action == "touch":
                manager.touch_session(session_id)
            elif action == "change":
                manager.update_session_metadata(session_id, {"number": number})
            else:
                manager.end_session(session_id)

    @precondition(lambda self: self.links)
    @rule(number=NUMBERS, named=st.sets(NUMBERS))
    def sync(self, number, named):
        link = self.links[number % len(self.links)]
        ids = [each for place, each in enumerate(self.ids) if place in named]
        with link.asking() as manager:
            part = SyncPart(ids=ids)
            manager.turn(lambda registry: registry.sync(link.incarnation.gateway, part, link.incarnation))

    @rule(seconds=st.sampled_from([1, 40, 101]))
    def pass_time(self, seconds):
        self.service.live_for(seconds)

    @rule(is_crash=st.booleans())
    def restart(self, is_crash):
        self.service.keep_all()
        before, held = self.known(), self.held()
        if is_crash:
            self.path = next(self.paths)
            self.service.crash(self.path)
        self.service.stop()
        self.links.clear()
        self.service = self.start_at(self.service.clock)
        assert self.known() == before
        assert self.held() == held
        assert {each.state for each in self.service.list_gateways().gateways} <= {"lost"}
        assert self.service.count_sessions(suspect=True).count == sum(held.values())

    @rule()
    def restart_and_wait_for_nobody(self):
        """All end that somebody held, and only when the whole grace is over."""
        self.restart(is_crash=True)
        live, held = len(self.ids), sum(self.held().values())
        self.service.live_for(GRACE - 1)
        assert len(self.ids) == live
        self.service.live_for(2)
        assert len(self.ids) == live - held

    def known(self):
        """All that anybody can ask for, but for what depends on whether gateways are there."""
        sessions = self.service.list_sessions(ended="any").sessions
        return (
            [msgspec.structs.replace(session, suspect=False, expires_at=None) for session in sessions],
            [self.service.get_session_history(session.id) for session in sessions],
        )

    def held(self):
        """How many sessions each incarnation holds that holds any."""
        known = self.service.list_gateways().gateways
        return {(each.name, each.epoch): each.sessions for each in known if each.sessions}


TestRestarts = Restarts.TestCase
TestRestarts.settings = settings(max_examples=30, stateful_step_count=30, deadline=None, derandomize=True)
