"""The sessions of a real service against a plain model of the contract, in whatever order Hypothesis thinks of.

All times lie on a grid: the clock moves by multiples of 10 s plus 1/8 s, timeouts are multiples of 10 s, and what
gateways tell is off by odd multiples of 5 s. So no deadline ever falls on the very moment of a sweep.
"""

from __future__ import annotations

import contextlib

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from services import service
from session_model import DEFAULTS, RETENTION, Fault, Model, flat

from sessiond.actors.errors import SessiondError

__all__ = ["Sessions"]


def outcome(call):
    """What it answers, or what it refuses by."""
    try:
        return call()
    except (Fault, SessiondError) as refusal:
        return refusal


def maybe(strategy):
    return st.none() | strategy


offsets = st.sampled_from([None, None, -1005, -45, -15, -5, 5, 1005])
gateways = maybe(st.sampled_from(["g", "h"]))
external_ids = maybe(st.sampled_from(["x", "y"]))
scalars = st.sampled_from([1, 1.0, True, "1", -(2**63), 2**63 - 1])
texts = maybe(st.sampled_from(["a", "b"]))
states = st.sampled_from(["initializing", "ringing", "active", "held", "ended"])
versions = st.sampled_from([None, None, None, None, None, None, "present", "other"])
SELDOM = 7
targets = st.tuples(st.sampled_from(range(20)), st.booleans())
timeouts = {name: st.sampled_from([None, None, None, 0, 10, 50, 1000]) for name in DEFAULTS}
FIELDS = {
    "type": st.sampled_from(["sip", "webrtc"]),
    "state": st.sampled_from(["initializing", "ringing", "active", "held"]),
    "gateway": gateways,
    "external_id": external_ids,
    "caller": texts,
    "callee": texts,
    "direction": maybe(st.sampled_from(["inbound", "outbound"])),
    "parent": texts,
    "group": texts,
    "metadata": maybe(st.dictionaries(st.sampled_from(["k", "l"]), scalars)),
    "request_id": maybe(st.sampled_from(["r", "s"])),
    "at": offsets,
    "answered_at": st.one_of(st.none(), st.none(), offsets),
    **timeouts,
}
fields = st.fixed_dictionaries(FIELDS)
changes = st.fixed_dictionaries(
    {},
    optional={
        "caller": texts,
        "callee": texts,
        "external_id": external_ids,
        "parent": texts,
        "group": texts,
        **timeouts,
    },
)
endings = st.fixed_dictionaries(
    {},
    optional={
        "ended_by": st.sampled_from(["caller", "callee", "gateway", "service", "admin"]),
        "sip_code": st.sampled_from([200, 486]),
        "q850_cause": st.sampled_from([16, 17]),
        "at": offsets,
        "answered_at": offsets,
    },
)


class Sessions(RuleBasedStateMachine):
    @initialize(state=states.filter(lambda state: state != "ended"))
    def start(self, state):
        self.model = Model()
        self.ids = []
        self.stack = contextlib.ExitStack()
        self.service = self.serve()
        self.send(dict.fromkeys(FIELDS) | {"type": "sip", "state": state})

    def serve(self):
        return self.stack.enter_context(service(retention=RETENTION, **DEFAULTS))

    def teardown(self):
        self.stack.close()

    @property
    def now(self):
        return self.service.clock.read()

    def target(self, drawn):
        """The id or the address of one of the newest sessions, or now and then of one that may be forgotten by now."""
        n, by_address = drawn
        known = list(self.model.calls)
        session_id = self.ids[0] if n == SELDOM or not known else known[-1 - n % min(3, len(known))]
        if by_address and session_id in known:
            record = self.model.calls[session_id].record
            if record["external_id"] is not None:
                return {"gateway": record["gateway"], "external_id": record["external_id"]}
        return session_id

    def told(self, offset):
        """What a gateway tells that is off by so many seconds."""
        return None if offset is None else self.now.wall + offset

    def version(self, kind, target):
        if kind is None:
            return None
        with contextlib.suppress(Fault):
            return self.model.find(target).record["version"] + (kind == "other")
        return 1

    def compare(self, expect, ask):
        """Both answer the same, or refuse for the same reason. What a refusal changed, the invariant finds."""
        expected, answer = outcome(expect), outcome(ask)
        if not isinstance(expected, Fault):
            assert not isinstance(answer, SessiondError), answer
            return expected, answer
        assert isinstance(answer, SessiondError), f"{answer} instead of {expected}"
        if "ids" in answer.details:
            answer.details["ids"].sort()
        assert answer.code == expected.code
        assert expected.details.items() <= answer.details.items()
        return None

    @precondition(lambda self: len(self.model.calls) < 4)
    @rule(fields=fields)
    def create(self, fields):
        sent = fields | {name: self.told(fields[name]) for name in ("at", "answered_at")}
        self.send(sent)

    @precondition(lambda self: self.model.requests)
    @rule(n=st.integers(0, 100))
    def create_again(self, n):
        requests = list(self.model.requests.values())
        self.send(requests[n % len(requests)][1])

    def send(self, sent):
        both = self.compare(lambda: self.model.known(sent), lambda: self.service.create_session(**sent))
        if both is None:
            return
        known, created = both
        if known is not None:
            record = known.record
            expected = (record["id"], record["version"], record["state"], False)
            assert msgspec.structs.astuple(created) == expected
            return
        assert msgspec.structs.astuple(created) == (created.id, 1, sent["state"], True)
        assert created.id not in self.ids
        self.ids.append(created.id)
        self.model.create(created.id, sent, self.now)

    @rule(drawn=targets, state=states, kind=versions, offset=offsets)
    def update_state(self, drawn, state, kind, offset):
        target, at = self.target(drawn), self.told(offset)
        if_version = self.version(kind, target)
        both = self.compare(
            lambda: self.model.update_state(target, state, if_version, at, self.now),
            lambda: self.service.update_session_state(target, state, if_version=if_version, at=at),
        )
        if both is not None:
            (call, stale), updated = both
            assert (updated.version, updated.stale) == (call.record["version"], stale)

    @rule(drawn=targets, changes=changes, kind=versions)
    def update(self, drawn, changes, kind):
        target = self.target(drawn)
        if_version = self.version(kind, target)
        self.compare_versions(
            lambda: self.model.update(target, changes, if_version, self.now),
            lambda: self.service.update_session(target, if_version=if_version, **changes),
        )

    @rule(drawn=targets, metadata=st.dictionaries(st.sampled_from(["k", "l"]), maybe(scalars)), kind=versions)
    def annotate(self, drawn, metadata, kind):
        target = self.target(drawn)
        if_version = self.version(kind, target)
        self.compare_versions(
            lambda: self.model.annotate(target, metadata, if_version, self.now),
            lambda: self.service.update_session_metadata(target, metadata, if_version=if_version),
        )

    @rule(drawn=targets)
    def touch(self, drawn):
        target = self.target(drawn)
        self.compare_versions(
            lambda: self.model.update(target, {}, None, self.now), lambda: self.service.touch_session(target)
        )

    def compare_versions(self, expect, ask):
        both = self.compare(expect, ask)
        if both is not None:
            assert both[1].version == both[0].record["version"]

    @precondition(lambda self: len(self.model.calls) > 2)
    @rule(drawn=targets, reason=maybe(st.sampled_from(["normal", "busy", "own"])), options=endings, kind=versions)
    def end(self, drawn, reason, options, kind):
        target = self.target(drawn)
        told = {name: self.told(options[name]) for name in ("at", "answered_at") if name in options}
        sent = options | told | {"if_version": self.version(kind, target)}
        both = self.compare(
            lambda: self.model.end(target, reason, sent, self.now),
            lambda: self.service.end_session(target, reason, **sent),
        )
        if both is not None:
            assert msgspec.structs.astuple(both[1]) == both[0]

    @rule(drawn=targets)
    def get(self, drawn):
        target = self.target(drawn)
        both = self.compare(lambda: self.model.find(target).shown(), lambda: self.service.get_session(target))
        if both is not None:
            assert flat(msgspec.structs.asdict(both[1])) == flat(both[0])

    @rule(tens=st.sampled_from([0, 0, 0, 0, 1, 1, 1, 2, 2, 5, 10, 50]))
    def pass_time(self, tens):
        self.service.pass_time(10 * tens + 0.125)
        self.model.pass_time(self.now)

    @rule(seconds=st.sampled_from([-1005, -5, 5, 1005]))
    def step_wall(self, seconds):
        self.service.clock.step_wall(seconds)

    @invariant()
    def every_session_is_as_the_model_has_it(self):
        for session_id, call in self.model.calls.items():
            assert flat(msgspec.structs.asdict(self.service.get_session(session_id))) == flat(call.shown())

    @invariant()
    def nobody_else_is_known(self):
        directory = self.service.context.directory
        assert set(directory.by_id) == set(self.model.calls)
        assert len(directory) == len(self.model.calls)
        live = sum(call.ended is None for call in self.model.calls.values())
        assert (directory.live_count, directory.retained_count) == (live, len(self.model.calls) - live)
        assert len(self.service.context.requests) == len(self.model.requests)
