"""Commands while connections come and go, answers are late or lost, and calls end by themselves: what must hold."""

from __future__ import annotations

from commanded import Gateway, ask_soon, let
from hypothesis import given, settings
from hypothesis import strategies as st
from services import service

from sessiond.actors.commanding import OUTCOMES
from sessiond.actors.errors import SessiondError

ANSWERS = {"answer": (None, None), "deny": ("not_found", None), "refuse": ("busy", None)}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["connect", "cut", "terminate", "terminate", "end", "pass", *ANSWERS]), st.integers(0, 1000)
    ),
    max_size=40,
)
LONGEST = 30 + 3 * 5
"""Seconds that a command takes at most."""


class World:
    """A gateway with ten calls, and administrators who want them ended."""

    def __init__(self, manager):
        self.manager = manager
        self.gateway = Gateway(manager)
        self.links = [self.gateway.connect()]
        self.ids = [self.gateway.create() for _ in range(10)]
        self.ended_by_itself = set()
        self.confessed = set()
        """The calls of which the gateway said that it has hung up, or has not got them."""
        self.wanted = []

    def step(self, what, number):
        if what == "connect" and len(self.links) < 4:
            self.links.append(self.gateway.connect())
        elif what == "cut" and self.links:
            self.links.pop(number % len(self.links)).cut()
        elif what == "terminate":
            session_id = self.ids[number % len(self.ids)]
            self.wanted.append((session_id, ask_soon(self.manager, "terminate_session", session_id)))
        elif what == "end":
            session_id = self.ids[number % len(self.ids)]
            if self.manager.get(session_id).state != "ended":
                self.manager.end_session(session_id, "normal")
                self.ended_by_itself.add(session_id)
        elif what == "pass":
            let(self.manager, number % 8)
        elif what in ANSWERS:
            self.answer(number, *ANSWERS[what])

    def answer(self, number, error, result):
        """Answer some request, be it the first time or again, in time or late; not one that was lost on its way."""
        asked = [each for link in self.links for each in link.asked]
        if asked:
            each = asked[number % len(asked)]
            if error != "busy":
                self.confessed.add(each.arguments["id"])
            each.answer(result, error)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_happens_every_command_is_answered_and_no_call_is_given_up_that_may_be_up(steps):
    with service(retention=1e6) as manager:
        world = World(manager)
        for step in steps:
            world.step(*step)
        for _ in range(LONGEST + 1):
            let(manager, 1)
        assert len(manager.context.commander.lanes) == 0
        assert all(asked.is_forgotten for link in world.links for asked in link.asked)
        assert sum(manager.context.tally.commands.values()) <= len(world.wanted)
        assert {outcome for _, outcome in manager.context.tally.commands} <= set(OUTCOMES)
        for session_id, future in world.wanted:
            assert future.done()
            session = manager.get(session_id)
            try:
                result = future.get()
            except SessiondError:
                continue
            assert session.state == "ended"
            assert result.ended_at == session.ended_at
        for session_id in world.ids:
            session = manager.get(session_id)
            if session_id in world.ended_by_itself:
                assert session.end_reason == "normal"
            elif session.state == "ended":
                assert (session.end_reason, session_id in world.confessed) == ("admin", True)
