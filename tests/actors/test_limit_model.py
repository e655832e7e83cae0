"""Limits against a count by hand of what lives, whatever happens to sessions: no count ever drifts."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from services import service

from sessiond.actors.errors import Internal, LimitExceeded, SessiondError, SessionEnded
from sessiond.actors.limits import Limit
from sessiond.actors.results import Updated
from sessiond.actors.session import SessionActor

LIMITS = [
    Limit(name="gateways", by="gateway", concurrent=1),
    Limit(name="gateway g", by="gateway", value="g", concurrent=3, per_second=0.5),
    Limit(name="callers", by="caller", concurrent=2, per_second=2),
    Limit(name="caller a", by="caller", value="a", concurrent=1),
    Limit(name="callees", by="callee", per_second=0.25),
    Limit(name="closed", by="callee", value="b", concurrent=0),
    Limit(name="sip", by="type", value="sip", concurrent=4),
    Limit(name="types", by="type", per_second=1.5),
    Limit(name="conferences", by="group", concurrent=2, per_second=1),
    Limit(name="group b", by="group", value="b", concurrent=1),
    Limit(name="keys", by="metadata.k", concurrent=1),
    Limit(name="true", by="metadata.k", value=True, concurrent=1),
    Limit(name="others", by="metadata.l", concurrent=2),
]
TEXTS = [None, "a", "b"]
SCALARS = [1, 1.0, True, "1", "crash"]
VALUES = {"gateway": ["g", "h"], "type": ["sip", "fax"]}

# Few values, so that limits are reached all the time.
fields = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["sip", "sip", "fax"]),
        "gateway": st.sampled_from([None, "g", "g", "h"]),
        "caller": st.sampled_from(TEXTS),
        "callee": st.sampled_from([None, None, *TEXTS]),
        "group": st.sampled_from(TEXTS),
        "metadata": st.fixed_dictionaries({}, optional={"k": st.sampled_from([1, 1.0, True, "1"]), "l": st.booleans()}),
    },
    optional={
        "state": st.sampled_from(["initializing", "active"]),
        "request_id": st.sampled_from([None, None, "r", "s"]),
    },
)


changes = st.dictionaries(st.sampled_from(["caller", "callee", "group"]), st.sampled_from(TEXTS))


class Fragile(SessionActor):
    """Crashes when it is touched, and after its metadata was changed so."""

    def touch(self) -> Updated:
        raise RuntimeError

    def annotate(self, *args) -> Updated:
        updated = super().annotate(*args)
        if "crash" in self.record.metadata.values():
            raise RuntimeError
        return updated


def same(value: object, wanted: object) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


class Limits(RuleBasedStateMachine):
    @initialize(chosen=st.sets(st.sampled_from(range(len(LIMITS))), min_size=1, max_size=3))
    def start(self, chosen):
        self.limits = [LIMITS[n] for n in sorted(chosen)]
        self.ids = []
        self.requests = {}
        self.created = []
        self.refused = dict.fromkeys((limit.name for limit in self.limits), 0)
        self.stack = contextlib.ExitStack()
        self.service = self.stack.enter_context(
            service(Fragile, limits=self.limits, setup_timeout=20, idle_timeout=40, retention=30, max_retained=3)
        )

    def teardown(self):
        self.service.pass_time(1000)
        self.service.pass_time(1000)
        directory = self.service.context.directory
        assert len(directory) == 0
        assert not any(map(len, (*directory.live.values(), *directory.metadata.values())))
        self.stack.close()

    @property
    def now(self):
        return self.service.clock.read().monotonic

    # What happens

    @rule(several=st.lists(fields, min_size=1, max_size=8))
    def create(self, several):
        for each in several:
            self.create_one(each)

    def create_one(self, fields):
        request = (fields.get("gateway"), fields.get("request_id"))
        if request[1] is not None and request in self.requests:
            return
        reached = [refusal for limit in self.limits for refusal in self.refusals(limit, fields)]
        if reached:
            with pytest.raises(LimitExceeded) as caught:
                self.service.create_session(**fields)
            assert caught.value.details in reached
            self.refused[caught.value.details["limit"]] += 1
            return
        created = self.service.create_session(**fields)
        assert created.created
        self.ids.append(created.id)
        self.created.append((self.now, fields))
        if request[1] is not None:
            self.requests[request] = (created.id, fields)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def repeat(self, data):
        """It makes nothing, so it is not refused, however full it is by now."""
        session_id, fields = data.draw(st.sampled_from(list(self.requests.values())))
        created = self.service.create_session(**fields)
        assert (created.id, created.created) == (session_id, False)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), changes=changes)
    def update(self, data, changes):
        with contextlib.suppress(SessionEnded):
            self.service.update_session(self.any_of(data), **changes)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), key=st.sampled_from(["k", "l"]), value=st.sampled_from([None, *SCALARS]))
    def annotate(self, data, key, value):
        with contextlib.suppress(SessionEnded, Internal):
            self.service.update_session_metadata(self.any_of(data), {key: value})

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), state=st.sampled_from(["active", "held", "ended"]))
    def move(self, data, state):
        with contextlib.suppress(SessiondError):
            self.service.update_session_state(self.any_of(data), state)

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def end(self, data):
        self.service.end_session(self.any_of(data))

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), times=st.integers(1, 4), has_ref=st.booleans())
    def crash(self, data, times, has_ref):
        """The fourth time within a minute ends it."""
        session_id = self.any_of(data)
        for _ in range(times):
            with contextlib.suppress(SessionEnded):
                if has_ref:
                    self.service.ref(session_id)
            with pytest.raises((Internal, SessionEnded)):
                self.service.touch_session(session_id)

    @rule(eighths=st.sampled_from([1, 2, 4, 8, 16, 32, 200, 400]))
    def pass_time(self, eighths):
        """What is overdue ends, and what has been retained is forgotten."""
        self.service.pass_time(eighths / 8)
        self.forget()

    @rule(seconds=st.sampled_from([-3600, -1, 1, 3600]))
    def step_wall(self, seconds):
        self.service.clock.step_wall(seconds)

    # What is expected

    def any_of(self, data):
        return data.draw(st.sampled_from(self.ids))

    def forget(self):
        known = self.service.context.directory.by_id
        self.ids = [each for each in self.ids if each in known]
        self.requests = {key: known_as for key, known_as in self.requests.items() if known_as[0] in known}

    def living(self, limit, value):
        """The ids of the live sessions that have the value, by a look at every one there is."""
        records = [self.service.get(each) for each in self.ids]
        return [record.id for record in records if record.state != "ended" and same(self.value(limit, record), value)]

    def value(self, limit, session):
        get = session.get if isinstance(session, dict) else lambda name: getattr(session, name)
        key = limit.by.removeprefix("metadata.")
        return get(limit.by) if key == limit.by else (get("metadata") or {}).get(key)

    def values(self, limit):
        return SCALARS if limit.by.startswith("metadata.") else VALUES.get(limit.by, ["a", "b"])

    def level(self, limit, value):
        """What is in the bucket, from all creations there were."""
        level, then, rate = Fraction(0), Fraction(0), Fraction(limit.per_second)
        for at, fields in self.created:
            if same(self.value(limit, fields), value):
                level = max(Fraction(0), level - (Fraction(at) - then) * rate) + 1
                then = Fraction(at)
        return max(Fraction(0), level - (Fraction(self.now) - then) * rate)

    def refusals(self, limit, fields):
        value = self.value(limit, fields)
        if value is None or (limit.value is not None and not same(limit.value, value)):
            return
        details = {"limit": limit.name, "by": limit.by, "value": value}
        living = len(self.living(limit, value))
        if limit.concurrent is not None and living >= limit.concurrent:
            yield details | {"current": living, "maximum": limit.concurrent}
        elif limit.per_second is not None and (level := self.level(limit, value)) + 1 > max(1, limit.per_second):
            yield details | {"current": -int(-level // 1), "maximum": limit.per_second, "per": "second"}

    @invariant()
    def counts_are_what_lives(self):
        self.forget()
        for limit in self.limits:
            for value in self.values(limit) if limit.value is None else [limit.value]:
                living = self.living(limit, value)
                explained = self.service.explain_limit(limit.name, value=value, limit=2)
                assert (explained.current, explained.maximum) == (len(living), limit.concurrent)
                shown = [session.id for session in explained.sessions]
                while explained.cursor is not None:
                    explained = self.service.explain_limit(limit.name, value=value, limit=2, cursor=explained.cursor)
                    shown += [session.id for session in explained.sessions]
                assert shown == living

    @invariant()
    def refusals_are_counted(self):
        assert {limit.name: self.service.context.tally.refused[limit.name] for limit in self.limits} == self.refused


TestLimits = Limits.TestCase
TestLimits.settings = settings(max_examples=150, stateful_step_count=50, deadline=None, derandomize=True)
