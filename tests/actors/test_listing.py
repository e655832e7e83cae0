"""Pages by example; ``test_queries.py`` has them against a model."""

from __future__ import annotations

from typing import Any

import pytest
from entries import Entry, add
from msgspec.structs import replace

from sessiond.actors.directory import Directory
from sessiond.actors.errors import InvalidRequest
from sessiond.actors.listing import PAGE_WEIGHT, Listing
from sessiond.actors.params import ListQuery
from sessiond.actors.results import Page
from sessiond.actors.selection import STEP_BUDGET


@pytest.fixture
def directory() -> Directory[Entry]:
    return Directory()


def page(directory: Directory[Entry], instance: str = "instance", **query: Any) -> Page:
    listing = Listing(ListQuery(**query), directory, lambda entry: entry.record, instance)
    while (done := listing.step()) is None:
        pass
    return done


def ids(page: Page) -> list[str]:
    return [session.id for session in page.sessions]


def test_an_empty_service_has_one_empty_page(directory):
    assert page(directory) == Page([], None)


def test_the_last_page_has_no_cursor_even_when_it_is_full(directory):
    for _ in range(4):
        add(directory)
    first = page(directory, limit=2)
    assert ids(first) == ["id-1", "id-2"]
    second = page(directory, limit=2, cursor=first.cursor)
    assert ids(second) == ["id-3", "id-4"]
    assert second.cursor is None


def test_the_newest_come_first_when_asked_for(directory):
    for _ in range(3):
        add(directory)
    first = page(directory, limit=2, order="desc")
    assert ids(first) == ["id-3", "id-2"]
    assert ids(page(directory, limit=2, order="desc", cursor=first.cursor)) == ["id-1"]


def test_only_the_fields_asked_for_are_shown(directory):
    add(directory, caller="+1")
    assert page(directory, fields=["id", "caller", "callee"]).sessions == [
        {"id": "id-1", "caller": "+1", "callee": None}
    ]


def test_what_is_shown_is_the_view_of_an_entry(directory):
    entry = add(directory)
    shown = replace(entry.record, expires_at=7.0)
    assert Listing(ListQuery(), directory, lambda _: shown, "instance").step() == Page([shown], None)


def test_a_page_of_fat_sessions_ends_early(directory):
    for _ in range(30):
        add(directory, metadata={"note": "x" * 16_000})
    first = page(directory, limit=500)
    assert len(first.sessions) == PAGE_WEIGHT // 16_000 + 1
    rest = page(directory, limit=500, cursor=first.cursor)
    assert ids(first) + ids(rest) == [f"id-{n}" for n in range(1, 31)]
    assert rest.cursor is None


def test_a_scan_for_what_is_not_indexed_is_made_in_bounded_steps(directory):
    for n in range(4 * STEP_BUDGET):
        add(directory, metadata={"n": n})
    looks = []
    listing = Listing(ListQuery(metadata={"n": -1}), directory, looks.append, "instance")
    steps = 1
    while listing.step() is None:
        steps += 1
    assert steps >= 4
    assert looks == []


@pytest.mark.parametrize(
    "query", [{"state": "ended"}, {"state": ["active", "ended"]}, {"state": "ended", "ended": False}]
)
def test_naming_the_state_ended_without_asking_for_ended_sessions_is_refused(directory, query):
    with pytest.raises(InvalidRequest) as refusal:
        page(directory, **query)
    assert refusal.value.details == {"field": "state"}


def test_ended_sessions_are_listed_on_demand(directory):
    add(directory)
    add(directory, state="ended")
    assert ids(page(directory)) == ["id-1"]
    assert ids(page(directory, ended=True)) == ids(page(directory, ended="any", state="ended")) == ["id-2"]
    assert ids(page(directory, ended="any")) == ["id-1", "id-2"]
    assert ids(page(directory, ended=True, state="active")) == []


@pytest.mark.parametrize(
    "other",
    [{"type": "webrtc"}, {"order": "desc"}, {"ended": "any"}, {"gateway": None}, {"instance": "restarted"}],
    ids=lambda other: next(iter(other)),
)
def test_a_cursor_is_good_for_the_same_question_only(directory, other):
    add(directory)
    add(directory)
    cursor = page(directory, limit=1, type="sip").cursor
    assert ids(page(directory, limit=500, fields=None, type="sip", cursor=cursor)) == ["id-2"]
    with pytest.raises(InvalidRequest) as refusal:
        page(directory, **({"type": "sip", "cursor": cursor} | other))
    assert refusal.value.details == {"field": "cursor"}


@pytest.mark.parametrize("cursor", ["", "?", "AAAA", "é" * 24, "A" * 23, "A" * 24, "A" * 4096])
def test_what_is_not_a_cursor_is_refused(directory, cursor):
    with pytest.raises(InvalidRequest) as refusal:
        page(directory, cursor=cursor)
    assert refusal.value.details == {"field": "cursor"}
