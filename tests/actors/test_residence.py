"""Sessions leave memory and come back, and nobody sees a difference."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from commanded import Gateway
from gated import GatedService, gated
from manual_clock import ManualClock
from runtimes import PATIENCE
from services import service

from sessiond.actors import passive, passive_requests, twofold
from sessiond.actors.errors import Conflict, InvalidRequest, LimitExceeded, NotFound, Unavailable
from sessiond.actors.limits import Limit
from sessiond.actors.residence import LEAVE
from sessiond.actors.session import SessionActor
from sessiond.actors.settings import GatewaySettings, Residing
from sessiond.stores import reader
from sessiond.stores.settings import StoreSettings

QUIET = 600.0
GRACE = 120.0
LASTING = {
    "idle_timeout": 0,
    "max_duration": 0,
    "setup_timeout": 0,
    "retention": 60,
    "gateways": GatewaySettings(lease=30, grace=GRACE),
}


@contextlib.contextmanager
def serving(path, **options):
    with gated(path, **LASTING | {"residing": Residing(quiet=QUIET)} | options) as running:
        yield running


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0.db"


@pytest.fixture
def manager(path):
    with serving(path) as running:
        yield running


def residents(manager):
    """The sessions that are in memory."""
    return set(manager.turn(lambda registry: [id for part in registry.sessions for id in part]))


def leave(manager):
    """Everybody leaves who may."""
    if not len(manager.context.journal):
        manager.keep_all()
    manager.pass_time(QUIET + 2)


def passive_one(manager, **fields):
    session_id = manager.create(**{"state": "active"} | fields)
    leave(manager)
    assert session_id not in residents(manager)
    return session_id


def loads(manager):
    """The numbers of the sessions that are read from now on, as they are asked for."""
    asked, load_all = [], manager.store.load_all
    manager.store.load_all = lambda seqs: asked.append(list(seqs)) or load_all(asked[-1])
    return asked


def result(future):
    return future.get(timeout=PATIENCE)


# Who leaves


def test_a_session_of_which_nothing_is_heard_leaves(manager):
    quiet, loud = manager.create(), manager.create()
    manager.pass_time(QUIET - 10)
    assert residents(manager) == {quiet, loud}
    manager.touch_session(loud)
    manager.pass_time(12)
    assert residents(manager) == {loud}
    assert manager.context.residence.resident_count == 1
    assert manager.count_sessions().count == 2


def test_of_too_many_the_quietest_leave(path):
    with serving(path, residing=Residing(quiet=0, residents=2)) as manager:
        ids = []
        for _ in range(4):
            ids.append(manager.create())
            manager.clock.advance(10)
        manager.touch_session(ids[0])
        manager.pass_time(10)
        assert residents(manager) == {ids[0], ids[3]}


def test_who_was_just_used_stays_however_many_there_are(path):
    with serving(path, residing=Residing(residents=0)) as manager:
        session_id = manager.create()
        manager.sweep()
        assert residents(manager) == {session_id}
        manager.pass_time(3)
        assert not residents(manager)


def test_those_who_have_to_stay_keep_the_reaper_from_nothing(path):
    """However many they are, a sweep forgets what is due, and is done."""
    with serving(path, residing=Residing(quiet=QUIET, residents=0)) as manager:
        ended = manager.create()
        refs = [manager.ref(manager.create()) for _ in range(LEAVE)]
        manager.end_session(ended)
        manager.settle()
        manager.clock.advance(61)
        assert manager.sweep()
        with pytest.raises(NotFound):
            manager.get(ended)
        assert len(residents(manager)) == len(refs)


def test_whose_ref_somebody_has_stays(manager):
    session_id = manager.create()
    ref = manager.ref(session_id)
    leave(manager)
    leave(manager)
    assert residents(manager) == {session_id}
    assert ref.proxy().get().get(timeout=PATIENCE).id == session_id


def test_who_has_a_change_on_its_way_stays(manager):
    session_id = manager.create(state="active")
    manager.shut()
    held = manager.soon("update_session_state", session_id, "held")
    leave(manager)
    assert session_id in residents(manager)
    manager.open()
    assert result(held).version == 2
    leave(manager)
    assert session_id not in residents(manager)
    assert manager.get(session_id).state == "held"


def test_whom_a_command_is_about_stays(manager):
    gateway = Gateway(manager, "g")
    link = gateway.connect()
    session_id = gateway.create()
    manager.soon("warn_session", session_id, "beep")
    leave(manager)
    assert session_id in residents(manager)
    link.asked[0].answer({})
    leave(manager)
    assert session_id not in residents(manager)


def test_who_has_changed_and_is_not_on_the_disk_stays(path):
    """With relaxed durability everybody has been told of the change, and it can only be had from memory."""
    store = StoreSettings(kind="sqlite", path=str(path), durability="relaxed", interval=1)
    with service(store=store, **LASTING) as manager:
        session_id = manager.create(state="active")
        manager.keep_all()
        manager.update_session_state(session_id, "held")
        manager.pass_time(QUIET + 2)
        assert residents(manager) == {session_id}
        assert manager.get(session_id).state == "held"


def test_an_activity_that_a_failed_store_has_lost_is_told_again(manager):
    session_id = manager.create(state="active")
    manager.clock.advance(100)
    manager.breaks()
    manager.touch_session(session_id)
    at = manager.clock.wall
    manager.fails()
    manager.recovers()
    manager.keep_all()
    leave(manager)
    assert session_id not in residents(manager)
    assert manager.get(session_id).last_activity_at == at


# What comes back


def test_what_comes_back_is_as_it_was(manager):
    link, _ = manager.connect("g", "e1", lease=3600)
    with link.asking():
        session_id = manager.create(
            state="ringing",
            external_id="x",
            caller="anna",
            callee="bert",
            direction="inbound",
            parent="p",
            group="q",
            metadata={"text": "t\0\u2028\U0001f600", "one": 1, "one.0": 1.0, "yes": True, "most": 2**63 - 1},
            at=manager.clock.wall - 7,
            setup_timeout=10_000,
            idle_timeout=0,
            max_duration=20_000,
            request_id="r",
        )
        manager.update_session_state(session_id, "active", at=manager.clock.wall - 3)
        manager.update_session(session_id, caller="carl", external_id="y", max_duration=5000)
    before = manager.get(session_id), manager.get_session_history(session_id)
    leave(manager)
    assert not residents(manager)
    after = manager.get_session({"gateway": "g", "external_id": "y"}), manager.get_session_history(session_id)
    assert after == before
    assert [type(each) for each in after[0].metadata.values()] == [type(each) for each in before[0].metadata.values()]
    assert manager.connect("g", "e1", lease=3600)[1].sessions == 1


def test_the_last_activity_comes_back_too(manager):
    session_id = manager.create(state="active", idle_timeout=1000)
    manager.clock.advance(300)
    manager.touch_session(session_id)
    touched = manager.clock.wall
    leave(manager)
    session = manager.get(session_id)
    assert (session.last_activity_at, session.expires_at) == (touched, touched + 1000)


def test_a_create_is_known_again(manager):
    session_id = passive_one(manager, request_id="r", gateway="g")
    again = manager.create_session(type="sip", state="active", request_id="r", gateway="g")
    assert (again.id, again.created) == (session_id, False)
    leave(manager)
    with pytest.raises(Conflict):
        manager.create_session(type="webrtc", request_id="r", gateway="g")
    assert manager.create_session(type="sip", request_id="r", gateway="h").created


def test_requests_that_come_meanwhile_are_carried_out_in_their_order(manager):
    session_id = passive_one(manager, gateway="g", external_id="x")
    address = {"gateway": "g", "external_id": "x"}
    manager.shut()
    asked = loads(manager)
    answers = [
        manager.soon("touch_session", session_id),
        manager.soon("update_session_state", address, "held"),
        manager.soon("update_session_state", session_id, "active"),
        manager.soon("update_session_metadata", address, {"a": 1}),
        manager.soon("end_session", session_id),
        manager.soon("update_session_state", session_id, "held"),
    ]
    assert len(asked) == 1
    manager.store.let_through()
    manager.settle()
    manager.open()
    assert [result(each).version for each in answers[:5]] == [1, 2, 3, 4, 5]
    with pytest.raises(Exception, match="ended"):
        result(answers[5])


def test_a_request_is_its_gateways_own_after_the_reading(manager):
    first, _ = manager.connect("g", "e1", lease=3600)
    with first.asking():
        session_id = passive_one(manager)
    first.lose()
    second, _ = manager.connect("g", "e2")
    manager.shut()
    with second.asking():
        touched = manager.soon("touch_session", session_id)
    asked_by_nobody = manager.soon("update_session_state", session_id, "held")
    manager.store.let_through()
    manager.settle()
    manager.open()
    assert (result(touched).version, result(asked_by_nobody).version) == (1, 2)
    assert manager.get(session_id).epoch == "e2"
    entries = manager.get_session_history(session_id).entries
    assert [(each.change, each.author.epoch) for each in entries[1:]] == [("claimed", "e2"), ("state", None)]


def test_one_that_cannot_be_read_can_be_had_once_it_can(manager, monkeypatch):
    session_id = passive_one(manager)

    def broken(_):
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as broken_disk:
        broken_disk.setattr(reader, "connect_reader", broken)
        manager.store._loader._disconnect()
        for ask in (manager.touch_session, manager.get, manager.get_session_history, manager.ref):
            with pytest.raises(Unavailable, match="cannot be read"):
                ask(session_id)
        assert manager.count_sessions().count == 1
    assert manager.touch_session(session_id).version == 1


def test_whoever_waits_for_one_is_told_when_the_service_stops(path):
    with serving(path) as manager:
        session_id = passive_one(manager)
        manager.shut()
        waiting = manager.soon("touch_session", session_id)
    with pytest.raises(Unavailable, match="stopping"):
        result(waiting)


def test_a_ref_of_a_passive_session_is_that_of_its_actor(manager):
    session_id = passive_one(manager)
    assert manager.ref(session_id).proxy().touch().get(timeout=PATIENCE).version == 1


# Deadlines


@pytest.mark.parametrize(
    ("state", "reason"), [("ringing", "setup_timeout"), ("active", "idle_timeout"), ("active", "max_duration")]
)
def test_deadlines_end_passive_sessions_in_time(manager, state, reason):
    session_id = passive_one(manager, state=state, **{reason: 5000})
    manager.pass_time(5000 - QUIET - 2 - 0.25)
    assert manager.count_sessions().count == 1
    manager.pass_time(0.5)
    assert manager.count_sessions().count == 0
    assert manager.get(session_id).end_reason == reason


def test_a_deadline_that_moved_before_it_left_is_met_where_it_is_now(manager):
    session_id = manager.create(state="active", idle_timeout=1000)
    manager.clock.advance(900)
    manager.touch_session(session_id)
    leave(manager)
    assert not residents(manager)
    manager.pass_time(300)
    assert not residents(manager)
    manager.pass_time(100)
    assert manager.get(session_id).end_reason == "idle_timeout"


def test_one_that_could_not_be_read_in_time_ends_when_it_can(manager, monkeypatch):
    session_id = passive_one(manager, idle_timeout=1000)

    def broken(_):
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as broken_disk:
        broken_disk.setattr(reader, "connect_reader", broken)
        manager.store._loader._disconnect()
        manager.pass_time(500)
        assert manager.count_sessions().count == 1
    manager.pass_time(2)
    assert manager.count_sessions().count == 0
    assert manager.get(session_id).end_reason == "idle_timeout"


# Gateways


@pytest.fixture
def calls(manager):
    """Two passive sessions that a gateway holds, which is then lost."""
    link, _ = manager.connect("g", "e1", lease=3600)
    with link.asking():
        calls = [manager.create(state="active", external_id=each) for each in ("x", "y")]
    leave(manager)
    assert not residents(manager)
    link.lose()
    assert manager.list_gateways().gateways[0].state == "lost"
    assert not residents(manager)
    return calls


def test_passive_sessions_of_a_lost_gateway_end_after_the_grace(manager, calls):
    assert {each.suspect for each in manager.list_sessions().sessions} == {True}
    manager.pass_time(GRACE + 1)
    manager.pass_time(1)
    assert manager.count_sessions().count == 0
    assert {manager.get(each).end_reason for each in calls} == {"gateway_lost"}


@pytest.mark.parametrize("named", ["ids", "external_ids"])
def test_a_sync_claims_passive_sessions_and_ends_what_it_does_not_name(manager, calls, named):
    manager.connect("g", "e2", lease=3600)
    names = {"ids": calls[0], "external_ids": "x"}
    synced = manager.sync_sessions("g", **{named: [names[named]]}, final=True)
    assert (synced.unknown, synced.missing) == ([], [calls[1]])
    manager.pass_time(1)
    manager.pass_time(1)
    assert manager.get(calls[0]).epoch == "e2"
    assert manager.get(calls[1]).end_reason == "gateway_lost"


def parts(manager, *parts):
    """What comes of parts of one sync, of which each is sent before there is an answer to the one before."""
    sync, answers = None, []
    for part in parts:
        answers.append(manager.soon("sync_sessions", "g", **part | ({} if sync is None else {"sync": sync})))
        sync = manager.turn(lambda registry: next(reversed(registry.context.syncs._open)))
    return answers


def test_the_last_part_of_a_sync_waits_for_those_that_are_being_read(manager, calls):
    manager.connect("g", "e2", lease=3600)
    manager.shut()
    answers = parts(manager, {"ids": [calls[0]], "final": False}, {"ids": [calls[1]], "final": True})
    manager.store.let_through()
    manager.store.let_through()
    manager.settle()
    manager.open()
    for each in answers:
        assert (result(each).unknown, result(each).missing) == ([], [])
    manager.pass_time(1)
    assert {manager.get(each).epoch for each in calls} == {"e2"}


def test_a_sync_of_which_a_part_could_not_be_read_judges_nobody(manager, calls, monkeypatch):
    manager.connect("g", "e2", lease=3600)
    manager.shut()
    with monkeypatch.context() as broken_disk:
        broken_disk.setattr(reader, "connect_reader", lambda _: sqlite3.connect("/nowhere/at/all"))
        manager.store._loader._disconnect()
        answers = parts(manager, {"ids": calls, "final": False}, {"ids": [], "final": True})
        manager.store.let_through()
        manager.settle()
    manager.store.is_shut = False
    with pytest.raises(Unavailable):
        result(answers[0])
    with pytest.raises(InvalidRequest, match="begin anew"):
        result(answers[1])
    manager.pass_time(1)
    assert {manager.get(each).state for each in calls} == {"active"}


def test_a_sync_finds_what_has_left_while_it_waited(manager):
    link, _ = manager.connect("g", "e1", lease=3600)
    with link.asking():
        first = manager.create(state="active")
        manager.clock.advance(30)
        second = manager.create(state="active")
        manager.pass_time(QUIET - 25)
        assert residents(manager) == {second}
        manager.shut()
        answers = parts(manager, {"ids": [first], "final": False}, {"ids": [second], "final": True})
        manager.pass_time(40)
        assert not residents(manager)
        manager.store.let_through()
        manager.store.is_shut = False
        manager.settle()
    for each in answers:
        assert (result(each).unknown, result(each).missing) == ([], [])


# What is seen of passive ones


def test_lists_and_counts_and_watches_see_passive_sessions(manager):
    ids = [manager.create(caller="anna", state="active"), manager.create(state="ringing")]
    leave(manager)
    told = []
    assert [each.id for each in manager.list_sessions().sessions] == ids
    assert [each.id for each in manager.list_sessions(caller="anna").sessions] == ids[:1]
    assert manager.count_sessions(by="state").groups == {"active": 1, "ringing": 1}
    manager.watch(told.append, state="ringing")
    manager.settle()
    manager.settle()
    assert [each.session.id for each in told if hasattr(each, "session")] == ids[1:]
    assert not residents(manager)
    manager.update_session_state(ids[0], "held")
    manager.update_session_state(ids[1], "active")
    manager.settle()
    assert told[-1].session.id == ids[1]
    assert not told[-1].matches


def test_limits_count_passive_sessions(path):
    limits = [Limit(name="callers", by="caller", concurrent=2)]
    with serving(path, limits=limits, max_sessions=3) as manager:
        ids = [manager.create(caller="anna") for _ in range(2)]
        leave(manager)
        with pytest.raises(LimitExceeded):
            manager.create(caller="anna")
        explained = manager.explain_limit("callers", value="anna")
        assert (explained.current, [each.id for each in explained.sessions]) == (2, ids)
        assert not residents(manager)
        manager.create()
        with pytest.raises(LimitExceeded):
            manager.create()
        manager.end_session(ids[0])
        manager.create(caller="anna")


def test_values_that_share_a_digest_are_told_apart(manager, monkeypatch):
    for module in (passive, passive_requests, twofold):
        monkeypatch.setattr(module, "digest", lambda _: 1)
    ids = [manager.create(gateway="g", external_id=each, caller=each, request_id=each) for each in "abc"]
    leave(manager)
    assert not residents(manager)
    for session_id, name in zip(ids, "abc", strict=True):
        assert [each.id for each in manager.list_sessions(caller=name).sessions] == [session_id]
    with pytest.raises(NotFound):
        manager.get("d")
    leave(manager)
    assert manager.get(ids[1]).external_id == "b"
    leave(manager)
    assert manager.get_session({"gateway": "g", "external_id": "c"}).id == ids[2]
    leave(manager)
    with pytest.raises(NotFound):
        manager.get_session({"gateway": "g", "external_id": "d"})
    leave(manager)
    again = manager.create_session(type="sip", gateway="g", external_id="a", caller="a", request_id="a")
    assert (again.id, again.created) == (ids[0], False)
    leave(manager)
    assert manager.create_session(type="sip", gateway="g", request_id="d").created


# Restarts


@contextlib.contextmanager
def restarted(manager, tmp_path, **options):
    """The next run, after the one before has died."""
    manager.keep_all()
    path = tmp_path / "next.db"
    manager.crash(path)
    options = {"residing": Residing(quiet=QUIET), "clock": manager.clock} | options
    again = GatedService(path, SessionActor, **LASTING | options)
    yield again
    again.stop()


def test_a_recovery_keeps_no_more_in_memory_than_may_be(manager, tmp_path):
    ids = [manager.create() for _ in range(40)]
    with restarted(manager, tmp_path, residing=Residing(residents=7)) as again:
        assert len(residents(again)) == again.context.residence.resident_count == 7
        assert [each.id for each in again.list_sessions(limit=100).sessions] == ids


def test_who_was_quiet_before_a_restart_is_passive_after_it(manager, tmp_path):
    ids = [passive_one(manager, request_id="r", gateway="g", external_id="x"), manager.create(state="ringing")]
    before = [manager.get(each) for each in ids]
    leave(manager)
    manager.touch_session(ids[1])
    with restarted(manager, tmp_path) as again:
        assert residents(again) == {ids[1]}
        assert again.get(ids[0]) == before[0]
        assert again.get_session({"gateway": "g", "external_id": "x"}).id == ids[0]
        repeat = again.create_session(type="sip", state="active", request_id="r", gateway="g", external_id="x")
        assert (repeat.id, repeat.created) == (ids[0], False)


def test_what_came_due_before_the_machine_was_started_ends_at_once(manager, tmp_path):
    session_id = passive_one(manager, idle_timeout=1000)
    clock = ManualClock(manager.clock.wall + 10_000, monotonic=5)
    with restarted(manager, tmp_path, clock=clock) as again:
        assert not residents(again)
        again.pass_time(0)
        assert again.count_sessions().count == 0
        assert again.get(session_id).end_reason == "idle_timeout"
