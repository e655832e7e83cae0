"""The log of changes: numbered for ever, kept for a while."""

from __future__ import annotations

import msgspec
import pytest
from entries import add
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiond.actors import changelog
from sessiond.actors.changelog import ChangeLog, GatewayChange
from sessiond.actors.directory import Directory
from sessiond.actors.record import Session


def record(log, name):
    log.gateway_changed(name, None, "lost")


@settings(derandomize=True, deadline=None)
@given(capacity=st.integers(1, 8), doings=st.lists(st.sampled_from(["record", "reopen"]), max_size=60))
def test_a_log_has_the_newest_changes_since_it_was_opened(capacity, doings):
    log = ChangeLog(capacity)
    log.open()
    since, kept, given_before = log.last, {}, set(range(log.last))
    for step, doing in enumerate(doings):
        if doing == "record":
            record(log, str(step))
            assert log.last not in given_before | set(kept)
            kept[log.last] = str(step)
        else:
            log.close()
            log.open()
            given_before |= set(kept) | {since}
            since, kept = log.last, {}
        newest = sorted(kept)[-capacity:]
        assert len(log) == len(newest)
        assert [log[number].gateway for number in newest] == [kept[number] for number in newest]
        for number in range(log.last + 2):
            missed = set(range(number + 1, log.last + 1))
            assert log.has_all_since(number) == (missed <= set(newest) and since <= number <= log.last)


def test_whoever_left_before_a_pause_misses_something_even_if_nothing_was_recorded_since():
    log = ChangeLog(10)
    log.open()
    record(log, "gw")
    left_at = log.last
    assert log.has_all_since(left_at)
    log.close()
    log.open()
    assert not log.has_all_since(left_at)
    assert log.has_all_since(log.last)


def test_a_closed_log_keeps_nothing():
    log = ChangeLog(10)
    log.open()
    record(log, "gw")
    log.close()
    assert len(log) == 0


def test_whoever_awaits_a_change_is_called_once():
    log, calls = ChangeLog(10), []
    log.open()
    log.awaited = lambda: calls.append(log.last)
    record(log, "one")
    record(log, "two")
    assert calls == [log.last - 1]


def session_change(log):
    new = add(Directory(), metadata={"a": 1}).record
    log.session_changed(None, new, 5.0, 9.0, suspect=True)
    return log[log.last]


def test_a_change_shows_the_session_as_it_was_seen_just_after_it():
    log = ChangeLog(10)
    log.open()
    shown = session_change(log).session
    assert (shown.metadata, shown.last_activity_at, shown.expires_at, shown.suspect) == ({"a": 1}, 5.0, 9.0, True)


def test_a_change_is_packed_once_for_all():
    log = ChangeLog(10)
    log.open()
    change = session_change(log)
    assert log.packed(change) is log.packed(change)
    assert msgspec.msgpack.decode(log.packed(change)) == msgspec.to_builtins(change.session)


def test_only_the_newest_stay_packed(monkeypatch):
    monkeypatch.setattr(changelog, "MAX_PACKED", 2)
    log = ChangeLog(10)
    log.open()
    changes = [session_change(log) for _ in range(4)]
    for change in changes:
        log.packed(change)
    assert [change.packed is None for change in changes] == [True, True, False, False]


@pytest.mark.parametrize("kind", [changelog.SessionChange, GatewayChange, Session])
def test_the_garbage_collector_has_nothing_to_look_at(kind):
    """A hundred thousand changes would otherwise be looked at again and again."""
    assert not kind.__struct_config__.gc
