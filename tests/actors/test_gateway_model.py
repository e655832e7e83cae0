"""The life of gateways, in whatever order Hypothesis thinks of: crashes, connections that only seem to be there, late
and repeated requests, syncs that are complete, late or broken off, clocks that step, and the service's own crashes.

Two things must hold. No session is ended for its gateway's loss whose call is up, unless nothing was heard of it, or of
whoever was thought to have it, for the whole grace. And none is left whose gateway has been lost for longer.
"""

from __future__ import annotations

import contextlib
from unittest.mock import patch

from gateway_world import LEASE, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from services import service

from sessiond.actors.errors import Internal, InvalidRequest
from sessiond.actors.gateway import GatewayActor
from sessiond.actors.guard import run
from sessiond.actors.params import SyncPart
from sessiond.actors.session import SessionActor
from sessiond.actors.settings import GatewaySettings
from sessiond.metrics.collecting import Collecting

GRACE = 120.0
STEP = 10.0
"""Seconds, of which leases and graces are multiples, so that each is over at the moment of a step."""
QUIET = 70.0
"""Seconds between crashes of gateway actors in their own work: more of them within a minute are given up."""
NAMES = st.sampled_from(["g", "g", "g", "h"])
NUMBERS = st.integers(0, 20)
POLICIES = st.sampled_from(["share", "share", "take_over", "refuse"])
ACTIONS = st.sampled_from(["touch", "touch", "touch", "create again", "end", "hang up unheard"])


class Crashing(SessionActor):
    """Crashes when it is annotated, and now and then when it is named in a sync."""

    confirms_to_crash = 0

    def annotate(self, metadata, if_version=None):
        raise RuntimeError

    def confirm(self, incarnation):
        if Crashing.confirms_to_crash:
            Crashing.confirms_to_crash -= 1
            raise RuntimeError
        super().confirm(incarnation)


def one(items, number):
    return items[number % len(items)]


class Gateways(RuleBasedStateMachine):
    @initialize(policy=POLICIES, name=NAMES, number=st.integers(1, 2))
    def begin(self, policy, name, number):
        self.stack = contextlib.ExitStack()
        gateways = GatewaySettings(lease=LEASE, grace=GRACE, policy=policy)
        never = dict.fromkeys(["setup_timeout", "idle_timeout", "max_duration"], 0)
        self.service = self.stack.enter_context(service(Crashing, gateways=gateways, retention=1e9, **never))
        self.world = World(self.service)
        self.looks_to_crash = 0
        self.crashed_at = self.named_at_trouble = 0.0
        look = GatewayActor.look

        def maybe_crash(actor):
            if self.looks_to_crash:
                self.looks_to_crash -= 1
                raise RuntimeError
            look(actor)

        self.stack.enter_context(patch.object(GatewayActor, "look", maybe_crash))
        self.stack.enter_context(patch.object(Crashing, "confirms_to_crash", 0))
        for _ in range(number):
            self.world.start(name)
        for process in self.speaking():
            for _ in range(3):
                self.world.create(process, process.links[0])

    def teardown(self):
        if hasattr(self, "stack"):
            self.stack.close()

    def speaking(self):
        """Processes that can be heard, each with its connections."""
        return [process for process in self.world.running() if process.links]

    # Processes and connections

    @rule(name=NAMES)
    def start(self, name):
        """One that is restarted, or one more beside others that live: else it would be taken for their restart."""
        states = self.world.states()
        if all(states[each.name, each.epoch] == "live" for each in self.world.running(name)):
            self.world.start(name)

    @precondition(lambda self: self.world.running())
    @rule(number=NUMBERS)
    def connect(self, number):
        process = one(self.world.running(), number)
        if len(process.links) < 3:
            self.world.connect(process)

    @precondition(lambda self: self.speaking())
    @rule(number=NUMBERS, lasting=NUMBERS, is_known=st.booleans())
    def kill(self, number, lasting, is_known):
        """Some of its calls go on: whoever is started next has them."""
        process = one(self.speaking(), number)
        for link in list(process.links):
            if is_known:
                self.world.close(process, link)
            else:
                process.links.remove(link)
                process.dead_links.append(link)
        self.world.stop(process, survives=lambda call: int(call.external_id.split()[1]) * 8 % 21 <= lasting)

    @precondition(lambda self: self.speaking())
    @rule(number=NUMBERS, lasting=NUMBERS)
    def restart(self, number, lasting):
        """Kill a process, and start the next one at once."""
        name = one(self.speaking(), number).name
        self.kill(number, lasting, is_known=True)
        self.start(name)

    @precondition(lambda self: self.speaking())
    @rule(number=NUMBERS, is_known=st.booleans())
    def cut(self, number, is_known):
        process = one(self.speaking(), number)
        link = one(process.links, number)
        if is_known:
            self.world.close(process, link)
        else:
            process.links.remove(link)
            process.dead_links.append(link)

    @precondition(lambda self: any(process.dead_links for process in self.world.processes))
    @rule(number=NUMBERS, which=NUMBERS)
    def what_was_on_its_way_arrives(self, number, which):
        """Late, maybe from a process that is no more; or the kernel finds out that it is no more."""
        process = one([each for each in self.world.processes if each.dead_links], number)
        if which % 3 == 0:
            self.world.close(process, process.dead_links[0])
            return
        calls = [session_id for session_id, call in self.world.calls.items() if call.name == process.name]
        with one(process.dead_links, number).asking() as manager:
            if calls:
                manager.touch_session(one(calls, which))
        self.world.heard(process)

    # Calls

    @precondition(lambda self: self.speaking())
    @rule(number=NUMBERS)
    def create(self, number):
        if len(self.world.calls) < 12:
            process = one(self.speaking(), number)
            self.world.create(process, one(process.links, number))

    @precondition(lambda self: any(self.world.owned_by(process) for process in self.speaking()))
    @rule(number=NUMBERS, which=NUMBERS, action=ACTIONS)
    def call(self, number, which, action):
        process = one([each for each in self.speaking() if self.world.owned_by(each)], number)
        session_id, call = one(list(self.world.owned_by(process).items()), which)
        if action == "hang up unheard":
            call.owner, call.is_up = None, False
            return
        with one(process.links, which).asking() as manager:
            if action == "touch":
                manager.touch_session({"gateway": call.name, "external_id": call.external_id})
            elif action == "create again":
                again = {"external_id": call.external_id, "request_id": call.external_id, "state": "active"}
                assert manager.create(**again) == session_id
            else:
                manager.end_session(session_id)
                del self.world.calls[session_id]
        self.world.heard(process)
        if action == "touch":
            call.word = self.world.now
            assert not self.service.get(session_id).suspect

    # Syncs

    @precondition(lambda self: self.speaking())
    @rule(number=NUMBERS)
    def begin_sync(self, number):
        """With the list of the calls that it has now."""
        process = one(self.speaking(), number)
        begun = self.sync(process, ids=[], final=False)
        process.sync = (begun.sync, list(self.world.owned_by(process)))

    @precondition(lambda self: any(process.sync for process in self.speaking()))
    @rule(number=NUMBERS, count=st.integers(1, 6), by_address=st.booleans())
    def go_on_with_sync(self, number, count, by_address):
        self.tell(one([each for each in self.speaking() if each.sync], number), count, by_address)

    @precondition(lambda self: self.speaking())
    @rule(number=NUMBERS, count=st.integers(1, 6), steps=st.sampled_from([0, 0, 0, 0, 1, 7]))
    def sync_all(self, number, count, steps):
        """One after another, some time passing after the first part."""
        self.begin_sync(number)
        process = one(self.speaking(), number)
        self.tell(process, 1, by_address=False)
        self.pass_time(steps, are_all_heard=True)
        while process.sync:
            self.tell(process, count, by_address=True)

    def tell(self, process, count, by_address):
        """One part of the sync of a process."""
        token, left = process.sync
        part, left = left[:count], left[count:]
        names = {"external_ids": [self.external_ids.get(each, "?") for each in part]} if by_address else {"ids": part}
        answer = None
        with contextlib.suppress(InvalidRequest, Internal):  # too late, or the gateway was lost meanwhile; or a crash
            answer = self.sync(process, sync=token, final=not left, **names)
        process.sync = (token, left) if left and answer else None
        if answer is None:
            return
        for session_id in part:
            if session_id in self.world.calls:
                self.world.calls[session_id].word = self.world.now
                assert self.service.get(session_id).epoch == process.epoch
        assert not answer.unknown or (by_address and set(answer.unknown) == {"?"})
        if not left:
            self.end_what_is_missing(process, answer)

    def end_what_is_missing(self, process, answer):
        """It ends what it has not; none of that is another one's."""
        for session_id in answer.missing:
            call = self.world.calls[session_id]
            if call.owner is not process:
                assert call.owner is None
                assert not call.is_up
                with process.links[0].asking() as manager:
                    manager.end_session(session_id, "failed")
                del self.world.calls[session_id]
        self.world.heard(process)

    def sync(self, process, **part):
        incarnation = process.links[0].incarnation
        with process.links[0].asking() as manager:
            self.world.heard(process)
            return manager.turn(lambda registry: registry.sync(process.name, SyncPart(**part), incarnation))

    # Time, and the service itself

    @rule(steps=st.sampled_from([1, 1, 2, 3, 6, 13]), are_all_heard=st.booleans())
    def pass_time(self, steps, are_all_heard):
        for _ in range(steps):
            for process in self.speaking() if are_all_heard else ():
                process.links[0].ping()
                self.world.heard(process)
            self.service.live_for(STEP)
            self.service.live_for(0)  # of a gateway actor that crashed when it looked
            self.check_ends()
            self.world.note_losses()

    @rule(trouble=st.sampled_from(["clock", "session", "gateway", "look"]), number=NUMBERS)
    def have_trouble(self, trouble, number):
        if trouble == "clock":
            self.service.clock.step_wall((number - 10) * 1e4)
        elif trouble == "session":
            self.crash_a_session(number)
        elif trouble == "gateway":
            with contextlib.suppress(Internal):
                self.service.turn(lambda registry: run(one(list(registry._gateways.values()), number), crash))
        elif self.world.now > self.crashed_at + QUIET:
            self.crashed_at = self.world.now
            self.looks_to_crash = 1

    def crash_a_session(self, number):
        """Or have the next one crash that is named in a sync, once or twice."""
        calls = [(session_id, call) for session_id, call in self.world.calls.items() if call.crashes == 0]
        if not calls:
            return
        session_id, call = one(calls, number)
        call.crashes += 1
        with contextlib.suppress(Internal):
            self.service.update_session_metadata(session_id, {"a": 1})
        if self.world.now > self.named_at_trouble + QUIET:
            self.named_at_trouble = self.world.now
            Crashing.confirms_to_crash = number % 3

    # What must hold

    @invariant()
    def all_is_well(self):
        if hasattr(self, "world"):
            self.check_ends()
            self.world.note_losses()
            self.check_states()
            self.check_graces()
            self.check_counts()

    @property
    def external_ids(self):
        return {session_id: call.external_id for session_id, call in self.world.calls.items()}

    def check_ends(self):
        """No call is ended that is up, unless nothing was heard for the whole grace."""
        for session_id, call in list(self.world.calls.items()):
            session = self.service.get(session_id)
            if session.state != "ended":
                assert session.state == "active"
                continue
            assert session.end_reason == "gateway_lost"
            assert not call.is_up or self.world.now - call.word >= GRACE
            del self.world.calls[session_id]

    def check_states(self):
        """Those are lost that are not heard, and no other."""
        expected = self.world.states()
        known = {(each.name, each.epoch): each for each in self.service.list_gateways().gateways}
        assert {key: each.state for key, each in known.items()} == {key: expected[key] for key in known}
        assert {expected[key] for key in expected.keys() - known.keys()} <= {"lost"}
        for process in self.world.processes:
            links = len(process.links) + len(process.dead_links)
            assert links == (known[process.name, process.epoch].connections if links else 0)

    def check_graces(self):
        """None is left whose gateway has been lost for the whole grace."""
        for session_id, call in self.world.calls.items():
            session = self.service.get(session_id)
            key = (call.name, session.epoch)
            assert session.suspect == (key in self.world.lost_since)
            assert not session.suspect or self.world.now - self.world.lost_since[key] < GRACE

    def check_counts(self):
        """Every count is what one finds when one looks at each session."""
        sessions = [self.service.get(session_id) for session_id in self.world.calls]
        suspect = sum(session.suspect for session in sessions)
        assert self.service.count_sessions().count == len(sessions)
        assert self.service.count_sessions(suspect=True).count == suspect
        assert self.service.count_sessions(suspect=False).count == len(sessions) - suspect
        gateways = self.service.list_gateways().gateways
        for each in gateways:
            assert each.sessions == sum((one.gateway, one.epoch) == (each.name, each.epoch) for one in sessions)
        assert sum(each.sessions for each in gateways) == len(sessions)
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in self.service.turn(lambda registry: registry.work(Collecting))
            for sample in family.samples
        }
        assert samples["sessiond_suspect_sessions",] == suspect
        for state in ("live", "lost"):
            assert samples["sessiond_gateways", state] == sum(each.state == state for each in gateways)
        assert self.service.given_up == []


def crash(_):
    raise RuntimeError


TestGateways = Gateways.TestCase
TestGateways.settings = settings(max_examples=150, stateful_step_count=50, deadline=None, derandomize=True)
