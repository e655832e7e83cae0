"""While a change is on its way to the store, nobody is told of it, nor of anything that is based on it."""

from __future__ import annotations

import pytest
from gated import gated
from runtimes import PATIENCE
from services import send

from sessiond.actors.errors import Conflict, InvalidTransition, LimitExceeded, NotFound, SessionEnded, VersionConflict
from sessiond.actors.events import SessionChanged
from sessiond.actors.limits import Limit
from sessiond.metrics.collecting import Collecting

ADDRESS = {"gateway": "g", "external_id": "x"}
ELSEWHERE = {"gateway": "g", "external_id": "y"}


@pytest.fixture
def manager(tmp_path):
    with gated(tmp_path / "store.db", retention=60, max_duration=0) as running:
        yield running


@pytest.fixture
def session_id(manager):
    """An active session, as the store has acknowledged it; what comes next is on its way."""
    created = manager.create(state="active", type="sip", caller="anna", **ADDRESS)
    manager.shut()
    return created


def answer(future):
    return future.get(timeout=PATIENCE)


def waits(*futures):
    """Whether none of them has been answered yet."""
    return not any(future.done() for future in futures)


def sample(manager, name, **labels):
    families = manager.turn(lambda registry: registry.work(Collecting))
    samples = [each for family in families for each in family.samples]
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


def listed(manager, **query):
    return [session.id for session in manager.list_sessions(**query).sessions]


# Answers


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("update_session_state", ["held"]),
        ("update_session_metadata", [{"a": 1}]),
        ("end_session", []),
    ],
)
def test_a_change_is_answered_when_it_is_settled(manager, session_id, method, arguments):
    change = manager.soon(method, session_id, *arguments)
    assert waits(change)
    manager.acknowledge()
    assert answer(change).version == 2


def test_a_create_is_answered_when_it_is_settled(manager):
    manager.shut()
    create = manager.soon("create_session", type="sip")
    assert waits(create)
    manager.acknowledge()
    assert manager.get(answer(create).id).version == 1


@pytest.mark.parametrize("method", ["get_session", "get_session_history", "touch_session"])
def test_what_is_read_meanwhile_is_told_when_the_change_is_settled(manager, session_id, method):
    change = manager.soon("update_session", session_id, caller="bert")
    read = manager.soon(method, session_id)
    assert waits(change, read)
    manager.acknowledge()
    assert answer(change).version == 2
    assert getattr(answer(read), "version", 2) == 2


def test_a_look_tells_what_the_session_was_when_it_was_asked(manager, session_id):
    looks = []
    for state in ("held", "active", "held"):
        manager.soon("update_session_state", session_id, state)
        looks.append(manager.soon("get_session", session_id))
    assert waits(*looks)
    manager.acknowledge(3)
    assert [answer(look).state for look in looks] == ["held", "active", "held"]


@pytest.mark.parametrize(
    ("method", "arguments", "options", "error"),
    [
        ("update_session", [], {"caller": "carl", "if_version": 1}, VersionConflict),
        ("update_session_state", ["ringing"], {"if_version": 1}, VersionConflict),
        ("update_session_state", ["initializing"], {}, InvalidTransition),
    ],
)
def test_an_error_is_told_when_what_it_is_based_on_is_settled(manager, session_id, method, arguments, options, error):
    manager.soon("update_session_state", session_id, "held")
    refused = manager.soon(method, session_id, *arguments, **options)
    assert waits(refused)
    manager.acknowledge()
    with pytest.raises(error):
        answer(refused)


def test_a_repeated_create_is_answered_with_the_first(manager):
    manager.shut()
    creates = [manager.soon("create_session", type="sip", request_id="r") for _ in range(2)]
    assert waits(*creates)
    manager.acknowledge()
    first, again = map(answer, creates)
    assert (first.created, again.created) == (True, False)
    assert first.id == again.id


def test_a_create_that_contradicts_another_one_is_refused_once_that_is_settled(manager):
    manager.shut()
    create = manager.soon("create_session", type="sip", request_id="r")
    other = manager.soon("create_session", type="webrtc", request_id="r")
    assert waits(create, other)
    manager.acknowledge()
    with pytest.raises(Conflict) as refused:
        answer(other)
    assert refused.value.details["id"] == answer(create).id


def test_other_sessions_are_answered_at_once(manager, session_id):
    manager.open()
    other = manager.create(external_id="other")
    manager.shut()
    change = manager.soon("update_session", session_id, caller="bert")
    assert manager.get(other).version == 1
    assert manager.touch_session(other).version == 1
    assert manager.get_session_history(other).entries
    with pytest.raises(VersionConflict):
        manager.update_session(other, caller="anna", if_version=7)
    assert waits(change)


def test_changes_of_one_session_are_settled_in_their_order(manager, session_id):
    changes = [manager.soon("update_session_state", session_id, state) for state in ("held", "active", "held")]
    changes.append(manager.soon("end_session", session_id))
    for number in range(4):
        assert waits(*changes[number:])
        manager.acknowledge()
        assert answer(changes[number]).version == number + 2
    assert manager.get(session_id).state == "ended"


def test_each_answer_waits_for_its_own_session_only(manager, session_id):
    """A later change of it does not hold up the answer to an earlier one."""
    first = manager.soon("update_session", session_id, caller="bert")
    other = manager.soon("create_session", type="sip")
    second = manager.soon("update_session", session_id, caller="carl")
    manager.acknowledge()
    assert first.done()
    assert waits(other, second)
    manager.acknowledge()
    assert other.done()
    assert waits(second)
    manager.acknowledge()
    assert second.done()


# What everybody sees


def test_lists_show_what_is_settled(manager, session_id):
    manager.soon("create_session", type="sip", caller="bert")
    manager.soon("update_session", session_id, caller="bert")
    assert listed(manager, caller="anna") == [session_id]
    assert listed(manager, caller="bert") == []
    assert manager.list_sessions().sessions[0].caller == "anna"
    manager.acknowledge(2)
    assert listed(manager, caller="anna") == []
    assert len(listed(manager, caller="bert")) == 2


def test_counts_show_what_is_settled(manager, session_id):
    manager.soon("create_session", type="sip")
    manager.soon("update_session_state", session_id, "held")
    assert manager.count_sessions(by="state").groups == {"active": 1}
    manager.acknowledge(2)
    manager.soon("end_session", session_id)
    assert manager.count_sessions().count == 2
    manager.acknowledge()
    assert manager.count_sessions().count == 1


def test_metrics_show_what_is_settled(manager, session_id):
    names = ("sessiond_sessions", "sessiond_sessions_created_total", "sessiond_sessions_ended_total")
    manager.soon("create_session", type="sip")
    manager.soon("end_session", session_id)
    assert [sample(manager, name) for name in names] == [1, 1, 0]
    manager.acknowledge(2)
    assert [sample(manager, name) for name in names] == [1, 2, 1]


def test_watchers_are_told_when_it_is_settled(manager, session_id):
    told = []
    manager.watch(told.append, snapshot=False)
    manager.settle()
    told.clear()
    manager.soon("update_session_state", session_id, "held")
    manager.soon("create_session", type="sip")
    manager.soon("end_session", session_id)
    assert told == []
    manager.acknowledge(3)
    changes = [event for event in told if isinstance(event, SessionChanged)]
    assert [event.session.state for event in changes] == ["held", "initializing", "ended"]
    assert changes[-1].number - changes[0].number == 2


def test_a_snapshot_shows_what_is_settled(manager, session_id):
    manager.soon("update_session_state", session_id, "held")
    told = []
    manager.watch(told.append)
    manager.settle()
    assert told[0].session.state == "active"
    manager.acknowledge()
    assert told[-1].session.state == "held"


# Names


def test_a_create_that_is_not_settled_is_found_by_its_address(manager):
    manager.shut()
    create = manager.soon("create_session", type="sip", **ADDRESS)
    by_address = manager.soon("update_session", ADDRESS, caller="bert")
    assert waits(create, by_address)
    manager.acknowledge(2)
    assert manager.get(answer(create).id).caller == "bert"


def test_a_change_of_the_address_that_is_not_settled_counts(manager, session_id):
    move = manager.soon("update_session", session_id, external_id="y")
    looks = [manager.soon("get_session", target) for target in (session_id, ELSEWHERE)]
    with pytest.raises(NotFound):
        manager.get_session(ADDRESS)
    assert waits(move, *looks)
    manager.acknowledge()
    assert [answer(look).external_id for look in looks] == ["y", "y"]


def test_a_session_that_comes_back_to_its_address_is_found_there(manager):
    """Whatever of its way there and back is settled."""
    manager.shut()
    create = manager.soon("create_session", type="sip", **ADDRESS)
    for place in ("y", "x"):
        manager.soon("update_session", ADDRESS if place == "y" else ELSEWHERE, external_id=place)
    for settled in range(3):
        look = manager.soon("get_session", ADDRESS)
        with pytest.raises(NotFound):
            manager.get_session(ELSEWHERE)
        assert waits(look), settled
        manager.acknowledge()
    assert manager.get_session(ADDRESS).id == answer(create).id


def test_several_sessions_of_an_address_are_a_conflict_before_they_are_settled(manager, session_id):
    manager.soon("create_session", type="sip", **ADDRESS)
    with pytest.raises(Conflict):
        manager.get_session(ADDRESS)


def test_an_end_that_is_not_settled_leaves_the_address_to_who_lives(manager, session_id):
    manager.soon("end_session", session_id)
    create = manager.soon("create_session", type="sip", **ADDRESS)
    look = manager.soon("get_session", ADDRESS)
    manager.acknowledge(2)
    assert answer(look).id == answer(create).id


def test_of_several_that_have_ended_the_newest_is_found(manager, session_id):
    create = manager.soon("create_session", type="sip", **ADDRESS)
    manager.acknowledge()
    newer = answer(create).id
    for each in (newer, session_id):
        manager.soon("end_session", each)
    look = manager.soon("get_session", ADDRESS)
    manager.acknowledge(2)
    assert answer(look).id == newer == manager.get_session(ADDRESS).id


def test_who_has_left_an_address_and_ended_is_not_found_there(manager, session_id):
    manager.soon("update_session", session_id, external_id="y")
    manager.soon("end_session", session_id)
    with pytest.raises(NotFound):
        manager.get_session(ADDRESS)
    look = manager.soon("get_session", ELSEWHERE)
    manager.acknowledge(2)
    assert answer(look).end_reason == "normal"


# Limits


def test_creates_that_are_not_settled_count_for_max_sessions(tmp_path):
    with gated(tmp_path / "store.db", max_sessions=2) as manager:
        manager.shut()
        creates = [manager.soon("create_session", type="sip") for _ in range(2)]
        refused = manager.soon("create_session", type="sip")
        with pytest.raises(LimitExceeded):
            answer(refused)
        manager.acknowledge(2)
        assert all(answer(create).created for create in creates)


def test_an_end_that_is_not_settled_makes_no_room(tmp_path):
    with gated(tmp_path / "store.db", max_sessions=1) as manager:
        session_id = manager.create()
        manager.shut()
        manager.soon("end_session", session_id)
        with pytest.raises(LimitExceeded):
            manager.create_session(type="sip")
        manager.acknowledge()
        assert manager.soon("create_session", type="sip")


def test_creates_that_are_not_settled_count_for_limits(tmp_path):
    with gated(tmp_path / "store.db", limits=[Limit(name="trunk", by="caller", concurrent=2)]) as manager:
        manager.shut()
        for _ in range(2):
            manager.soon("create_session", type="sip", caller="a")
        with pytest.raises(LimitExceeded):
            manager.create_session(type="sip", caller="a")
        other = manager.soon("create_session", type="sip", caller="b")
        manager.acknowledge(3)
        with pytest.raises(LimitExceeded):
            manager.create_session(type="sip", caller="a")
        assert answer(other).created


# Ends


def test_after_an_end_that_is_not_settled_requests_meet_an_ended_session(manager, session_id):
    end = manager.soon("end_session", session_id, "busy")
    again = manager.soon("end_session", session_id, "other")
    look = manager.soon("get_session", session_id)
    refused = [
        manager.soon("update_session", session_id, caller="b"),
        manager.soon("touch_session", session_id),
        manager.soon("session_ref", session_id),
        manager.soon("warn_session", session_id, "text"),
    ]
    over = manager.soon("terminate_session", session_id)
    assert waits(end, again, look, over, *refused)
    manager.acknowledge()
    assert answer(end) == answer(again)
    assert answer(look).end_reason == "busy"
    assert answer(over).version == 2
    for each in refused:
        with pytest.raises(SessionEnded):
            answer(each)


def test_a_session_that_begins_and_ends_before_it_is_settled_is_retained(manager):
    manager.shut()
    create = manager.soon("create_session", type="sip", request_id="r", **ADDRESS)
    end = manager.soon("end_session", ADDRESS)
    manager.acknowledge(2)
    assert manager.get(answer(create).id).version == answer(end).version == 2
    assert manager.count_sessions(ended=True).count == 1
    manager.pass_time(61)
    assert listed(manager, ended="any") == []
    assert len(manager.context.requests) == 0


def test_an_end_by_the_reaper_is_seen_when_it_is_settled(manager):
    session_id = manager.create(setup_timeout=10)
    manager.shut()
    manager.pass_time(11)
    look = manager.soon("get_session", session_id)
    assert listed(manager) == [session_id]
    assert waits(look)
    manager.acknowledge()
    assert answer(look).end_reason == "setup_timeout"
    assert listed(manager) == []


def test_a_session_that_is_due_before_its_create_is_settled_ends(manager):
    manager.shut()
    create = manager.soon("create_session", type="sip", setup_timeout=10)
    manager.pass_time(11)
    manager.acknowledge(2)
    assert manager.get(answer(create).id).end_reason == "setup_timeout"


# Refs


def test_by_ref_too_answers_wait(manager, session_id):
    manager.open()
    ref = manager.ref(session_id)
    manager.shut()
    change, refused, look = (
        send(ref, "update_state", "held"),
        send(ref, "update_state", "initializing"),
        send(ref, "get"),
    )
    manager.settle()
    assert waits(change, refused, look)
    manager.acknowledge()
    assert answer(change).version == 2
    assert answer(look).state == "held"
    with pytest.raises(InvalidTransition):
        answer(refused)


def test_the_ref_of_a_session_that_is_not_settled_is_told_with_it(manager):
    manager.shut()
    manager.soon("create_session", type="sip", **ADDRESS)
    asked = manager.soon("session_ref", ADDRESS)
    assert waits(asked)
    manager.acknowledge()
    assert answer(asked).proxy().get().get(timeout=PATIENCE).external_id == "x"


def test_a_stop_by_ref_returns_when_the_end_is_settled(manager, session_id):
    manager.open()
    ref = manager.ref(session_id)
    manager.shut()
    stop = ref.stop(block=False)
    manager.settle()
    assert not ref.is_alive()
    look = manager.soon("get_session", session_id)
    assert waits(look)
    manager.acknowledge()
    assert stop.get(timeout=PATIENCE) is True
    assert answer(look).end_reason == "admin"
