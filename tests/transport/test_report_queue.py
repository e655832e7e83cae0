"""In what order queued reports are sent, and what becomes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.actors.errors import BY_CODE, Conflict
from sessiond.transport import client_requests as requests
from sessiond.transport.report_queue import Outcome, Report, ReportQueue, judge, key_of


def report(name, method="update"):
    target = {"gateway": "gw", "external_id": name}
    request = requests.touch_session(target) if method == "touch" else requests.update_session(target, {}, None)
    return Report(request, key_of(request))


STEPS = st.lists(st.tuples(st.sampled_from(["add", "touch", "send", "fail"]), st.sampled_from("abcd")), max_size=60)


@given(STEPS, st.integers(1, 8), st.integers(1, 3), st.sets(st.sampled_from("abcd")))
def test_each_session_hears_of_everything_in_order(steps, capacity, most, busy_names):
    """Whatever is sent together, succeeds or fails: compared with a list for each session."""
    queue, model, busy = ReportQueue(capacity), {}, {report(name).key for name in busy_names}
    for step, name in steps:
        held = sum(map(len, model.values()))
        assert len(queue) == held
        if step in {"add", "touch"}:
            one = report(name, step)
            is_needless = step == "touch" and one.key in model
            assert queue.add(one) is (is_needless or held < capacity)
            if held < capacity and not is_needless:
                model.setdefault(one.key, []).append(one)
            continue
        batch = queue.batch(most, busy)
        assert batch == [first for first, *_ in (model[key] for key in model if key not in busy)][:most]
        for one in batch if step == "send" else batch[:1]:
            queue.remove(one)
            assert model[one.key].pop(0) is one
            if not model[one.key]:
                del model[one.key]


def test_what_was_being_sent_goes_before_what_came_meanwhile():
    queue, first, second = ReportQueue(2), report("a"), report("a")
    assert queue.add(second)
    assert queue.put_back(first)
    assert queue.batch(2) == [first]
    assert not queue.put_back(report("a"))
    queue.remove(first)
    assert queue.batch(2) == [second]


def test_a_create_is_about_the_address_that_it_gives():
    """One that gives none is about nothing else."""
    create = requests.create_session({"type": "sip", "gateway": "gw", "external_id": "a"})
    assert key_of(create) == report("a").key
    nameless = [requests.create_session({"type": "sip"}) for _ in range(2)]
    assert key_of(nameless[0]) != key_of(nameless[1])


@pytest.mark.parametrize("kind", BY_CODE.values(), ids=lambda kind: kind.code)
def test_what_an_error_means(kind):
    """Whether it is about the report, or about the service."""
    is_away = kind.code in {"unavailable", "timeout", "overloaded"}
    assert judge(kind("x")) is (Outcome.AWAY if is_away else Outcome.REFUSED)


def test_a_refused_registration_says_nothing_about_a_report():
    assert judge(Conflict("x", registration="refused")) is Outcome.AWAY
    assert judge(None) is Outcome.DONE
