"""What is counted for the metrics, as sessions come and go."""

from __future__ import annotations

import pytest
from services import service

from sessiond.actors.tally import Histogram


@pytest.fixture
def manager():
    with service(types=("fax",), reasons=("moved",)) as running:
        yield running


def test_a_histogram_counts_by_upper_bound():
    """A value on a bound belongs below it; what is above them all has a place as well."""
    histogram = Histogram((1.0, 2.0, 5.0))
    for value in (0, 1, 1.5, 2, 5, 5.5, 100):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1, 2]
    assert histogram.sum == 115


def test_creates_are_counted_by_type(manager):
    """Types that nobody configured are ``other``."""
    for kind in ("sip", "sip", "webrtc", "fax", "telex", "carrier pigeon"):
        manager.create(type=kind)
    assert manager.context.tally.created == {"sip": 2, "webrtc": 1, "fax": 1, "other": 2}


def test_a_create_that_was_repeated_is_counted_once(manager):
    for _ in range(3):
        manager.create(request_id="r")
    assert manager.context.tally.created == {"sip": 1}


def test_each_call_is_answered_once(manager):
    """At its creation, on its way, or told at its end."""
    manager.create(state="active")
    on_its_way, at_its_end, never = (manager.create() for _ in range(3))
    for state in ("active", "held", "active"):
        manager.update_session_state(on_its_way, state)
    manager.end_session(at_its_end, answered_at=manager.clock.wall)
    manager.end_session(on_its_way, answered_at=manager.clock.wall)
    manager.end_session(never)
    assert manager.context.tally.answered == {"sip": 3}
    assert sum(manager.context.tally.ring["sip"].counts) == 3


def test_ends_are_counted_by_type_and_reason(manager):
    """Reasons that nobody configured are ``other``; to end what has ended is no end."""
    for reason in ("busy", "moved", "whatever", None):
        session_id = manager.create(type="fax")
        manager.end_session(session_id, reason)
        manager.end_session(session_id, "normal")
    manager.ref(manager.create()).stop()
    manager.create(setup_timeout=5)
    manager.pass_time(6)
    assert manager.context.tally.ended == {
        ("fax", "busy"): 1,
        ("fax", "moved"): 1,
        ("fax", "other"): 1,
        ("fax", "failed"): 1,
        ("sip", "admin"): 1,
        ("sip", "setup_timeout"): 1,
    }


def test_a_call_rings_from_its_first_ringing_to_its_answer(manager):
    """Or from its creation if it never said that it rang."""
    rang, straight = manager.create(), manager.create()
    manager.clock.advance(4)
    manager.update_session_state(rang, "ringing")
    manager.clock.advance(6)
    for session_id in (rang, straight):
        manager.update_session_state(session_id, "active")
    assert manager.context.tally.ring["sip"].sum == 6 + 10


def test_a_call_lasts_from_its_creation_to_its_end(manager):
    session_id = manager.create(at=manager.clock.wall - 100)
    manager.clock.advance(20)
    manager.end_session(session_id, at=manager.clock.wall - 5)
    assert manager.context.tally.duration["sip"].sum == 115
