"""Sessions that crash while changes of theirs are on their way to the store."""

from __future__ import annotations

import pytest
from crashing import RESTARTS, Touchy
from gated import gated
from runtimes import PATIENCE

from sessiond.actors.errors import Internal, Unavailable
from sessiond.actors.session import SessionActor


@pytest.fixture
def touchy(tmp_path):
    with gated(tmp_path / "store.db", Touchy) as manager:
        yield manager


def crashed(*futures):
    for future in futures:
        with pytest.raises(Internal):
            future.get(timeout=PATIENCE)


def test_a_crash_takes_back_nothing_that_is_on_its_way(touchy):
    session_id = touchy.create(state="active")
    touchy.shut()
    change = touchy.soon("update_session_state", session_id, "held")
    crash = touchy.soon("touch_session", session_id)
    after = touchy.soon("update_session_state", session_id, "active")
    assert not crash.done()
    touchy.acknowledge(2)
    crashed(crash)
    assert [change.get(timeout=PATIENCE).version, after.get(timeout=PATIENCE).version] == [2, 3]
    assert touchy.get(session_id).version == 3


def test_a_crash_after_a_change_is_told_when_that_is_settled(touchy):
    session_id = touchy.create(state="active")
    touchy.shut()
    crash = touchy.soon("update_session_metadata", session_id, {"a": 1})
    look = touchy.soon("get_session", session_id)
    assert not crash.done()
    touchy.acknowledge()
    crashed(crash)
    assert look.get(timeout=PATIENCE).metadata == {"a": 1}


def test_a_session_that_crashes_too_often_ends_as_crashed_once_that_is_settled(touchy):
    session_id = touchy.create(state="active")
    touchy.shut()
    touchy.soon("update_session_state", session_id, "held")
    crashes = [touchy.soon("touch_session", session_id) for _ in range(RESTARTS + 1)]
    look = touchy.soon("get_session", session_id)
    assert [each.state for each in touchy.list_sessions().sessions] == ["active"]
    touchy.acknowledge()
    crashed(*crashes[:RESTARTS])
    assert not look.done()
    touchy.acknowledge()
    crashed(crashes[-1])
    assert (look.get(timeout=PATIENCE).end_reason, look.get(timeout=PATIENCE).version) == ("crashed", 3)


def test_a_session_that_crashed_meanwhile_is_as_it_was(touchy):
    session_id = touchy.create(state="active")
    touchy.settle()
    before = touchy.get(session_id), touchy.get_session_history(session_id)
    touchy.breaks()
    touchy.soon("update_session_state", session_id, "held")
    crashes = [touchy.soon("touch_session", session_id) for _ in range(RESTARTS + 1)]
    touchy.fails()
    for crash in crashes:
        with pytest.raises(Unavailable):
            crash.get(timeout=PATIENCE)
    assert (touchy.get(session_id), touchy.get_session_history(session_id)) == before
    touchy.recovers()
    assert touchy.update_session_state(session_id, "held").version == 2


def test_a_crash_ends_nobody_while_the_store_fails(touchy):
    session_id = touchy.create(state="active")
    touchy.settle()
    touchy.fails()
    for _ in range(2 * RESTARTS):
        with pytest.raises(Internal):
            touchy.touch_session(session_id)
    assert touchy.get(session_id).state == "active"
    touchy.recovers()
    for _ in range(2 * RESTARTS):
        touchy.clock.advance(1)
        if touchy.get(session_id).state == "active":
            with pytest.raises(Internal):
                touchy.touch_session(session_id)
    assert touchy.get(session_id).end_reason == "crashed"


class EndsAndCrashes(SessionActor):
    """Crashes after it has ended, in the same turn."""

    def finish(self, *args):
        super().finish(*args)
        raise RuntimeError


@pytest.mark.parametrize("durability", ["commit", "relaxed"])
def test_a_crash_after_the_end_leaves_the_session_ended(tmp_path, durability):
    with gated(tmp_path / "store.db", EndsAndCrashes, durability=durability) as manager:
        session_id = manager.create()
        with pytest.raises(Internal):
            manager.end_session(session_id, "busy")
        assert manager.get(session_id).end_reason == "busy"
        assert manager.count_sessions().count == 0
        assert manager.given_up == []


class Stubborn(Touchy):
    """Cannot be made anew."""

    made = 0

    def __init__(self, *args):
        if type(self).made:
            raise RuntimeError
        super().__init__(*args)


def test_a_session_that_cannot_be_taken_back_holds_up_no_other(tmp_path, monkeypatch):
    with gated(tmp_path / "store.db", Stubborn) as manager:
        ids = [manager.create(state="active") for _ in range(3)]
        monkeypatch.setattr(Stubborn, "made", 1)
        manager.breaks()
        lost = [manager.soon("end_session", ids[0])]
        lost += [manager.soon("update_session_state", each, "held") for each in ids[1:]]
        manager.fails()
        for each in lost:
            with pytest.raises(Unavailable):
                each.get(timeout=PATIENCE)
        assert [manager.get(each).state for each in ids] == ["active"] * 3
        manager.recovers()
        assert manager.update_session_state(ids[0], "held").version == 2
