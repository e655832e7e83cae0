"""Which call is begun next, and since when its time counts."""

from __future__ import annotations

import itertools
import math

from sessiond.bench.work import Arrivals, Calls, Job, OpenLoop
from sessiond.bench.workload import CALL, Call, Step

UP = b"id"


def walked(job, errors=()):
    """The steps that are made, of which those in ``errors`` fail."""
    made = [job.steps[job.at]]
    while job.advance("not_found" if made[-1] in errors else None, now=0.0):
        made.append(job.steps[job.at])
    return made


def every(seconds, steps=CALL, begin=0.0):
    numbers = itertools.count()
    return Arrivals(lambda: Call(next(numbers)), steps, lambda: seconds, begin)


def test_a_job_takes_its_call_through_all_steps():
    job = Job(Call(0, UP), CALL, since=0.0)
    assert walked(job) == [*CALL]
    assert not job.is_spoiled


def test_a_call_that_fails_is_ended():
    job = Job(Call(0, UP), CALL, since=0.0)
    assert walked(job, errors={Step.ACTIVE}) == [Step.CREATE, Step.RINGING, Step.ACTIVE, Step.END]
    assert job.is_spoiled


def test_an_end_that_fails_is_not_tried_again():
    assert walked(Job(Call(0, UP), CALL, since=0.0), errors={Step.END}) == [*CALL]


def test_a_call_that_was_not_created_is_over():
    assert walked(Job(Call(0), CALL, since=0.0), errors={Step.CREATE}) == [Step.CREATE]


def test_a_job_that_does_not_end_its_call_leaves_it():
    steps = (Step.CREATE, Step.ACTIVE, Step.GET)
    assert walked(Job(Call(0, UP), steps, since=0.0), errors={Step.ACTIVE}) == [Step.CREATE, Step.ACTIVE]


def test_the_next_step_is_due_when_the_one_before_is_answered():
    job = Job(Call(0, UP), CALL, since=1.0)
    job.advance(None, now=1.5)
    assert job.since == 1.5


def test_a_closed_loop_begins_calls_when_it_is_asked():
    work = Calls(map(Call, range(2)), CALL)
    first, second = work.take(1.0), work.take(5.0)
    assert [(job.call.number, job.since) for job in (first, second)] == [(0, 1.0), (1, 5.0)]
    assert work.take(6.0) is None
    assert work.due() == math.inf


def test_an_open_loop_begins_calls_when_they_are_due():
    work = OpenLoop(every(0.5))
    assert work.due() == 0.5
    assert work.take(0.49) is None
    assert work.take(0.5).since == 0.5
    assert work.due() == 1.0


def test_a_call_that_is_begun_late_was_due_all_the_same():
    """Else a service that stands still would hide it: nothing is asked of it meanwhile."""
    work = OpenLoop(every(0.5))
    assert [work.take(10.0).since for _ in range(4)] == [0.5, 1.0, 1.5, 2.0]


def test_kinds_of_arrivals_are_merged_by_time():
    work = OpenLoop(every(2.0), every(3.0, steps=(Step.TOUCH,)))
    taken = [work.take(7.0) for _ in range(5)]
    assert [(job.since, len(job.steps)) for job in taken] == [(2.0, 6), (3.0, 1), (4.0, 6), (6.0, 6), (6.0, 1)]
    assert work.take(7.0) is None


def test_what_was_due_and_never_begun_is_counted():
    work = OpenLoop(every(0.5), every(0.25))
    work.take(0.25)
    assert work.skip(1.0) == 1 + 2  # at 0.5, and at 0.5 and 0.75
    assert work.due() == 1.0
