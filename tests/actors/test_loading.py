"""Work that waits for what it wants read."""

from __future__ import annotations

import pytest
from entries import Entry, add

from sessiond.actors.deep_explaining import DeepExplaining
from sessiond.actors.deep_listing import DeepListing
from sessiond.actors.errors import Unavailable
from sessiond.actors.future import Pending
from sessiond.actors.limits import Admission, Limit
from sessiond.actors.loading import Loading
from sessiond.actors.params import ExplainOptions, ListQuery
from sessiond.actors.passive import PassiveDirectory
from sessiond.actors.store import Live


@pytest.fixture
def directory() -> PassiveDirectory[Entry]:
    return PassiveDirectory()


class Reading:
    """A store's part: answers when it is told to."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = {entry.seq: entry for entry in entries}
        self.asked: list[list[int]] = []
        self.pending: Pending[dict[int, Live]] = Pending()

    def read(self, seqs: list[int]) -> Pending[dict[int, Live]]:
        self.asked.append(seqs)
        self.pending = Pending()
        return self.pending

    def answer(self) -> None:
        self.pending.set({seq: Live(seq, 0.0, b"") for seq in self.asked[-1] if seq in self.entries})


def loading(directory: PassiveDirectory[Entry], store: Reading, **query: object) -> Loading:
    work = DeepListing(ListQuery(**query), directory, lambda entry: entry.record, "instance")
    return Loading(work, store.read, lambda live: store.entries[live.seq].record)


def test_what_needs_no_reading_is_done_at_once(directory):
    entry = add(directory)
    assert loading(directory, Reading()).step().sessions == [entry.record]


def test_a_page_has_what_was_read_in_its_place(directory):
    entries = [add(directory) for _ in range(5)]
    for entry in entries[1:4]:
        directory.passivate(entry)
    store = Reading(*entries)
    work = loading(directory, store)
    assert work.step() is store.pending
    store.answer()
    assert work.step().sessions == [entry.record for entry in entries]
    assert store.asked == [[2, 3, 4]]


def test_no_more_is_read_than_the_page_has_room_for(directory):
    entries = [add(directory) for _ in range(9)]
    for entry in entries:
        directory.passivate(entry)
    store = Reading(*entries)
    work = loading(directory, store, limit=3)
    work.step()
    store.answer()
    assert len(work.step().sessions) == 3
    assert store.asked == [[1, 2, 3, 4]]


def test_one_that_has_come_back_is_shown_as_it_is(directory):
    entry = add(directory, caller="old")
    directory.passivate(entry)
    store = Reading(entry)
    work = loading(directory, store)
    work.step()
    store.answer()
    fresh = Entry(1, entry.record)
    directory.revive(fresh)
    shown = work.step().sessions
    assert shown == [fresh.record]


def test_one_that_the_store_has_no_longer_is_left_out(directory):
    entry = add(directory)
    directory.passivate(entry)
    store = Reading()
    work = loading(directory, store)
    work.step()
    store.answer()
    assert work.step().sessions == []


def test_a_store_that_cannot_read_fails_the_work(directory):
    directory.passivate(add(directory))
    store = Reading()
    work = loading(directory, store)
    work.step()
    store.pending.fail(Unavailable("The store is gone"))
    with pytest.raises(Unavailable):
        work.step()


def test_an_explanation_has_the_passive_sessions_behind_a_limit(directory):
    entries = [add(directory, caller="+1") for _ in range(3)]
    admission = Admission([Limit(name="callers", by="caller", concurrent=9)], directory)
    for entry in entries[:2]:
        directory.passivate(entry)
    options = ExplainOptions(value="+1")
    store = Reading(*entries)
    explaining = DeepExplaining("callers", options, admission, directory, lambda entry: entry.record, "instance")
    work = Loading(explaining, store.read, lambda live: store.entries[live.seq].record)
    assert work.step() is store.pending
    store.answer()
    explanation = work.step()
    assert explanation.current == 3
    assert explanation.sessions == [entry.record for entry in entries]
