"""Sessions that belong together: ``parent`` and ``group``."""

from __future__ import annotations

import pytest

from sessiond.actors.errors import InvalidRequest


def ids(manager, **filters):
    return [session.id for session in manager.list_sessions(**filters).sessions]


def test_legs_are_found_by_their_parent_and_by_their_group(manager):
    a = manager.create(group="call 7")
    b = manager.create(parent=a, group="call 7")
    other = manager.create(parent="another", group="call 8")
    assert ids(manager, parent=a) == [b]
    assert ids(manager, group="call 7") == [a, b]
    assert ids(manager, parent=None) == [a]
    assert manager.count_sessions(by="group").groups == {"call 7": 2, "call 8": 1}
    assert other not in ids(manager, group="call 7")


def test_links_change_and_go(manager):
    """As in a transfer: the leg joins another call."""
    session_id = manager.create(parent="x", group="g")
    manager.update_session(session_id, parent="y", group=None)
    assert (manager.get(session_id).parent, manager.get(session_id).group) == ("y", None)
    assert ids(manager, parent="x") == ids(manager, group="g") == []
    assert ids(manager, parent="y") == [session_id]


def test_ended_legs_are_found_if_asked_for(manager):
    a, b = manager.create(group="g"), manager.create(group="g", parent="p")
    manager.end_session(b)
    assert ids(manager, group="g") == [a]
    assert ids(manager, group="g", ended="any") == [a, b]
    assert ids(manager, parent="p", ended=True) == [b]


def test_no_session_is_its_own_parent(manager):
    session_id = manager.create()
    with pytest.raises(InvalidRequest) as caught:
        manager.update_session(session_id, parent=session_id)
    assert caught.value.details["field"] == "parent"
    assert manager.get(session_id).version == 1
