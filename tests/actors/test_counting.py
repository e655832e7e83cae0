"""Counts by example; ``test_queries.py`` has them against a model."""

from __future__ import annotations

from typing import Any

import pytest
from entries import Entry, add

from sessiond.actors import counting
from sessiond.actors.counting import MAX_GROUPS, Counting
from sessiond.actors.directory import Directory
from sessiond.actors.errors import InvalidRequest, LimitExceeded
from sessiond.actors.params import CountQuery
from sessiond.actors.results import Count


@pytest.fixture
def directory() -> Directory[Entry]:
    return Directory()


def count(directory: Directory[Entry], **query: Any) -> Count:
    task = Counting(CountQuery(**query), directory)
    while (done := task.step()) is None:
        pass
    return done


def test_an_empty_service_counts_nothing(directory):
    assert count(directory) == Count(0)
    assert count(directory, by="state") == Count(0, {})


def test_sessions_are_counted_by_what_they_are(directory):
    for gateway, state in [("a", "active"), ("a", "held"), (None, "active"), ("b", "ended")]:
        add(directory, gateway=gateway, state=state)
    assert count(directory) == Count(3)
    assert count(directory, by="gateway") == Count(3, {"a": 2, "": 1})
    assert count(directory, ended="any", by="gateway") == Count(4, {"a": 2, "": 1, "b": 1})
    assert count(directory, gateway="a", by="state") == Count(2, {"active": 1, "held": 1})


def test_the_absent_value_and_the_empty_string_are_one_group(directory):
    add(directory, caller="")
    add(directory, caller=None)
    assert count(directory, by="caller") == Count(2, {"": 2})


def test_what_is_not_indexed_is_grouped_too(directory):
    add(directory, state="ended", end_reason="busy")
    add(directory, state="ended", end_reason="normal")
    assert count(directory, ended=True, by="end_reason") == Count(2, {"busy": 1, "normal": 1})


def test_more_groups_than_an_answer_can_take_are_refused(directory):
    for n in range(MAX_GROUPS):
        add(directory, caller=str(n))
    assert len(count(directory, by="caller").groups) == MAX_GROUPS
    add(directory)
    with pytest.raises(LimitExceeded) as refusal:
        count(directory, by="caller")
    assert refusal.value.details == {"limit": "groups", "maximum": MAX_GROUPS}


def test_contradicting_filters_are_refused(directory):
    with pytest.raises(InvalidRequest):
        count(directory, state="ended")


def test_groups_with_long_names_are_limited_by_their_bytes(monkeypatch):
    """A small request must not ask for megabytes."""
    monkeypatch.setattr(counting, "MAX_GROUP_BYTES", 3000)
    directory = Directory()
    for n in range(4):
        add(directory, caller=str(n) * 1000)
    with pytest.raises(LimitExceeded):
        Counting(CountQuery(by="caller"), directory).step()
    assert Counting(CountQuery(by="type"), directory).step().groups == {"sip": 4}
