"""Limits on sessions: what one may be, whom it lets in, and what it says of itself."""

from __future__ import annotations

from fractions import Fraction

import pytest
from entries import Entry, add, end
from hypothesis import given
from hypothesis import strategies as st
from services import service

from sessiond.actors import limits as module
from sessiond.actors.directory import Directory
from sessiond.actors.errors import Conflict, InvalidRequest, LimitExceeded, NotFound
from sessiond.actors.limits import FIELDS, Admission, Buckets, Limit, indexes
from sessiond.actors.params import NewSession

# What a limit may be


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"by": "x", "concurrent": 1}, "by must be gateway, caller, callee, type, group or metadata.KEY, not 'x'"),
        ({"by": "metadata.", "concurrent": 1}, "by must be .* not 'metadata.'"),
        ({"by": "state", "concurrent": 1}, "by must be .* not 'state'"),
        ({"by": "caller", "value": 5, "concurrent": 1}, "value must be a string, since caller is, not 5"),
        ({"by": "caller"}, "concurrent or per_second is missing"),
        ({"name": "max_sessions", "by": "caller", "concurrent": 1}, "name must not be max_sessions"),
    ],
)
def test_what_limits_nothing_is_no_limit(fields, complaint):
    with pytest.raises(ValueError, match=f"^{complaint}"):
        Limit(**({"name": "it"} | fields))


@pytest.mark.parametrize("by", [*FIELDS, "metadata.account", "metadata.a.b", "metadata. "])
def test_what_a_limit_may_be_by(by):
    limit = Limit(name="it", by=by, concurrent=0)
    assert (limit.key is None) == (by in FIELDS)
    assert by in {limit.key, f"metadata.{limit.key}", limit.by}


# Whom it lets in


def admission(*limits: Limit) -> tuple[Directory[Entry], Admission]:
    directory: Directory[Entry] = Directory(*indexes((), limits))
    return directory, Admission(limits, directory)


@pytest.mark.parametrize("by", [*FIELDS, "metadata.trunk"])
def test_a_session_that_ends_makes_room(by):
    """And one with another value, or with none, needs none."""

    def fields(value):
        return {"type": "sip"} | ({"metadata": {"trunk": value}} if by == "metadata.trunk" else {by: value})

    directory, door = admission(Limit(name="it", by=by, concurrent=2))
    first, _ = add(directory, **fields("x")), add(directory, **fields("x"))
    refusal = door.admit(NewSession(**fields("x")), 0.0)
    assert refusal.error.details == {"limit": "it", "by": by, "value": "x", "current": 2, "maximum": 2}
    assert door.admit(NewSession(**fields("y")), 0.0) is None
    if by != "type":
        assert door.admit(NewSession(type="sip"), 0.0) is None
    end(directory, first)
    assert door.admit(NewSession(**fields("x")), 0.0) is None


def test_of_metadata_true_is_not_one_and_one_is_one_point_nought():
    """As filters have it."""
    directory, door = admission(Limit(name="it", by="metadata.k", concurrent=1))
    for value, others in ((1.0, (True, "1", 0)), (True, (False, "1")), ("1", (False,))):
        assert door.admit(NewSession(type="sip", metadata={"k": value}), 0.0) is None
        add(directory, metadata={"k": value})
        for other in others:
            assert door.admit(NewSession(type="sip", metadata={"k": other}), 0.0) is None
    for value in (True, 1, "1"):
        refusal = door.admit(NewSession(type="sip", metadata={"k": value}), 0.0)
        assert refusal.value is value
    assert door.admit(NewSession(type="sip", metadata={"k": False}), 0.0) is None


def test_a_limit_with_a_value_is_about_no_other():
    directory, door = admission(
        Limit(name="one", by="metadata.k", value=True, concurrent=0), Limit(name="all", by="metadata.k", concurrent=1)
    )
    assert door.admit(NewSession(type="sip", metadata={"k": True}), 0.0).limit.name == "one"
    assert door.admit(NewSession(type="sip", metadata={"k": 1}), 0.0) is None
    add(directory, metadata={"k": 1})
    assert door.admit(NewSession(type="sip", metadata={"k": 1}), 0.0).limit.name == "all"


def test_whoever_is_refused_by_one_limit_uses_up_none_of_another():
    """Else a full trunk would also lock out callers who use another one."""
    _, door = admission(
        Limit(name="rate", by="caller", per_second=1), Limit(name="closed", by="callee", value="b", concurrent=0)
    )
    for _ in range(3):
        assert door.admit(NewSession(type="sip", caller="a", callee="b"), 0.0).limit.name == "closed"
    assert door.admit(NewSession(type="sip", caller="a", callee="c"), 0.0) is None
    refusal = door.admit(NewSession(type="sip", caller="a", callee="c"), 0.0)
    assert refusal.error.details == {
        "limit": "rate", "by": "caller", "value": "a", "current": 1, "maximum": 1, "per": "second",
    }  # fmt: skip


# How fast they may come

rates = st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 10.0])
"""Of few binary digits, as are the pauses, so that the arithmetic is exact and every decision is that of the model."""
pauses = st.integers(0, 40).map(lambda eighths: eighths / 8)
arrivals = st.lists(st.tuples(pauses, st.sampled_from("abc")), max_size=60)


@given(rates, arrivals)
def test_a_value_gets_its_rate_and_its_burst_and_no_more(rate, arrivals):
    """As a bucket would that is never forgotten, calculated anew from all creations there were."""
    buckets = Buckets(rate)
    created: dict[str, list[float]] = {value: [] for value in "abc"}
    now = 1000.0
    for pause, value in arrivals:
        now += pause
        level = Fraction(0)
        for then, following in zip(created[value], [*created[value], now][1:], strict=True):
            level = max(Fraction(0), level + 1 - Fraction(rate) * Fraction(following - then))
        assert buckets.level(value, now) == level
        assert buckets.has_room(value, now) == (level + 1 <= max(1, rate))
        if buckets.has_room(value, now):
            buckets.add(value, now)
            created[value].append(now)


@given(st.floats(0.01, 1000), st.lists(st.floats(0, 3), max_size=60))
def test_no_stretch_of_time_sees_more_than_the_rate_and_one_burst(rate, pauses):
    """Whatever the numbers."""
    buckets, created, now = Buckets(rate), [], 5000.0
    for pause in pauses:
        now += pause
        if buckets.has_room("a", now):
            buckets.add("a", now)
            created.append(now)
    for first, start in enumerate(created):
        for last in range(first, len(created)):
            assert last - first + 1 <= max(1, rate) + rate * (created[last] - start) + 1e-3


@given(st.floats(0.01, 1000), st.integers(1, 50))
def test_whoever_keeps_to_the_rate_is_never_refused(rate, count):
    """Although the pauses cannot be told exactly."""
    buckets = Buckets(rate)
    for n in range(count):
        now = 5000.0 + n / rate
        assert buckets.has_room("a", now)
        buckets.add("a", now)


def test_a_burst_comes_through_at_once_whatever_the_hour():
    """Its numbers are whole, so none of it is lost by rounding."""
    buckets, now = Buckets(10), 123_456_789.1
    for _ in range(10):
        assert buckets.has_room("a", now)
        buckets.add("a", now)
    assert not buckets.has_room("a", now)


@given(st.lists(st.tuples(pauses, st.integers(0, 200)), max_size=200))
def test_buckets_that_have_run_dry_are_dropped(arrivals):
    """With each creation their number falls, until none is kept but those of the 2 s in which one runs dry here."""
    buckets, times, now = Buckets(0.5), [], 0.0
    for pause, value in arrivals:
        now += pause
        if buckets.has_room(value, now):
            before = len(buckets)
            buckets.add(value, now)
            times.append(now)
            assert len(buckets) < before or len(buckets) <= sum(then > now - 2 for then in times)


def test_nobody_who_makes_values_up_takes_all_memory(monkeypatch):
    """The oldest are given up first."""
    monkeypatch.setattr(module, "MAX_BUCKETS", 10)
    buckets = Buckets(0.001)
    for value in range(100):
        buckets.add(value, 0.0)
        assert len(buckets) <= 10
    assert buckets.has_room(89, 0.0)
    assert not buckets.has_room(90, 0.0)


# In a service


def test_a_repeat_of_a_create_is_not_refused():
    """It makes no session, and uses up no rate."""
    with service(limits=[Limit(name="one", by="caller", concurrent=1, per_second=1)]) as manager:
        fields = {"type": "sip", "caller": "a", "request_id": "r"}
        first = manager.create_session(**fields)
        for _ in range(3):
            assert manager.create_session(**fields).id == first.id
        with pytest.raises(Conflict):
            manager.create_session(**fields, callee="b")
        with pytest.raises(LimitExceeded):
            manager.create(caller="a")
        assert manager.context.tally.refused == {"one": 1}


def test_a_rate_goes_by_time_that_passes_and_not_by_the_clock_on_the_wall():
    with service(limits=[Limit(name="rate", by="gateway", per_second=0.5)]) as manager:
        manager.create(gateway="g")
        manager.clock.step_wall(3600)
        with pytest.raises(LimitExceeded):
            manager.create(gateway="g")
        manager.clock.step_wall(-7200)
        manager.clock.advance(2)
        manager.create(gateway="g")


def test_a_change_makes_room_and_takes_it():
    """It is not refused itself: the call is there, whatever is said about it."""
    with service(limits=[Limit(name="trunk", by="metadata.trunk", concurrent=1)]) as manager:
        first, second = manager.create(metadata={"trunk": "a"}), manager.create(metadata={"trunk": "b"})
        manager.update_session_metadata(first, {"trunk": "b"})
        assert manager.explain_limit("trunk", value="b").current == 2
        manager.create(metadata={"trunk": "a"})
        manager.update_session_metadata(second, {"trunk": None})
        with pytest.raises(LimitExceeded) as caught:
            manager.create(metadata={"trunk": "b"})
        assert caught.value.details["current"] == 1


def test_a_key_that_has_a_limit_is_indexed():
    with service(limits=[Limit(name="trunk", by="metadata.trunk", per_second=5)], metadata_indexes=("k",)) as manager:
        assert set(manager.context.directory.metadata) == {"k", "trunk"}
        manager.create(metadata={"trunk": "a"})
        assert manager.count_sessions(metadata={"trunk": "a"}).count == 1


def test_without_limits_nothing_more_is_indexed():
    with service() as manager:
        assert manager.context.directory._counted == ()


# What it says of itself


@pytest.fixture
def manager():
    limits = [
        Limit(name="callers", by="caller", concurrent=5, per_second=0.5),
        Limit(name="fax", by="type", value="fax", concurrent=3),
        Limit(name="trunk", by="metadata.trunk", value=7, per_second=2),
    ]
    with service(limits=limits) as running:
        yield running


def test_a_limit_shows_the_sessions_behind_its_count_page_by_page(manager):
    ids = [manager.create(type="fax") for _ in range(3)]
    manager.end_session(ids.pop(1))
    page = manager.explain_limit("fax", limit=1)
    assert (page.limit, page.by, page.value, page.current, page.maximum) == ("fax", "type", "fax", 2, 3)
    assert page.per_second is None
    assert [session.id for session in page.sessions] == ids[:1]
    page = manager.explain_limit("fax", limit=1, cursor=page.cursor)
    assert [session.id for session in page.sessions] == ids[1:]
    assert page.cursor is None


def test_a_limit_on_each_value_must_be_told_which(manager):
    with pytest.raises(InvalidRequest) as caught:
        manager.explain_limit("callers")
    assert caught.value.details["field"] == "value"
    mine = manager.create(caller="a")
    page = manager.explain_limit("callers", value="a")
    assert (page.current, page.maximum, page.per_second, page.sessions[0].id) == (1, 5, 0.5, mine)
    assert manager.explain_limit("callers", value="b").sessions == []


def test_a_limit_on_a_rate_shows_who_lives(manager):
    manager.create(metadata={"trunk": 7.0})
    page = manager.explain_limit("trunk")
    assert (page.value, page.current, page.maximum, page.per_second) == (7, 1, None, 2)
    assert manager.explain_limit("trunk", value=7.0).current == 1


@pytest.mark.parametrize(("name", "value"), [("fax", "sip"), ("trunk", True), ("callers", 5), ("callers", True)])
def test_a_value_that_it_is_not_about_is_refused(manager, name, value):
    with pytest.raises(InvalidRequest) as caught:
        manager.explain_limit(name, value=value)
    assert caught.value.details["field"] == "value"


def test_a_limit_that_there_is_not_is_not_found(manager):
    with pytest.raises(NotFound) as caught:
        manager.explain_limit("nothing")
    assert caught.value.details == {"limit": "nothing"}


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 501}, {"cursor": "x"}, {"value": []}, {"colour": 1}])
def test_options_that_are_wrong_are_named(manager, options):
    with pytest.raises(InvalidRequest) as caught:
        manager.explain_limit("fax", **options)
    assert caught.value.details["field"] == next(iter(options))
