"""The timeline of a session: packed small, read back whole, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.actors import history
from sessiond.actors.errors import NotFound
from sessiond.actors.results import Author, HistoryEntry
from sessiond.actors.states import LIVE_STATES

AUTHORS = [Author("client"), Author("service"), Author("gateway", "gw", "e1")]
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from([*history.STATE.values(), history.FIELDS, history.METADATA, history.CLAIMED]),
        st.integers(0, len(AUTHORS) - 1),
        st.floats(0, 2e9),
    ),
    max_size=300,
)


def readable(code, author, at):
    if code in history.STATE.values():
        state = next(name for name, number in history.STATE.items() if number == code)
        return HistoryEntry(at, AUTHORS[author], "state", state=state)
    change = {history.FIELDS: "fields", history.METADATA: "metadata", history.CLAIMED: "claimed"}[code]
    return HistoryEntry(at, AUTHORS[author], change)


@given(st.sampled_from(LIVE_STATES), ENTRIES)
def test_a_history_keeps_how_it_began_and_what_came_last(state, entries):
    packed = history.begun(state, 0, 5.0)
    for code, author, at in entries:
        packed = history.noted(packed, code, author, at)
        assert len(packed) <= history.MAX_BYTES
    noted = [HistoryEntry(5.0, AUTHORS[0], "created", state=state), *(readable(*entry) for entry in entries)]
    kept, dropped = history.read(packed, AUTHORS.__getitem__)
    assert len(kept) + dropped == len(noted)
    assert kept[:8] == noted[:8]
    assert kept[8:] == noted[8 + dropped :]


@given(st.lists(st.text(), max_size=20))
def test_details_are_cut_off_and_stay_text(names):
    packed = history.noted(b"", history.METADATA, 0, 1.0, history.named(names))
    ((entry,), _) = history.read(packed, AUTHORS.__getitem__)
    assert len("".join(entry.names or ()).encode()) <= 96


def told(manager, session_id):
    entries = manager.get_session_history(session_id).entries
    return [(entry.change, entry.state or entry.reason or entry.names) for entry in entries]


def test_every_change_of_a_call_is_told(manager):
    """What changed nothing is not: no change, no entry."""
    session_id = manager.create(parent="a leg")
    manager.update_session_state(session_id, "ringing")
    manager.update_session_state(session_id, "ringing")
    manager.update_session(session_id, callee="x", group="g", idle_timeout=9)
    manager.touch_session(session_id)
    manager.update_session_state(session_id, "active")
    manager.update_session_metadata(session_id, {"codec": "opus", "mos": 4.1})
    manager.update_session_state(session_id, "ringing")
    manager.end_session(session_id, "busy")
    assert told(manager, session_id) == [
        ("created", "initializing"),
        ("state", "ringing"),
        ("fields", ["callee", "group", "idle_timeout"]),
        ("state", "active"),
        ("metadata", ["codec", "mos"]),
        ("ended", "busy"),
    ]


def test_a_change_has_the_time_that_the_gateway_tells(manager):
    now = manager.clock.read().wall
    session_id = manager.create(at=now - 9)
    manager.update_session_state(session_id, "ringing", at=now - 7)
    manager.update_session_metadata(session_id, {"a": 1})
    manager.end_session(session_id, at=now - 2)
    assert [entry.at for entry in manager.get_session_history(session_id).entries] == [now - 9, now - 7, now, now - 2]


def test_the_service_is_the_author_of_its_own_ends(manager):
    session_id = manager.create(setup_timeout=5)
    manager.pass_time(6)
    entry = manager.get_session_history(session_id).entries[-1]
    assert (entry.author, entry.reason) == (Author("service"), "setup_timeout")


def test_an_administrator_is_the_author_of_a_stop(manager):
    session_id = manager.create()
    manager.ref(session_id).stop()
    entry = manager.get_session_history(session_id).entries[-1]
    assert (entry.author, entry.reason) == (Author("admin"), "admin")


def test_a_history_is_kept_as_long_as_its_session(manager):
    session_id = manager.create()
    manager.end_session(session_id)
    manager.pass_time(3600)
    with pytest.raises(NotFound):
        manager.get_session_history(session_id)


def test_the_actor_tells_its_own_history(manager):
    session_id = manager.create()
    assert manager.ref(session_id).proxy().history().get() == manager.get_session_history(session_id)
