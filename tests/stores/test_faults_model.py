"""What the tests of faults judge by notices what is missing, too much, or by halves."""

from __future__ import annotations

import pytest
from store_changes import image
from store_history import History, Lost

from sessiond.actors.store import Live


class Found:
    """What has come back."""

    def __init__(self, *live, values=None, count=None):
        self._live = [Live(seq, float(version), image(seq, version, float(version))) for seq, version in live]
        self.count = len(live) if count is None else count
        self.values, self.authors = values or {}, {}

    def live(self):
        yield self._live

    def ended(self, since, most):
        return []


def history(settled):
    """Two sessions at versions 1 and 2; so many of the four entries are settled."""
    made = History()
    made.note(["began", 1])
    made.note(["handed", [["keep", seq, image(seq, version, float(version))] for version in (1, 2) for seq in (1, 2)]])
    if settled:
        made.note(["settled", 1 + settled])
    return made


def test_everything_that_was_handed_over_may_be_there():
    for settled in range(5):
        assert history(settled).compare(Found((1, 2), (2, 2))) == 4 - settled


def test_what_was_not_settled_may_be_missing_from_the_end():
    assert history(1).compare(Found((1, 1))) == 0
    assert history(1).compare(Found((1, 2), (2, 1))) == 2


@pytest.mark.parametrize(
    "found",
    [
        Found((1, 1), (2, 1)),  # less than was settled
        Found((1, 2)),
        Found((1, 1), (2, 2)),  # a later one without one before
        Found((1, 3), (2, 1)),  # what nobody has handed over
        Found((1, 2), (2, 1), (3, 1)),
        Found((1, 2), (2, 1), values={"a": 1}),
        Found((1, 2), (2, 1), count=3),
        Found((1, 2), (2, 1), (2, 1)),
    ],
)
def test_anything_else_is_a_loss(found):
    with pytest.raises(Lost):
        history(3).compare(found)


def test_what_the_store_gave_up_must_not_come_back():
    made = history(1)
    made.note(["failed", "the disk is full"])
    made.note(["restored"])
    with pytest.raises(Lost):
        made.compare(Found((1, 1), (2, 1)))


def test_what_it_gave_up_may_come_back_when_it_is_killed_before_it_could_say_that_it_works_again():
    made = history(1)
    made.note(["failed", "the disk is full"])
    assert made.compare(Found((1, 1), (2, 1))) == 1


def test_positions_must_not_come_again():
    with pytest.raises(Lost):
        history(3).note(["began", 4])
    with pytest.raises(Lost):
        history(3).note(["settled", 3])
