"""Versions, changes, activity and deadlines of a session, one example for each rule."""

from __future__ import annotations

import itertools

import pytest
from services import service

from sessiond.actors.errors import (
    InvalidRequest,
    InvalidTransition,
    SessionEnded,
    VersionConflict,
)

ANSWERED = ("active", "held")


# Versions

VERSIONED = {
    "update": lambda manager, session_id, version: manager.update_session(session_id, caller="x", if_version=version),
    "state": lambda manager, session_id, version: manager.update_session_state(session_id, "held", if_version=version),
    "metadata": lambda manager, session_id, version: manager.update_session_metadata(
        session_id, {"a": 1}, if_version=version
    ),
    "end": lambda manager, session_id, version: manager.end_session(session_id, if_version=version),
}


@pytest.mark.parametrize("change", VERSIONED.values(), ids=VERSIONED)
def test_a_change_of_another_version_is_refused(manager, change):
    """With the version and state that the session has, so that the caller can decide anew."""
    session_id = manager.create(state="active")
    with pytest.raises(VersionConflict) as caught:
        change(manager, session_id, 2)
    assert caught.value.details == {"version": 1, "state": "active"}
    assert change(manager, session_id, 1).version == 2


@pytest.mark.parametrize("if_version", [0, -1, 1.0, True, "1", 2**63])
@pytest.mark.parametrize("change", VERSIONED.values(), ids=VERSIONED)
def test_a_version_is_a_positive_integer(manager, change, if_version):
    session_id = manager.create(state="active")
    with pytest.raises(InvalidRequest) as caught:
        change(manager, session_id, if_version)
    assert caught.value.details["field"] == "if_version"


def test_to_end_what_has_ended_ignores_the_version(manager):
    """As does setting the state ended on it; any other change of it is of an ended session, whatever the version."""
    session_id = manager.create(state="active")
    manager.end_session(session_id)
    assert manager.end_session(session_id, if_version=99).version == 2
    assert manager.update_session_state(session_id, "ended", if_version=99).version == 2
    with pytest.raises(SessionEnded):
        manager.update_session(session_id, caller="x", if_version=99)


def test_of_several_faults_the_first_of_the_order_is_told(manager):
    """Invalid request, not found, session ended, version conflict, invalid transition."""
    live, ended = manager.create(state="active"), manager.create()
    manager.end_session(ended)
    with pytest.raises(InvalidRequest):
        manager.update_session_state("nobody", "dialing")
    with pytest.raises(InvalidRequest):
        manager.update_session_state(ended, "active", at=-1)
    with pytest.raises(SessionEnded):
        manager.update_session_state(ended, "initializing", if_version=9)
    with pytest.raises(VersionConflict):
        manager.update_session_state(live, "initializing", if_version=9)
    with pytest.raises(VersionConflict):
        manager.update_session_state(live, "active", if_version=9)
    with pytest.raises(InvalidTransition):
        manager.update_session_state(live, "initializing", if_version=1)


def test_every_change_counts_and_nothing_else_does(manager):
    """A touch, a no-op and a read keep the version."""
    session_id = manager.create()
    assert manager.touch_session(session_id).version == 1
    assert manager.update_session_state(session_id, "initializing").version == 1
    assert manager.update_session(session_id).version == 1
    assert manager.update_session(session_id, caller=None).version == 1
    assert manager.update_session_metadata(session_id, {}).version == 1
    assert manager.update_session_metadata(session_id, {"a": None}).version == 1
    assert manager.update_session(session_id, caller="x", callee="y").version == 2
    assert manager.update_session_metadata(session_id, {"a": 1}).version == 3
    assert manager.update_session(session_id, idle_timeout=5).version == 4
    assert manager.get(session_id).version == 4


# Changes


def test_only_what_is_given_changes(manager):
    """And nil clears."""
    session_id = manager.create(caller="a", callee="b", external_id="c")
    manager.update_session(session_id, caller="z", external_id=None)
    session = manager.get(session_id)
    assert (session.caller, session.callee, session.external_id) == ("z", "b", None)


@pytest.mark.parametrize("key", ["type", "state", "gateway", "direction", "metadata", "id", "version", "colour"])
def test_other_fields_cannot_be_changed(manager, key):
    session_id = manager.create()
    with pytest.raises(InvalidRequest) as caught:
        manager.update_session(session_id, **{key: "x"})
    assert caught.value.details["field"] == key


def test_metadata_is_merged_by_key(manager):
    """Nil removes a key."""
    session_id = manager.create(metadata={"a": 1, "b": "two"})
    manager.update_session_metadata(session_id, {"b": None, "c": True})
    assert manager.get(session_id).metadata == {"a": 1, "c": True}


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations([1, 1.0, True], 2)))
def test_metadata_of_another_type_is_a_change(manager, old, new):
    """1, 1.0 and true are three values to a client, if one to Python."""
    session_id = manager.create(metadata={"a": old})
    assert manager.update_session_metadata(session_id, {"a": new}).version == 2
    assert manager.get(session_id).metadata["a"].__class__ is new.__class__


def test_metadata_stays_bounded_however_often_it_is_merged(manager):
    """What is too much in one request is too much in ten; what was there stays."""
    session_id = manager.create()
    text = "x" * 4000
    for number in range(4):
        manager.update_session_metadata(session_id, {f"key-{number}": text})
    with pytest.raises(InvalidRequest) as caught:
        manager.update_session_metadata(session_id, {"key-4": text})
    assert caught.value.details["field"] == "metadata"
    assert sorted(manager.get(session_id).metadata) == ["key-0", "key-1", "key-2", "key-3"]


def test_records_that_were_read_do_not_change(manager):
    """A record changes by replacement, so what one reader holds stays what it was."""
    session_id = manager.create(metadata={"a": 1})
    before = manager.get(session_id)
    manager.update_session_metadata(session_id, {"a": 2})
    manager.update_session_state(session_id, "ringing")
    assert (before.metadata, before.state, before.version) == ({"a": 1}, "initializing", 1)


# Activity and deadlines

ACTIVITIES = {
    "touch": lambda manager, session_id: manager.touch_session(session_id),
    "state": lambda manager, session_id: manager.update_session_state(session_id, "held"),
    "no-op": lambda manager, session_id: manager.update_session_state(session_id, "active"),
    "stale": lambda manager, session_id: manager.update_session_state(session_id, "ringing"),
    "update": lambda manager, session_id: manager.update_session(session_id, caller="x"),
    "update no-op": lambda manager, session_id: manager.update_session(session_id),
    "metadata": lambda manager, session_id: manager.update_session_metadata(session_id, {"a": 1}),
    "metadata no-op": lambda manager, session_id: manager.update_session_metadata(session_id, {}),
}


@pytest.mark.parametrize("act", ACTIVITIES.values(), ids=ACTIVITIES)
def test_every_accepted_update_is_activity(manager, act):
    session_id = manager.create(state="active", idle_timeout=60)
    manager.clock.advance(30)
    act(manager, session_id)
    session = manager.get(session_id)
    assert session.last_activity_at == manager.clock.wall
    assert session.expires_at == manager.clock.wall + 60


REFUSED = {
    "transition": lambda manager, session_id: manager.update_session_state(session_id, "initializing"),
    "version": lambda manager, session_id: manager.update_session(session_id, caller="x", if_version=9),
    "metadata version": lambda manager, session_id: manager.update_session_metadata(session_id, {}, if_version=9),
    "state version": lambda manager, session_id: manager.update_session_state(session_id, "held", if_version=9),
    "end version": lambda manager, session_id: manager.end_session(session_id, if_version=9),
    "value": lambda manager, session_id: manager.update_session(session_id, caller=5),
}


@pytest.mark.parametrize("act", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_no_activity(manager, act):
    session_id = manager.create(state="active")
    manager.clock.advance(30)
    with pytest.raises((InvalidRequest, InvalidTransition, VersionConflict)):
        act(manager, session_id)
    assert manager.get(session_id).last_activity_at == manager.clock.wall - 30


def test_reading_is_no_activity(manager):
    session_id = manager.create(gateway="g", external_id="x")
    manager.clock.advance(30)
    manager.get(session_id)
    manager.get({"gateway": "g", "external_id": "x"})
    manager.list_sessions()
    manager.ref(session_id).proxy().get().get()
    assert manager.get(session_id).last_activity_at == manager.clock.wall - 30


def test_the_earliest_deadline_is_shown(manager):
    """Before the answer the setup timeout's, afterwards the idle timeout's or the maximum duration's."""
    start = manager.clock.wall
    session_id = manager.create(at=start - 10, setup_timeout=100, idle_timeout=50, max_duration=80)
    assert manager.get(session_id).expires_at == start + 90
    manager.update_session_state(session_id, "ringing")
    manager.clock.advance(10)
    manager.touch_session(session_id)
    assert manager.get(session_id).expires_at == start + 90
    manager.update_session_state(session_id, "active", at=start)
    assert manager.get(session_id).expires_at == start + 60
    manager.clock.advance(25)
    manager.touch_session(session_id)
    assert manager.get(session_id).expires_at == start + 80


def test_timeouts_of_zero_are_never(manager):
    session_id = manager.create(setup_timeout=0, idle_timeout=0, max_duration=0)
    assert manager.get(session_id).expires_at is None
    manager.update_session_state(session_id, "active")
    assert manager.get(session_id).expires_at is None


def test_nil_gives_a_timeout_back_to_the_configuration():
    """The default of create, and a value of update."""
    with service(idle_timeout=33) as manager:
        session_id = manager.create(state="active", idle_timeout=5)
        assert manager.get(session_id).expires_at == manager.clock.wall + 5
        manager.update_session(session_id, idle_timeout=None)
        assert manager.get(session_id).expires_at == manager.clock.wall + 33
        assert manager.get(manager.create(state="active")).expires_at == manager.clock.wall + 33


def test_deadlines_run_on_the_monotonic_clock(manager):
    """A step of the wall's clock ends no call, and keeps none alive."""
    session_id = manager.create(state="active", idle_timeout=60)
    for step in (-100_000, 200_000):
        manager.clock.step_wall(step)
        manager.pass_time(20)
        assert manager.get(session_id).state == "active"
    manager.pass_time(21)
    assert manager.get(session_id).end_reason == "idle_timeout"
