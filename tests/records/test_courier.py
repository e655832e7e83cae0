"""Whatever a sink does, each record gets there at least once or becomes a dead letter, and in order."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from kept_records import WALL
from manual_clock import ManualClock
from scripted_sink import Letters, ListedRecords, ScriptedSink, record

from sessiond.records.courier import LOOK, Courier
from sessiond.records.sink import Failed, Refused


class Delivering:
    """A courier, with all that is around it in lists."""

    def __init__(self, records=(), batch=4, script=lambda _: None, give_up_after=0.0, position=0):
        self.clock = ManualClock()
        self.records = ListedRecords(records)
        self.sink = ScriptedSink(batch, script)
        self.letters = Letters(give_up_after)
        self.positions = []
        self.courier = Courier(
            "billing",
            self.sink,
            self.records,
            position,
            self.positions.append,
            self.clock,
            lambda: 1.0,
            self.letters,
        )

    def steps(self, most=1000):
        """Take steps until there is nothing to do for a while; how long that is."""
        for _ in range(most):
            if pause := self.courier.step():
                return pause
        raise AssertionError("there is always more to do")


def numbers(count):
    return [record(number) for number in range(1, count + 1)]


def failing(numbers):
    raise Failed("away")


def refusing(*bad):
    def script(numbers):
        if set(bad) & set(numbers):
            raise Refused("bad")

    return script


def test_records_are_delivered_in_batches_and_the_position_follows():
    delivering = Delivering(numbers(10))
    assert delivering.steps() == LOOK
    assert delivering.sink.tried == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert delivering.positions == [4, 8, 10]
    assert (delivering.courier.position, delivering.courier.delivered) == (10, 10)


def test_it_begins_after_the_position_that_was_kept():
    delivering = Delivering(numbers(6), position=4)
    delivering.steps()
    assert delivering.sink.had == [5, 6]


def test_a_batch_that_is_not_full_lets_more_gather():
    delivering = Delivering(numbers(3))
    assert delivering.courier.step() == LOOK


def test_the_position_stays_where_it_is_while_the_sink_fails():
    delivering = Delivering(numbers(3), script=failing)
    delivering.steps()
    assert delivering.positions == []
    assert (delivering.courier.position, delivering.courier.failures) == (0, 1)
    assert delivering.courier.last_error == "away"


def test_a_failed_batch_is_tried_again_later_and_later_and_looked_at_meanwhile():
    delivering = Delivering(numbers(1), script=failing)
    delivering.steps()
    for pause in (1, 2, 4):
        for _ in range(pause):
            assert delivering.courier.step() == LOOK == 1
            delivering.clock.advance(LOOK)
        delivering.steps()
    assert delivering.sink.tried == [[1]] * 4
    delivering.sink.script = lambda _: None
    delivering.clock.advance(8)
    delivering.steps()
    assert delivering.sink.had == [1]
    assert delivering.courier.last_error is None


def test_a_pause_begins_when_the_attempt_has_failed():
    def hanging(numbers):
        delivering.clock.advance(10)
        raise Failed("no answer in time")

    delivering = Delivering(numbers(1), script=hanging)
    assert delivering.steps() == LOOK
    assert len(delivering.sink.tried) == 1


def test_the_log_is_not_flooded_by_dead_letters(caplog):
    delivering = Delivering(numbers(20), script=refusing(*range(1, 21)))
    delivering.steps()
    delivering.clock.advance(10)
    delivering.records.kept += [record(21)]
    delivering.sink.script = refusing(21)
    delivering.steps()
    assert [each.getMessage() for each in caplog.records] == [
        "The sink billing has 1 more dead letters, the last: bad",
        "The sink billing has 20 more dead letters, the last: bad",
    ]


def test_a_pause_that_the_sink_asks_for_is_kept():
    def asking(numbers):
        raise Failed("busy", 30)

    delivering = Delivering(numbers(1), script=asking)
    delivering.steps()
    delivering.clock.advance(29)
    delivering.steps()
    assert len(delivering.sink.tried) == 1
    delivering.clock.advance(1)
    delivering.steps()
    assert len(delivering.sink.tried) == 2


def test_the_record_that_is_refused_is_found_and_the_others_get_there():
    delivering = Delivering(numbers(20), batch=8, script=refusing(3, 11))
    delivering.steps()
    assert delivering.sink.had == [number for number in range(1, 21) if number not in {3, 11}]
    assert delivering.letters.buried == [(3, "bad", WALL), (11, "bad", WALL)]
    assert delivering.courier.dead == 2
    assert delivering.courier.position == 20
    assert len(delivering.sink.tried) < 20


def test_a_sink_that_refuses_all_gets_nothing_and_holds_up_nothing():
    delivering = Delivering(numbers(9), script=refusing(*range(1, 10)))
    delivering.steps()
    assert [number for number, *_ in delivering.letters.buried] == list(range(1, 10))
    assert delivering.courier.delivered == 0


def test_a_dead_letter_that_cannot_be_kept_is_not_passed_over():
    delivering = Delivering(numbers(1), script=refusing(1))
    delivering.letters.error = Failed("disk full")
    delivering.steps()
    assert (delivering.courier.position, delivering.courier.last_error) == (0, "disk full")
    delivering.letters.error = None
    delivering.clock.advance(1)
    delivering.steps()
    assert (delivering.courier.position, delivering.letters.buried) == (1, [(1, "bad", WALL + 1)])


def test_after_long_enough_what_has_waited_so_long_is_given_up_and_the_rest_tried():
    old = [record(number, WALL - 1000) for number in range(1, 11)]
    delivering = Delivering([*old, record(11, WALL + 3590)], script=failing, give_up_after=3600)
    delivering.steps()
    delivering.clock.advance(3599)
    delivering.steps()
    assert delivering.letters.buried == []
    delivering.clock.advance(60)
    delivering.steps()
    assert [number for number, *_ in delivering.letters.buried] == list(range(1, 11))
    assert delivering.letters.buried[0][1:] == ("given up: away", WALL + 3659)
    assert delivering.courier.position == 10
    delivering.sink.script = lambda _: None
    delivering.clock.advance(60)
    delivering.steps()
    assert delivering.sink.had == [11]


def test_without_a_limit_nothing_is_given_up():
    delivering = Delivering(numbers(1), script=failing)
    for _ in range(100):
        delivering.steps()
        delivering.clock.advance(86_400)
    assert delivering.letters.buried == []


def test_a_store_that_cannot_be_read_is_asked_again():
    delivering = Delivering(numbers(1))
    delivering.records.error = Failed("locked")
    delivering.steps()
    assert delivering.courier.last_error == "locked"
    delivering.records.error = None
    delivering.clock.advance(1)
    delivering.steps()
    assert delivering.sink.had == [1]


def test_what_waits_and_since_when_is_known_while_the_sink_is_away():
    delivering = Delivering([record(1, WALL - 5), record(2)], script=failing)
    courier = delivering.courier
    delivering.steps()
    assert (courier.behind, courier.oldest) == (2, WALL - 5)
    delivering.records.kept.append(record(3))
    delivering.clock.advance(1)
    delivering.steps()
    assert (courier.behind, courier.oldest) == (3, WALL - 5)
    delivering.sink.script = lambda _: None
    delivering.clock.advance(60)
    delivering.steps()
    assert (courier.behind, courier.oldest) == (0, None)


def test_the_log_tells_once_that_a_sink_is_away_and_once_that_it_is_back(caplog):
    caplog.set_level("INFO")
    delivering = Delivering(numbers(1), script=failing)
    for _ in range(5):
        delivering.steps()
        delivering.clock.advance(60)
    delivering.sink.script = lambda _: None
    delivering.steps()
    assert [each.getMessage() for each in caplog.records] == [
        "The sink billing takes nothing, and is tried again and again: away",
        "The sink billing takes records again",
    ]


def test_what_it_holds_is_let_go_of():
    delivering = Delivering()
    delivering.courier.close()
    assert delivering.sink.is_closed
    assert delivering.records.is_closed


def test_a_sink_without_dead_letters_is_never_given_up():
    delivering = Delivering(numbers(1), script=failing)
    delivering.courier._dead_letters = None
    for _ in range(10):
        delivering.steps()
        delivering.clock.advance(1e6)
    assert delivering.courier.position == 0


outcomes = st.sampled_from(["taken", "failed", "taken and failed", "refused", "crash"])


@given(
    count=st.integers(0, 40),
    batch=st.integers(1, 10),
    bad=st.sets(st.integers(1, 40)),
    fate=st.lists(st.tuples(outcomes, st.floats(0, 100))),
    give_up_after=st.sampled_from([0.0, 50.0]),
)
def test_nothing_is_lost_whatever_happens(count, batch, bad, fate, give_up_after):
    """Failures of every kind, of which some have delivered all the same, and the process dying at any time."""
    fates = iter([*fate, *itertools.repeat(("taken", 100.0), 500)])
    clock, had, letters, kept = ManualClock(), [], Letters(give_up_after), [0]
    records = ListedRecords([record(number, WALL + number) for number in range(1, count + 1)])

    class Crash(Exception):
        pass

    def script(numbers):
        outcome, seconds = next(fates)
        clock.advance(seconds)
        if outcome == "failed":
            raise Failed("away")
        if outcome == "refused" or bad & set(numbers):
            raise Refused("bad")
        had.extend(numbers)
        if outcome == "crash":
            raise Crash
        if outcome == "taken and failed":
            raise Failed("no answer in time")

    def started():
        return Courier("x", ScriptedSink(batch, script), records, kept[-1], kept.append, clock, lambda: 1.0, letters)

    courier = started()
    while courier.position < count:
        try:
            clock.advance(courier.step())
        except Crash:
            courier = started()
    buried = [number for number, *_ in letters.buried]
    assert set(had) | set(buried) == set(range(1, count + 1))
    assert kept == sorted(kept)
    assert list(dict.fromkeys(had)) == sorted(set(had))
    assert buried == sorted(set(buried))
    assert courier.behind <= 0
