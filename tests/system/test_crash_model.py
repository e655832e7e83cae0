"""What the crash test judges by takes every loss for one, and nothing else."""

from __future__ import annotations

from random import Random

import pytest
from crash_calls import Caller, repeated
from crash_model import Line, Lost, Op, Seen, after
from hypothesis import assume, given
from hypothesis import strategies as st

CRASHED_AT = 1_000_000_500.0


def seen(calls):
    """The calls as a service would show them."""
    return {
        name: Seen(
            {
                **call.record,
                "id": f"id of {name}",
                "updated_at": 0.0,
                "last_activity_at": call.active_since,
                "expires_at": call.expires_at,
            },
            [{"at": 0.0, "author": {"kind": "client"}, **entry} for entry in call.entries],
        )
        for name, call in calls.items()
    }


def made_of(ops, calls=()):
    """What ``ops`` make of ``calls``."""
    calls = dict(calls)
    for op in ops:
        calls[op.name] = after(calls.get(op.name), op)
    return calls


def busy(seed, count):
    """A line on which so much was sent."""
    line, ticks = Line(), iter(range(count * 2))
    caller = Caller(Random(seed), "gw", lambda: 1_000_000_000.0 + next(ticks) / 1000)
    for _ in range(count):
        line.send(caller.next({name: call for name, call in line.expected.items() if call.is_live}))
    return line


seeds, counts = st.integers(0, 1000), st.integers(1, 150)


@given(seeds, counts, st.data())
def test_any_beginning_with_all_that_was_answered_is_right(seed, count, data):
    line = busy(seed, count)
    for number in data.draw(st.lists(st.integers(0, count - 1), max_size=3)):
        line.answer(number)
    done = data.draw(st.integers(line.kept, count))
    calls = made_of(line.sent[:done])
    assert line.recover(seen(calls), CRASHED_AT) <= count
    assert {name: call.record for name, call in line.calls.items()} == {
        name: call.record for name, call in calls.items()
    }
    assert (line.sent, line.kept) == ([], 0)


def is_visible(op, before):
    """Whether it makes another version, or a call."""
    call = before.get(op.name)
    return call is None or after(call, op).version > call.version


@given(seeds, counts)
def test_less_than_was_answered_is_a_loss(seed, count):
    line = busy(seed, count)
    line.answer(count - 1)
    assume(line.kept == count)
    with pytest.raises(Lost):
        line.recover(seen(made_of(line.sent[:-1])), CRASHED_AT)


@given(seeds, counts, st.data())
def test_a_change_that_is_missing_among_others_is_a_loss(seed, count, data):
    line = busy(seed, count)
    hole = data.draw(st.integers(0, count - 1))
    before, op = made_of(line.sent[:hole]), line.sent[hole]
    assume(is_visible(op, before))
    later = [each for each in line.sent[hole + 1 :] if each.name != op.name]
    assume(any(is_visible(each, before) for each in later))
    with pytest.raises(Lost):
        line.recover(seen(made_of(later, before)), CRASHED_AT)


@given(seeds, st.integers(20, 150), st.data())
def test_half_a_change_is_a_loss(seed, count, data):
    """A field of another value; a version, an entry of the history too few or too many."""
    line = busy(seed, count)
    shown = seen(line.expected)
    name = data.draw(st.sampled_from(sorted(shown)))
    record, entries = dict(shown[name].record), list(shown[name].entries)
    match data.draw(st.sampled_from(["field", "version", "missing entry", "other entry", "gone", "unknown"])):
        case "field":
            record[data.draw(st.sampled_from(sorted(line.expected[name].record)))] = "something else"
        case "version":
            record["version"] += data.draw(st.sampled_from([-1, 1]))
        case "missing entry":
            entries.pop()
        case "other entry":
            entries[0] = {**entries[0], "change": "claimed"}
        case "gone":
            del shown[name]
        case "unknown":
            shown["gw/unknown"] = shown[name]
    if name in shown:
        shown[name] = Seen(record, entries)
    line.answer(count - 1)
    assume(line.kept > count - 5)
    with pytest.raises(Lost):
        line.recover(shown, CRASHED_AT)


def created(**fields):
    given = {"type": "sip", "gateway": "gw", "external_id": "gw/0", "at": 1.0, **fields}
    given |= {"setup_timeout": 10.0, "max_duration": 10.0}
    return Op("gw/0", "create_session", (given,), CRASHED_AT - 10)


def about(method, *arguments, ago=10.0):
    return Op("gw/0", method, ({"gateway": "gw", "external_id": "gw/0"}, *arguments), CRASHED_AT - ago)


def test_what_somebody_saw_counts_as_answered():
    line = Line()
    line.send(created())
    line.send(about("update_session_metadata", {"a": 1}))
    line.send(about("update_session_metadata", {"a": 2}))
    line.observe("gw/0", 2)
    assert line.kept == 2
    with pytest.raises(Lost):
        line.observe("gw/0", 4)
    with pytest.raises(Lost):
        line.recover(seen(made_of(line.sent[:1])), CRASHED_AT)


def test_an_answer_that_tells_of_nothing_new_says_nothing_of_other_calls():
    line = Line()
    line.send(created())
    line.send(Op("gw/1", "create_session", ({**created().params[0], "external_id": "gw/1"},), CRASHED_AT - 10))
    line.answer(line.send(about("get_session")))
    assert line.kept == 1


@pytest.mark.parametrize(("ago", "is_lost"), [(10.0, True), (0.5, False)])
def test_a_touch_is_kept_before_long(ago, is_lost):
    line = Line()
    line.send(created())
    line.answer(line.send(about("touch_session", ago=ago)))
    line.answer(line.send(about("update_session_metadata", {}, ago=0.1)))
    line.kept = 3
    shown = seen(made_of(line.sent))
    shown["gw/0"].record["last_activity_at"] = CRASHED_AT - 20
    if ago < 1:
        shown["gw/0"].record["last_activity_at"] = CRASHED_AT - 10
    if is_lost:
        with pytest.raises(Lost):
            line.recover(shown, CRASHED_AT)
    else:
        line.recover(shown, CRASHED_AT)


def test_what_has_not_changed_must_be_shown_as_before():
    line = Line()
    line.answer(line.send(created()))
    shown = seen(line.expected)
    line.recover(shown, CRASHED_AT)
    other = {"gw/0": Seen({**shown["gw/0"].record, "updated_at": 5.0}, shown["gw/0"].entries)}
    with pytest.raises(Lost):
        line.recover(other, CRASHED_AT)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_values_of_metadata_keep_their_types(value):
    line = Line()
    line.answer(line.send(created(metadata={"a": 1})))
    shown = seen(line.expected)
    shown["gw/0"].record["metadata"] = {"a": value}
    with pytest.raises(Lost):
        line.recover(shown, CRASHED_AT)


def test_a_deadline_stays_where_it_was():
    line = Line()
    line.answer(line.send(created()))
    shown = seen(line.expected)
    shown["gw/0"].record["expires_at"] += 1
    with pytest.raises(Lost):
        line.recover(shown, CRASHED_AT)


def test_a_repeated_create_is_the_same_request():
    line = Line()
    line.send(created())
    again = repeated(line.expected["gw/0"], CRASHED_AT)
    assert again.params == created().params
    assert after(line.expected["gw/0"], again) is line.expected["gw/0"]


def later(name, method, *arguments, after=0.0):
    return Op(name, method, ({"gateway": "gw", "external_id": name}, *arguments), CRASHED_AT - 10 + after)


def other(op, name):
    (given,) = op.params
    return op._replace(name=name, params=({**given, "external_id": name},))


def of_before(*names):
    """A line with these calls, after a crash."""
    line = Line()
    for name in names:
        line.send(other(created(), name))
    line.recover(seen(line.expected), CRASHED_AT)
    return line


def test_requests_for_a_call_that_had_to_be_read_may_be_overtaken():
    line = of_before("gw/0", "gw/1")
    line.send(later("gw/0", "update_session_metadata", {"a": 1}))
    line.send(other(created(), "gw/2"))
    calls = made_of(line.sent[1:], line.calls)
    assert line.recover(seen(calls), CRASHED_AT) == 1


def test_but_not_once_they_are_answered():
    line = of_before("gw/0", "gw/1")
    line.answer(line.send(later("gw/0", "update_session_metadata", {"a": 1})))
    line.send(later("gw/1", "update_session_metadata", {"a": 1}))
    with pytest.raises(Lost):
        line.recover(seen(made_of(line.sent[1:], line.calls)), CRASHED_AT)


def test_requests_for_one_call_are_never_left_out():
    line = of_before("gw/0")
    line.send(later("gw/0", "update_session_metadata", {"a": 1}))
    line.send(later("gw/0", "update_session_metadata", {"b": 1}))
    with pytest.raises(Lost):
        line.recover(seen(made_of(line.sent[1:], line.calls)), CRASHED_AT)


@pytest.mark.parametrize(("pause", "may_be_overtaken"), [(0.5, False), (1.5, True)])
def test_a_new_call_has_to_be_read_only_if_it_was_quiet(pause, may_be_overtaken):
    line = of_before("gw/1")
    line.send(created())
    line.send(later("gw/0", "update_session_metadata", {"a": 1}, after=pause))
    line.send(later("gw/1", "update_session_metadata", {"a": 1}, after=pause))
    left = seen(made_of([line.sent[0], line.sent[2]], line.calls))
    if may_be_overtaken:
        assert line.recover(left, CRASHED_AT) == 2
    else:
        with pytest.raises(Lost):
            line.recover(left, CRASHED_AT)
