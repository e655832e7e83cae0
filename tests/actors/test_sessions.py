"""The life of a session, one example for each rule; ``test_session_model`` tries what these did not think of."""

from __future__ import annotations

import itertools
import uuid

import pytest
from services import service

from sessiond.actors.errors import (
    InvalidRequest,
    InvalidTransition,
    LimitExceeded,
    NotFound,
    SessionEnded,
)
from sessiond.actors.params import SERVICE_REASONS
from sessiond.actors.registry import MAX_OVERRIDES
from sessiond.actors.states import LIVE_STATES, STATES

ANSWERED = ("active", "held")


# Creation


def test_a_new_session_has_the_fields_it_was_given(manager):
    """And the rest as the contract has it for a session about which nothing else is known."""
    fields = {
        "type": "webrtc",
        "gateway": "edge-1",
        "external_id": "call@edge-1",
        "caller": "+15550100",
        "callee": "+15550101",
        "direction": "inbound",
        "metadata": {"tenant": "acme", "legs": 2, "recorded": True, "gain": 0.5},
    }
    now = manager.clock.wall
    created = manager.create_session(**fields)
    session = manager.get(created.id)
    assert (created.version, created.state, created.created) == (1, "initializing", True)
    assert {name: getattr(session, name) for name in fields} == fields
    assert (session.id, session.state, session.version) == (created.id, "initializing", 1)
    assert session.created_at == session.updated_at == session.last_activity_at == now
    assert session.expires_at == now + 180
    never = ("ringing_at", "answered_at", "ended_at", "end_reason", "ended_by", "sip_code", "q850_cause")
    assert {getattr(session, name) for name in never} == {None}


def test_an_id_is_a_uuid_of_version_7_in_canonical_text(manager):
    """Its first 48 bits are the milliseconds of its creation."""
    ids = [manager.create() for _ in range(300)]
    assert len(set(ids)) == len(ids)
    for each in ids:
        parsed = uuid.UUID(each)
        assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, each)
        assert parsed.int >> 80 == int(manager.clock.wall * 1000)


@pytest.mark.parametrize("state", LIVE_STATES)
def test_a_session_may_begin_in_any_state_but_ended(manager, state):
    """A gateway may learn of a call late, or restart."""
    session = manager.get(manager.create(state=state))
    assert session.state == state
    assert session.ringing_at == (session.created_at if state == "ringing" else None)
    assert session.answered_at == (session.created_at if state in ANSWERED else None)


def test_a_session_does_not_begin_ended(manager):
    with pytest.raises(InvalidRequest) as caught:
        manager.create(state="ended")
    assert caught.value.details["field"] == "state"


def test_a_session_may_have_begun_earlier(manager):
    """Creates are queued on their way: ``at`` says when it was."""
    now = manager.clock.wall
    session = manager.get(manager.create(state="active", at=now - 30, answered_at=now - 10))
    assert (session.created_at, session.answered_at) == (now - 30, now - 10)
    assert (session.updated_at, session.last_activity_at) == (now, now)


def test_a_session_does_not_begin_later_than_now(manager):
    """No gateway's clock is quite right."""
    now = manager.clock.wall
    session = manager.get(manager.create(state="active", at=now + 30, answered_at=now + 10))
    assert (session.created_at, session.answered_at) == (now, now)


def test_an_answer_is_not_earlier_than_the_creation(manager):
    now = manager.clock.wall
    assert manager.get(manager.create(state="held", at=now - 5, answered_at=now - 9)).answered_at == now - 5


def test_an_answer_is_refused_for_a_session_that_is_not_answered(manager):
    """Which of the two the caller meant, nobody knows."""
    with pytest.raises(InvalidRequest) as caught:
        manager.create(state="ringing", answered_at=manager.clock.wall)
    assert caught.value.details["field"] == "answered_at"


def test_as_many_sessions_live_as_may():
    """The limit counts the living only."""
    with service(max_sessions=2) as manager:
        first = manager.create()
        manager.create()
        with pytest.raises(LimitExceeded) as caught:
            manager.create()
        assert caught.value.details == {"limit": "max_sessions", "maximum": 2}
        manager.end_session(first)
        manager.create()


def test_what_is_wrong_with_a_create_matters_more_than_a_limit():
    """Invalid requests are told first."""
    with service(max_sessions=0) as manager, pytest.raises(InvalidRequest):
        manager.create(state="ringing", answered_at=1.0)


# States

ALLOWED = {
    "initializing": {"ringing", "active", "ended"},
    "ringing": {"active", "ended"},
    "active": {"held", "ended"},
    "held": {"active", "ended"},
}
STALE = {("active", "ringing"), ("held", "ringing")}


@pytest.mark.parametrize(("state", "wanted"), list(itertools.product(LIVE_STATES, STATES)))
def test_every_pair_of_states_is_a_change_a_no_op_or_refused(manager, state, wanted):
    """As the contract lists them."""
    session_id = manager.create(state=state)
    if wanted == state or (state, wanted) in STALE:
        updated = manager.update_session_state(session_id, wanted)
        assert (updated.version, updated.stale) == (1, wanted != state)
        assert manager.get(session_id).state == state
    elif wanted in ALLOWED[state]:
        updated = manager.update_session_state(session_id, wanted)
        assert (updated.version, updated.stale) == (2, False)
        assert manager.get(session_id).state == wanted
    else:
        with pytest.raises(InvalidTransition):
            manager.update_session_state(session_id, wanted)
        assert manager.get(session_id).version == 1


def test_a_late_ringing_changes_nothing_but_is_activity(manager):
    """180 overtaken by 200: it succeeds, says so, and the session goes no step back."""
    session_id = manager.create(state="active")
    manager.clock.advance(8)
    updated = manager.update_session_state(session_id, "ringing", at=manager.clock.wall - 8)
    session = manager.get(session_id)
    assert updated.stale
    assert (session.state, session.version, session.ringing_at) == ("active", 1, None)
    assert session.last_activity_at == manager.clock.wall
    assert session.updated_at == session.created_at


def test_the_first_ringing_and_the_first_answer_are_recorded(manager):
    """Later ones are not."""
    session_id = manager.create()
    start = manager.clock.wall
    for state in ("ringing", "active", "held", "active"):
        manager.clock.advance(2)
        manager.update_session_state(session_id, state)
    session = manager.get(session_id)
    assert (session.ringing_at, session.answered_at, session.updated_at) == (start + 2, start + 4, start + 8)


def test_an_unknown_state_is_an_invalid_request(manager):
    session_id = manager.create()
    with pytest.raises(InvalidRequest) as caught:
        manager.update_session_state(session_id, "dialing")
    assert caught.value.details["field"] == "state"


# Times as they were


@pytest.mark.parametrize(
    ("offset", "expected"), [(-4, -4), (-40, -10), (40, 0)], ids=["as told", "not before the last", "not after now"]
)
def test_an_event_happened_when_the_gateway_says(manager, offset, expected):
    """Clamped between the last recorded time and now."""
    session_id = manager.create()
    manager.clock.advance(10)
    now = manager.clock.wall
    manager.update_session_state(session_id, "ringing", at=now + offset)
    assert manager.get(session_id).ringing_at == now + expected


def test_an_end_happened_when_the_gateway_says(manager):
    """Its answer too, if none had been recorded; durations are of those times."""
    start = manager.clock.wall
    session_id = manager.create()
    manager.clock.advance(100)
    ended = manager.end_session(session_id, at=start + 90, answered_at=start + 20)
    session = manager.get(session_id)
    assert (session.ended_at, session.answered_at, session.end_reason) == (start + 90, start + 20, "normal")
    assert (ended.ended_at, ended.duration, ended.talk_duration) == (start + 90, 90, 70)
    assert (session.duration, session.talk_duration) == (90, 70)


def test_a_recorded_answer_stands(manager):
    """An end that tells another one does not move it."""
    start = manager.clock.wall
    session_id = manager.create(state="active")
    manager.clock.advance(100)
    manager.end_session(session_id, answered_at=start + 50)
    assert manager.get(session_id).answered_at == start


@pytest.mark.parametrize("answered_at", [-1000, 1000])
def test_an_answer_told_at_the_end_lies_between_the_creation_and_the_end(manager, answered_at):
    start = manager.clock.wall
    session_id = manager.create()
    manager.clock.advance(100)
    manager.end_session(session_id, at=start + 60, answered_at=start + answered_at)
    assert manager.get(session_id).answered_at == start + min(max(answered_at, 0), 60)


def test_durations_are_never_negative(manager):
    """Not even when the wall's clock was set back during the call."""
    session_id = manager.create(state="active")
    manager.clock.step_wall(-3600)
    ended = manager.end_session(session_id)
    assert (ended.duration, ended.talk_duration) == (0, 0)


def test_an_unanswered_call_has_no_talk_duration(manager):
    session_id = manager.create()
    manager.clock.advance(30)
    ended = manager.end_session(session_id)
    assert (ended.duration, ended.talk_duration) == (30, 0)


# The end


@pytest.mark.parametrize(("state", "reason"), [("initializing", "failed"), ("ringing", "failed"), ("active", "normal")])
def test_the_default_reason_is_that_of_the_state(manager, state, reason):
    session_id = manager.create(state=state)
    manager.end_session(session_id)
    session = manager.get(session_id)
    assert (session.end_reason, session.ended_by) == (reason, "gateway")


def test_an_end_says_why_by_whom_and_with_which_codes(manager):
    session_id = manager.create()
    manager.end_session(session_id, "busy", ended_by="callee", sip_code=486, q850_cause=17)
    session = manager.get(session_id)
    assert (session.end_reason, session.ended_by, session.sip_code, session.q850_cause) == ("busy", "callee", 486, 17)


def test_a_gateway_may_have_reasons_of_its_own(manager):
    session_id = manager.create()
    manager.end_session(session_id, "media_timeout")
    assert manager.get(session_id).end_reason == "media_timeout"


@pytest.mark.parametrize("reason", sorted(SERVICE_REASONS))
def test_reasons_of_the_service_are_refused_from_callers(manager, reason):
    session_id = manager.create()
    with pytest.raises(InvalidRequest) as caught:
        manager.end_session(session_id, reason)
    assert caught.value.details["field"] == "reason"
    assert manager.get(session_id).state == "initializing"


def test_an_ended_session_stays_as_it_ended(manager):
    """It expires no more, and nothing that is done to it changes it."""
    session_id = manager.create()
    manager.clock.advance(5)
    first = manager.end_session(session_id, "busy")
    record = manager.get(session_id)
    assert (record.state, record.expires_at, record.last_activity_at) == ("ended", None, manager.clock.wall)
    manager.clock.advance(5)
    assert manager.end_session(session_id, "normal", sip_code=200) == first
    assert manager.update_session_state(session_id, "ended").version == record.version
    assert manager.get(session_id) == record


def test_to_set_the_state_ended_is_to_end(manager):
    session_id = manager.create(state="active")
    manager.clock.advance(7)
    updated = manager.update_session_state(session_id, "ended", at=manager.clock.wall - 2)
    session = manager.get(session_id)
    assert updated.version == session.version == 2
    assert (session.end_reason, session.ended_by, session.duration) == ("normal", "gateway", 5)


CHANGES = [
    lambda manager, session_id: manager.update_session(session_id, caller="x"),
    lambda manager, session_id: manager.update_session_state(session_id, "active"),
    lambda manager, session_id: manager.update_session_metadata(session_id, {"a": 1}),
    lambda manager, session_id: manager.touch_session(session_id),
    lambda manager, session_id: manager.session_ref(session_id),
]


@pytest.mark.parametrize("change", CHANGES, ids=["update", "state", "metadata", "touch", "ref"])
def test_what_has_ended_changes_no_more(manager, change):
    session_id = manager.create(state="active")
    manager.end_session(session_id)
    with pytest.raises(SessionEnded) as caught:
        change(manager, session_id)
    assert caught.value.details["end_reason"] == "normal"


@pytest.mark.parametrize("change", CHANGES, ids=["update", "state", "metadata", "touch", "ref"])
def test_nobody_is_found_who_never_was(manager, change):
    with pytest.raises(NotFound):
        change(manager, "01890000-0000-7000-8000-000000000000")


def test_sessions_share_what_is_the_same_in_many(manager):
    """The name of a codec is kept once, and so are timeouts."""
    metadata = {"codec": "opus", "note": "x" * 100, "tries": 7}
    ids = [manager.create(metadata=metadata | {"codec": b"opus".decode()}, idle_timeout=33.0) for _ in range(2)]
    one, other = (manager.context.directory.by_id[session_id] for session_id in ids)
    assert one.record.metadata == other.record.metadata == metadata
    assert one.record.metadata["codec"] is other.record.metadata["codec"]
    assert one.timeouts is other.timeouts


def test_timeouts_that_differ_in_every_session_are_not_all_remembered(manager):
    for number in range(MAX_OVERRIDES + 10):
        manager.create(idle_timeout=float(number + 1))
    assert len(manager.registry.local()._overrides) == 10
