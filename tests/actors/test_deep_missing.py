"""What is missing of a gateway's sessions while they are passive; ``test_syncs.py`` has the rest."""

from __future__ import annotations

from typing import Any

import pytest
from entries import Entry, add
from msgspec.structs import replace

from sessiond.actors.clock import Instant
from sessiond.actors.deep_missing import DeepMissing
from sessiond.actors.incarnation import Incarnation
from sessiond.actors.missing import MAX_MISSING
from sessiond.actors.passive import PassiveDirectory
from sessiond.actors.results import Synced
from sessiond.actors.sync import Sync

BEGAN = Instant(1000.0, 100.0)


@pytest.fixture
def directory() -> PassiveDirectory[Any]:
    return PassiveDirectory()


def passive(directory: PassiveDirectory[Any], number: int, touched: float = 900.0) -> list[Entry]:
    entries = [add(directory, gateway="a", last_activity_at=touched) for _ in range(number)]
    for entry in entries:
        directory.passivate(entry)
    return entries


def missing(directory: PassiveDirectory[Any], named: list[Entry], *, holders: Any = None, known: Any = ()) -> Any:
    sync = Sync("token", "a", None, directory.last_seq, BEGAN)
    for entry in named:
        sync.named.add(entry.seq)
    return DeepMissing(sync, directory, holders, known, Synced("token", [], [], [], None), None)


def answer(work: DeepMissing, entries: list[Entry]) -> Synced:
    """The answer; of passive sessions the records of these are read."""
    while (synced := work.step()) is None:
        work.give({entry.seq: entry.record for entry in entries if entry.seq in work.wanted})
    return synced


def test_a_passive_session_that_was_not_named_is_missing(directory):
    entries = passive(directory, 3)
    assert answer(missing(directory, entries[:1]), entries).missing == ["id-2", "id-3"]


def test_one_of_which_something_was_heard_since_is_not(directory):
    entries = passive(directory, 1) + passive(directory, 1, touched=1000.0)
    assert answer(missing(directory, []), entries).missing == ["id-1"]


def test_what_others_hold_is_none_of_its_business(directory):
    entries = passive(directory, 3)
    ours, theirs = Incarnation("a", "1", 4, BEGAN), Incarnation("a", "2", 5, BEGAN)
    ours.sessions.add(1)
    theirs.sessions.add(2)
    work = missing(directory, [], holders={ours}, known=[ours, theirs])
    assert answer(work, entries).missing == ["id-1", "id-3"]


def test_one_that_the_store_has_no_longer_is_not_missing(directory):
    entries = passive(directory, 2)
    assert answer(missing(directory, []), entries[1:]).missing == ["id-2"]


def test_a_page_is_as_long_as_any(directory):
    entries = passive(directory, MAX_MISSING + 1)
    synced = answer(missing(directory, []), entries)
    assert len(synced.missing) == MAX_MISSING
    assert synced.cursor == str(entries[-1].seq)
    assert replace(synced, missing=[], cursor=None) == Synced("token", [], [], [], None)
