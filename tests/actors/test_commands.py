"""Commands to gateways: that they get there, what comes of them, and what becomes of the session."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from commanded import Gateway, PlayedLink, ask_soon, cut, let
from runtimes import PATIENCE
from services import service

from sessiond.actors.errors import (
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestTimeout,
    SessiondError,
    SessionEnded,
    Unavailable,
)
from sessiond.actors.lanes import AT_ONCE
from sessiond.actors.results import Commanded


@pytest.fixture
def gateway(manager):
    return Gateway(manager)


@pytest.fixture
def link(gateway):
    return gateway.connect()


def terminate(gateway, session_id, *args, **options):
    return ask_soon(gateway.manager, "terminate_session", session_id, *args, **options)


def failure(future) -> SessiondError:
    with pytest.raises(SessiondError) as caught:
        future.get(timeout=PATIENCE)
    return caught.value


def end_of(manager, session_id):
    session = manager.get(session_id)
    return (session.state, session.end_reason, session.ended_by)


def history(manager, session_id):
    return [
        (entry.change, entry.author.kind, entry.command or entry.reason or entry.state, entry.outcome)
        for entry in manager.get_session_history(session_id).entries
    ]


def outcomes(manager):
    return dict(manager.context.tally.commands)


# What becomes of the session


def test_an_administrator_ends_a_call_by_its_gateway(manager, gateway, link):
    session_id = gateway.create(external_id="call-1")
    ended = terminate(gateway, session_id, "fraud")
    (asked,) = link.asked
    assert (asked.method, asked.arguments) == (
        "terminate_session",
        {"id": session_id, "external_id": "call-1", "reason": "fraud"},
    )
    assert manager.get(session_id).state == "active"
    let(manager, 2)
    asked.answer()
    result = ended.get(timeout=PATIENCE)
    assert (result.gateway, result.duration, result.version) == ("done", 2.0, 2)
    assert end_of(manager, session_id) == ("ended", "admin", "admin")
    assert history(manager, session_id) == [
        ("created", "client", "active", None),
        ("command", "admin", "terminate_session", "done"),
        ("ended", "admin", "admin", None),
    ]
    assert outcomes(manager) == {("terminate_session", "done"): 1}


def test_what_the_gateway_does_not_have_is_ended(manager, gateway, link):
    session_id = gateway.create()
    ended = terminate(gateway, session_id)
    link.asked[0].refuse([1, "No such dialog", {"code": "not_found"}])
    assert ended.get(timeout=PATIENCE).gateway == "not_found"
    assert end_of(manager, session_id) == ("ended", "admin", "admin")


def test_the_end_that_the_gateway_told_stands(manager, gateway, link):
    """It hangs up, says so, and only then answers."""
    session_id = gateway.create()
    ended = terminate(gateway, session_id)
    told = manager.end_session(session_id, "normal", sip_code=200)
    link.asked[0].answer()
    result = ended.get(timeout=PATIENCE)
    assert (result.gateway, result.ended_at, result.version) == ("done", told.ended_at, told.version)
    assert end_of(manager, session_id) == ("ended", "normal", "gateway")


def test_the_end_that_the_gateway_told_is_the_answer_though_nothing_is_retained(gateway_of_no_retention):
    manager, gateway, link = gateway_of_no_retention
    session_id = gateway.create()
    ended = terminate(gateway, session_id)
    told = manager.end_session(session_id)
    with pytest.raises(NotFound):
        manager.get(session_id)
    link.asked[0].answer()
    assert ended.get(timeout=PATIENCE).version == told.version


@pytest.fixture
def gateway_of_no_retention():
    with service(max_retained=0) as manager:
        gateway = Gateway(manager)
        yield manager, gateway, gateway.connect()


def test_a_call_that_has_ended_is_not_ended_again(manager, gateway, link):
    session_id = gateway.create()
    told = manager.end_session(session_id)
    result = manager.terminate_session(session_id)
    assert (result.gateway, result.ended_at) == ("not_asked", told.ended_at)
    assert link.asked == []


def test_a_refusal_leaves_the_session_as_it_was(manager, gateway, link):
    session_id = gateway.create()
    before = manager.get(session_id)
    ended = terminate(gateway, session_id)
    link.asked[0].refuse([0, "The media server hangs", {"code": "media"}])
    error = failure(ended)
    assert isinstance(error, Unavailable)
    assert error.details == {"gateway": "failed", "error": {"code": "media", "text": "The media server hangs"}}
    assert manager.get(session_id) == before
    assert history(manager, session_id)[-1] == ("command", "admin", "terminate_session", "failed")


def nobody(manager):
    return manager.create(state="active")


def a_gateway_that_never_registered(manager):
    return manager.create(gateway="unknown", state="active")


def a_gateway_that_takes_no_commands(manager):
    gateway = Gateway(manager, "deaf")
    gateway.connect("other")
    return gateway.create()


@pytest.mark.parametrize("create", [nobody, a_gateway_that_never_registered, a_gateway_that_takes_no_commands])
def test_where_nobody_can_be_asked_the_record_alone_is_ended(manager, create):
    session_id = create(manager)
    assert manager.terminate_session(session_id).gateway == "not_asked"
    assert end_of(manager, session_id) == ("ended", "admin", "admin")
    with pytest.raises(SessionEnded):
        manager.warn_session(session_id, "x")


def test_nobody_can_be_warned_where_nobody_can_be_asked(manager):
    with pytest.raises(Unavailable) as caught:
        manager.warn_session(nobody(manager), "x")
    assert caught.value.details == {"gateway": "not_asked"}


def test_other_commands_change_nothing_here(manager, gateway, link):
    session_id = gateway.create(external_id="c")
    before = manager.get(session_id)
    modified = ask_soon(manager, "modify_session", {"gateway": "gw", "external_id": "c"}, {"hold": True, "codec": None})
    warned = ask_soon(manager, "warn_session", session_id, "One minute left", timeout=1)
    first, second = link.asked
    named = {"id": session_id, "external_id": "c"}
    assert (first.method, first.arguments) == ("modify_session", named | {"changes": {"hold": True, "codec": None}})
    assert (second.method, second.arguments) == ("warn_session", named | {"text": "One minute left"})
    first.answer({"held": True})
    second.answer()
    assert modified.get(timeout=PATIENCE) == Commanded("done", {"held": True})
    assert warned.get(timeout=PATIENCE) == Commanded("done")
    assert manager.get(session_id) == before
    assert [entry[2:] for entry in history(manager, session_id)[1:]] == [
        ("modify_session", "done"),
        ("warn_session", "done"),
    ]


def test_a_gateway_that_does_not_know_the_call_it_is_told_to_change(manager, gateway, link):
    warned = ask_soon(manager, "warn_session", gateway.create(), "x")
    link.asked[0].refuse("not_found")
    assert failure(warned).details["gateway"] == "not_found"


@pytest.mark.parametrize(
    ("method", "arguments", "options", "field"),
    [
        ("terminate_session", ("x" * 65,), {}, "reason"),
        ("terminate_session", (None,), {"timeout": 0}, "timeout"),
        ("terminate_session", (None,), {"wait": -1}, "wait"),
        ("modify_session", ([],), {}, "changes"),
        ("modify_session", ({"a": []},), {}, "changes"),
        ("warn_session", ("",), {}, "text"),
    ],
)
def test_wrong_arguments_are_refused(manager, gateway, link, method, arguments, options, field):
    session_id = gateway.create()
    with pytest.raises(InvalidRequest) as caught:
        getattr(manager, method)(session_id, *arguments, **options)
    assert caught.value.details["field"] == field
    assert link.asked == []


# Attempts


def test_a_gateway_that_does_not_answer_is_asked_again_over_another_link(manager, gateway):
    links = [gateway.connect(), gateway.connect()]
    session_id = gateway.create()
    ended = terminate(gateway, session_id)
    for _ in range(3):
        assert not ended.done()
        let(manager, 5)
    error = failure(ended)
    assert isinstance(error, RequestTimeout)
    assert error.details == {"gateway": "timeout"}
    assert sorted(len(link.asked) for link in links) == [1, 2]
    assert all(asked.is_forgotten for link in links for asked in link.asked)
    assert manager.get(session_id).state == "active"


def test_each_command_may_be_given_its_own_time(manager, gateway, link):
    ended = terminate(gateway, gateway.create(), timeout=0.5)
    for _ in range(3):
        let(manager, 0.5)
    assert isinstance(failure(ended), RequestTimeout)


def test_a_late_answer_counts_as_long_as_it_is_waited_for(manager, gateway, link):
    session_id = gateway.create()
    ended = terminate(gateway, session_id)
    let(manager, 6)
    first, second = link.asked
    first.answer()
    assert ended.get(timeout=PATIENCE).gateway == "done"
    assert second.is_forgotten


def test_the_other_link_takes_over_when_one_is_lost_in_the_midst_of_a_command(manager, gateway):
    links = [gateway.connect(), gateway.connect()]
    ended = terminate(gateway, gateway.create())
    lost = next(link for link in links if link.asked)
    lost.cut()
    (other,) = (link for link in links if link is not lost)
    other.asked[0].answer()
    assert ended.get(timeout=PATIENCE).gateway == "done"


def test_only_links_that_take_commands_are_asked(manager, gateway):
    deaf, link = gateway.connect("other"), gateway.connect()
    terminate(gateway, gateway.create())
    assert (deaf.asked, len(link.asked)) == ([], 1)


def test_commands_are_spread_over_the_links(manager, gateway):
    links = [gateway.connect() for _ in range(4)]
    for _ in range(8):
        terminate(gateway, gateway.create())
    assert [len(link.asked) for link in links] == [2] * 4


def test_a_gateway_that_answers_at_once(manager, gateway):
    """Before the request was even on its way, as far as can be told here."""
    gateway.connect(answers=lambda _: (None, "fine"))
    assert manager.warn_session(gateway.create(), "x") == Commanded("done", "fine")


class Broken(PlayedLink):
    def ask(self, *_):
        raise ZeroDivisionError


def test_what_crashes_in_a_command_is_that_command_only(manager, gateway, link, caplog):
    link.ask = Broken.ask.__get__(link)
    error = failure(terminate(gateway, gateway.create()))
    assert error.details == {"gateway": "failed", "error": {"code": "internal", "text": "The request crashed"}}
    del link.ask
    ended = terminate(gateway, gateway.create())
    link.asked[0].answer()
    assert ended.get(timeout=PATIENCE).gateway == "done"
    assert manager.given_up == []
    assert "Crash in commander" in caplog.text


def test_a_commander_that_crashes_forgets_no_command(manager, gateway, link, monkeypatch, caplog):
    waiting = gateway.create()
    ended = terminate(gateway, waiting)

    def crash(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(manager.context.commander.lanes, "due", crash)
        let(manager, 5)
    assert len(link.asked) == 1
    let(manager, 0.1)
    let(manager, 0.1)
    assert len(link.asked) == 2
    link.asked[1].answer()
    assert ended.get(timeout=PATIENCE).gateway == "done"
    assert "Crash in commander" in caplog.text


# A gateway that is gone


def test_a_gateway_that_is_gone_is_waited_for(manager, gateway, link):
    session_id = gateway.create()
    link.cut()
    ended = terminate(gateway, session_id)
    let(manager, 29)
    assert not ended.done()
    gateway.connect().asked[0].answer()
    assert ended.get(timeout=PATIENCE).gateway == "done"


def test_a_gateway_that_comes_back_too_late(manager, gateway, link):
    session_id = gateway.create()
    link.cut()
    ended = terminate(gateway, session_id)
    let(manager, 30)
    error = failure(ended)
    assert isinstance(error, Unavailable)
    assert error.details == {"gateway": "absent"}
    assert gateway.connect().asked == []
    assert manager.get(session_id).state == "active"


def test_who_does_not_want_to_wait_need_not(manager, gateway, link):
    link.cut()
    assert failure(terminate(gateway, gateway.create(), wait=0)).details == {"gateway": "absent"}


def test_a_gateway_that_goes_in_the_midst_of_a_command_is_waited_for(manager, gateway):
    links = [gateway.connect() for _ in range(4)]
    session_id = gateway.create()
    ended = terminate(gateway, session_id)
    cut(*links)
    let(manager, 10)
    assert not ended.done()
    gateway.connect().asked[0].answer()
    assert ended.get(timeout=PATIENCE).gateway == "done"


def test_a_call_is_asked_about_where_it_is_held_and_nowhere_else(manager, gateway, link):
    """The other instance of a gateway does not know the call, which is no reason to think that there is none."""
    session_id = gateway.create()
    other = Gateway(manager, epoch="e2").connect()
    link.cut()
    ended = terminate(gateway, session_id)
    let(manager, 2)
    assert (other.asked, ended.done()) == ([], False)


def test_a_call_that_another_run_of_the_gateway_has_claimed_is_asked_about_there(manager, gateway, link):
    session_id = gateway.create()
    other = Gateway(manager, epoch="e2").connect()
    link.cut()
    ended = terminate(gateway, session_id)
    with other.asking():
        manager.touch_session(session_id)
    let(manager, 1)
    other.asked[0].answer()
    assert ended.get(timeout=PATIENCE).gateway == "done"


def test_nobody_is_waited_for_once_the_call_is_over(manager, gateway, link):
    session_id = gateway.create()
    link.cut()
    ended = terminate(gateway, session_id)
    warned = ask_soon(manager, "warn_session", session_id, "x")
    told = manager.end_session(session_id, "busy")
    let(manager, 1)
    result = ended.get(timeout=PATIENCE)
    assert (result.gateway, result.version) == ("absent", told.version)
    assert isinstance(failure(warned), Unavailable)
    assert len(manager.context.commander.lanes) == 0


def test_whoever_is_there_is_asked_about_a_call_that_nobody_holds(manager, gateway):
    """It was created before its gateway registered."""
    session_id = manager.create(gateway="gw")
    link = gateway.connect()
    ended = terminate(gateway, session_id)
    link.asked[0].answer()
    assert ended.get(timeout=PATIENCE).gateway == "done"


# Asking for a report


def test_every_run_of_a_gateway_that_is_there_is_asked_for_its_sessions(manager, gateway, link):
    other = Gateway(manager, epoch="e2").connect()
    synced = ask_soon(manager, "request_sync", "gw")
    assert [(asked.method, asked.arguments) for asked in (*link.asked, *other.asked)] == [("report_sessions", {})] * 2
    link.asked[0].answer()
    assert not synced.done()
    other.asked[0].answer()
    assert synced.get(timeout=PATIENCE) == Commanded("done")


def test_a_report_that_one_of_them_refuses(manager, gateway, link):
    other = Gateway(manager, epoch="e2").connect()
    synced = ask_soon(manager, "request_sync", "gw")
    other.asked[0].refuse("not now")
    link.asked[0].answer()
    assert failure(synced).details == {"gateway": "failed", "error": {"code": None, "text": "not now"}}


def test_a_gateway_that_is_gone_is_asked_for_its_sessions_when_it_is_back(manager, gateway, link):
    link.cut()
    synced = ask_soon(manager, "request_sync", "gw")
    gateway.connect().asked[0].answer()
    assert synced.get(timeout=PATIENCE) == Commanded("done")


def test_nobody_else_is_asked_for_sessions(manager, gateway):
    with pytest.raises(NotFound):
        manager.request_sync("unknown")
    gateway.connect("other")
    with pytest.raises(Unavailable) as caught:
        manager.request_sync("gw")
    assert caught.value.details == {"gateway": "not_asked"}


# Ends by the service


def test_the_gateway_is_told_of_a_call_that_timed_out(manager, gateway, link):
    session_id = gateway.create(external_id="c", max_duration=60)
    manager.pass_time(61)
    assert end_of(manager, session_id) == ("ended", "max_duration", "service")
    (asked,) = link.asked
    assert (asked.method, asked.arguments) == (
        "terminate_session",
        {"id": session_id, "external_id": "c", "reason": "max_duration"},
    )
    let(manager, 5)
    assert len(link.asked) == 2
    link.asked[1].answer()
    assert history(manager, session_id)[-2:] == [
        ("ended", "service", "max_duration", None),
        ("command", "service", "terminate_session", "done"),
    ]


def test_a_call_of_which_another_session_is_left_is_not_hung_up(manager, gateway, link):
    """It was created twice, and only one of the sessions heard of the answer: that timed out, the call did not."""
    gateway.create(external_id="c", state="active")
    twin = gateway.create(external_id="c", state="ringing", setup_timeout=60)
    manager.pass_time(61)
    assert end_of(manager, twin) == ("ended", "setup_timeout", "service")
    assert link.asked == []


def test_the_gateway_is_told_of_a_call_whose_actor_was_stopped(manager, gateway, link):
    session_id = gateway.create()
    manager.ref(session_id).stop()
    manager.settle()
    assert [asked.arguments["reason"] for asked in link.asked] == ["admin"]


def test_the_gateway_is_not_told_what_it_did_itself(manager, gateway, link):
    session_id = gateway.create()
    manager.end_session(session_id)
    other = gateway.create()
    ended = terminate(gateway, other)
    link.asked[0].answer()
    ended.get(timeout=PATIENCE)
    manager.settle()
    assert len(link.asked) == 1


def test_a_gateway_that_is_lost_is_not_told_of_that(manager, gateway, link):
    session_id = gateway.create()
    link.cut()
    manager.clock.advance(121)
    manager.ref(session_id).proxy().end_if_lost().get()
    assert manager.get(session_id).end_reason == "gateway_lost"
    assert len(manager.context.commander.lanes) == 0


def test_who_takes_no_commands_is_told_nothing(manager, gateway):
    link = gateway.connect("other")
    gateway.create(max_duration=60)
    manager.pass_time(61)
    assert (link.asked, outcomes(manager)) == ([], {})


# Many


def test_only_so_many_commands_are_under_way_to_one_gateway_at_once(manager, gateway, link):
    ended = [terminate(gateway, gateway.create()) for _ in range(AT_ONCE + 2)]
    assert len(link.asked) == AT_ONCE
    link.asked[5].answer()
    link.asked[6].refuse("no")
    assert len(link.asked) == AT_ONCE + 2
    assert [each.done() for each in ended[5:8]] == [True, True, False]


def test_what_did_not_come_to_its_turn_is_refused_as_too_much(manager, gateway, link):
    """And was never sent."""
    ended = [terminate(gateway, gateway.create(), wait=1, timeout=60) for _ in range(AT_ONCE + 1)]
    let(manager, 1)
    error = failure(ended[-1])
    assert isinstance(error, Overloaded)
    assert (error.details, len(link.asked)) == ({"gateway": "overloaded"}, AT_ONCE)


def test_a_gateway_that_hangs_holds_up_no_other(manager, gateway, link):
    for _ in range(AT_ONCE + 5):
        terminate(gateway, gateway.create())
    other = Gateway(manager, "other")
    answering = other.connect()
    ended = terminate(other, other.create())
    answering.asked[0].answer()
    assert ended.get(timeout=PATIENCE).gateway == "done"


def test_ten_thousand_commands_wait_for_one_gateway_and_no_more(manager, gateway, link):
    ids = [gateway.create() for _ in range(10_001)]
    link.cut()
    proxy = manager.registry.proxy()
    gc.collect()
    tracemalloc.start()
    try:
        futures = [proxy.terminate_session(each) for each in ids[:10_000]]
        manager.settle()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 10_000 * 3000
    finally:
        tracemalloc.stop()
    assert isinstance(failure(terminate(gateway, ids[10_000])), Overloaded)
    gateway.connect(answers=lambda _: (None, None))
    assert {each.get(timeout=PATIENCE).gateway for each in futures} == {"done"}
    assert len(manager.context.commander.lanes) == 0


def test_the_end_of_the_service_fails_what_waits(manager, gateway, link):
    link.cut()
    ended = terminate(gateway, gateway.create())
    manager.close_commands()
    assert isinstance(failure(ended), Unavailable)
    with pytest.raises(Unavailable):
        manager.terminate_session(gateway.create())
