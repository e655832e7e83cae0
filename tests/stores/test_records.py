"""Records by example; ``test_record_queries.py`` has lists of them against a model."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_store import awaited, record_store

from sessiond.actors import history
from sessiond.actors.call_record import CallRecords, durations
from sessiond.actors.errors import InvalidRequest, NotFound
from sessiond.actors.future import Pending
from sessiond.actors.listing import PAGE_WEIGHT
from sessiond.actors.params import Address
from sessiond.actors.record_params import RecordQuery
from sessiond.actors.results import Author
from sessiond.stores import record_search
from sessiond.stores.records import PAGE_STEPS, StoredRecords

STEP_ROWS = 50


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(record_search, "STEP_ROWS", STEP_ROWS)


def page(book: StoredRecords, **query: Any) -> CallRecords:
    return awaited(book.page(RecordQuery(**query)))


def numbers(page: CallRecords) -> list[int]:
    return [record.number for record in page.records]


# One record


def test_a_record_is_found_by_the_id_of_its_session(store, book):
    store.add()
    number = store.add(id="a\0b", type="webrtc", metadata={"n": 1, "f": 1.0, "s": "\0é", "yes": True}, sip_code=200)
    record = awaited(book.find("a\0b"))
    assert (record.number, record.id, record.type, record.sip_code) == (number, "a\0b", "webrtc", 200)
    assert repr(record.metadata) == repr({"n": 1, "f": 1.0, "s": "\0é", "yes": True})


def test_of_an_address_the_record_that_was_kept_last_is_found(store, book):
    store.add(external_id="call", gateway="a")
    newest = store.add(external_id="call", gateway="a")
    bare = store.add(external_id="call")
    store.add(external_id="call", gateway="b")
    store.add(gateway="a")
    assert awaited(book.find(Address("call", "a"))).number == newest
    assert awaited(book.find(Address("call"))).number == bare


def test_an_address_is_looked_for_among_any_number_of_others_in_steps(store, book):
    wanted = store.add(external_id="call", gateway="a")
    with store.connection:
        for _ in range(2 * STEP_ROWS):
            store.add(external_id="call", gateway="b")
    assert awaited(book.find(Address("call", "a"))).number == wanted
    assert store.reads == 3


def test_what_there_is_no_record_of_is_not_found(store, book):
    store.add(external_id="call", gateway="a")
    for target, details in (("x", {"id": "x"}), (Address("call", "b"), {"gateway": "b", "external_id": "call"})):
        with pytest.raises(NotFound) as refusal:
            awaited(book.find(target))
        assert refusal.value.details == details


def test_the_history_says_who_did_what(store, book):
    store.add_author(7, "gw-1", "e1")
    store.add_author(8, "gw-2", None)
    timeline = history.begun("ringing", 7, 1.5)
    for author, reason in enumerate([0, 1, 2, 3, 8, 9]):
        timeline = history.noted(timeline, history.ENDED_FOR, reason, 2.0 + author, b"busy")
    store.add(timeline=timeline)
    (record,) = page(book).records
    assert [entry.author for entry in record.history] == [
        Author("gateway", "gw-1", "e1"), Author("client"), Author("service"), Author("admin"), Author("gateway"),
        Author("gateway", "gw-2"), Author("gateway"),
    ]  # fmt: skip
    assert (record.history[0].state, record.history[0].at, record.history_dropped) == ("ringing", 1.5, 0)
    assert page(book, fields=["history_dropped", "number"]).records == [{"history_dropped": 0, "number": 1}]


@given(st.lists(st.floats(1.1e9, 1e11), min_size=4, max_size=4))
def test_times_come_through_as_they_are(tmp_path_factory, times):
    created, ringing, answered, ended = sorted(times)
    with record_store(tmp_path_factory.mktemp("records") / "store.db") as store:
        store.add(id="x", created_at=created, ringing_at=ringing, answered_at=answered, ended_at=ended)
        record = awaited(StoredRecords(store).find("x"))
    assert (record.created_at, record.ringing_at, record.answered_at, record.ended_at) == (
        created, ringing, answered, ended,
    )  # fmt: skip
    assert (record.setup_duration, record.ring_duration) == (answered - created, answered - ringing)
    assert (record.talk_duration, record.duration) == (ended - answered, ended - created)


@pytest.mark.parametrize(
    ("times", "took"),
    [
        ((10.0, 12.0, 15.0, 75.0), (5.0, 3.0, 60.0, 65.0)),
        ((10.0, None, 15.0, 75.0), (5.0, 0.0, 60.0, 65.0)),
        ((10.0, 12.0, None, 40.0), (30.0, 28.0, 0.0, 30.0)),
        ((10.0, None, None, 40.0), (30.0, 0.0, 0.0, 30.0)),
        ((10.0, 10.0, 10.0, 9.0), (0.0, 0.0, 0.0, 0.0)),
    ],
    ids=["whole", "never rang", "not answered", "neither", "the clock was set back"],
)
def test_what_the_times_make_of_the_durations(times, took):
    assert durations(*times) == took


# Pages


def test_the_last_page_has_no_cursor_even_when_it_is_full(store, book):
    for _ in range(4):
        store.add()
    first = page(book, limit=2)
    assert numbers(first) == [1, 2]
    second = page(book, limit=2, cursor=first.cursor)
    assert numbers(second) == [3, 4]
    assert second.cursor is None


def test_a_page_of_fat_records_ends_early(store, book):
    for _ in range(30):
        store.add(metadata={"note": "x" * 16_000})
    first = page(book, limit=500)
    assert len(first.records) == PAGE_WEIGHT // 16_000
    assert numbers(first) + numbers(page(book, limit=500, cursor=first.cursor)) == list(range(1, 31))


def test_a_search_for_what_is_not_there_is_made_in_steps_and_pages(store, book):
    with store.connection:
        for _ in range((PAGE_STEPS + 2) * STEP_ROWS):
            store.add()
    first = page(book, caller="nobody")
    assert (first.records, store.reads) == ([], PAGE_STEPS)
    assert page(book, caller="nobody", cursor=first.cursor) == CallRecords([], None)
    assert store.reads == PAGE_STEPS + 2


def test_a_short_time_is_gone_to_at_once_wherever_it_is(store, book):
    with store.connection:
        for at in range(3 * STEP_ROWS):
            store.add(ended_at=float(at))
    late = store.add(ended_at=50.5)
    found = page(book, ended_after=50, ended_before=51)
    assert (numbers(found), found.cursor) == ([51, late], None)
    assert store.reads == 3  # not those before, and what is in between
    assert numbers(page(book, ended_after=51, ended_before=51)) == []
    assert store.reads == 4


def test_nothing_is_read_any_more_for_whoever_is_gone(store):
    class Slow:
        def read(self, query):
            self.asked = Pending()
            self.query = query
            return self.asked

    with store.connection:
        for _ in range(2 * STEP_ROWS):
            store.add()
    slow = Slow()
    pending = StoredRecords(slow).page(RecordQuery(caller="nobody"))
    first = slow.asked
    pending.is_abandoned = True
    first.set(slow.query(store.connection))
    assert slow.asked is first


def test_what_the_store_cannot_read_is_the_answer(store, book):
    store.connection.execute("DROP TABLE records")
    with pytest.raises(sqlite3.Error):
        page(book)


# Cursors


def test_a_cursor_is_good_after_a_restart(store, book):
    for _ in range(3):
        store.add()
    cursor = page(book, limit=1, gateway=None, order="desc").cursor
    again = StoredRecords(store)
    assert numbers(page(again, gateway=None, order="desc", cursor=cursor, fields=None)) == [2, 1]


@pytest.mark.parametrize(
    "other",
    [{"type": "webrtc"}, {"order": "desc"}, {"gateway": None}, {"ended_after": 1.0}, {"end_reason": ["normal"]}],
    ids=lambda other: next(iter(other)),
)
def test_a_cursor_is_good_for_the_same_question_only(store, book, other):
    store.add()
    store.add()
    cursor = page(book, limit=1, type="sip").cursor
    assert numbers(page(book, type="sip", cursor=cursor)) == [2]
    with pytest.raises(InvalidRequest) as refusal:
        page(book, **({"type": "sip", "cursor": cursor} | other))
    assert refusal.value.details == {"field": "cursor"}


@pytest.mark.parametrize("cursor", ["", "?", "AAAA", "é" * 24, "A" * 47, "A" * 48, "A" * 4096])
def test_what_is_not_a_cursor_is_refused(book, cursor):
    with pytest.raises(InvalidRequest) as refusal:
        page(book, cursor=cursor)
    assert refusal.value.details == {"field": "cursor"}
