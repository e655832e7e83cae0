"""Lists of records against brute force over a plain list: any filters, all pages, in steps of few rows."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from record_store import awaited, record_store

from sessiond.actors.call_record import CallRecord
from sessiond.actors.record_params import RecordQuery
from sessiond.stores import record_search, record_span, records
from sessiond.stores.records import StoredRecords

# Few values, so that they meet; what a metadata value equals is the wire's business: True is not 1, 1 is 1.0.
types = st.sampled_from(["sip", "web\0rtc"])
names = st.sampled_from([None, "a", "b", "", "a\0", "é"])
directions = st.sampled_from([None, "inbound", "outbound"])
scalars = st.sampled_from(
    [
        True,
        False,
        1,
        1.0,
        0,
        -0.0,
        5e-324,
        -1.7e308,
        9007199254740993,
        "1",
        "true",
        'a":1',
        ',"k":1',
        '{"k":',
        "x,",
        "{",
        "\0",
        2**63 - 1,
        1e300,
        0.1,
    ]
)
keys = st.sampled_from(["k", 'q"', "é\0", ""])
times = st.integers(0, 6).map(float)
reasons = st.sampled_from(["normal", "busy", "own reason"])
parties = st.sampled_from(["caller", "gateway", "service"])


def several(values: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return values | st.lists(values, min_size=1, max_size=3)


kept = st.fixed_dictionaries({
    "type": types, "gateway": names, "external_id": names, "caller": names, "callee": names, "parent": names,
    "group": names, "direction": directions, "metadata": st.dictionaries(keys, scalars),
    "created_at": times, "ended_at": times, "end_reason": reasons, "ended_by": parties, "gap": st.integers(1, 3),
})  # fmt: skip
filters = st.fixed_dictionaries(
    {},
    optional={
        "type": types, "gateway": names, "external_id": names, "caller": names, "callee": names, "parent": names,
        "group": names, "direction": directions, "metadata": st.dictionaries(keys, scalars | st.none()),
        "created_after": times, "created_before": times, "ended_after": times, "ended_before": times,
        "end_reason": several(reasons), "ended_by": several(parties), "order": st.sampled_from(["asc", "desc"]),
    },
)  # fmt: skip


def same(value: object, wanted: object) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def matches(query: RecordQuery, record: dict[str, Any]) -> bool:
    """What the contract says of filters."""
    given = {name: value for name, value in query.given.items() if name in record and name != "metadata"}
    return (
        all(record[name] in (value if isinstance(value, list) else [value]) for name, value in given.items())
        and all(same(record["metadata"].get(key), value) for key, value in (query.metadata or {}).items())
        and (query.created_after is None or record["created_at"] >= query.created_after)
        and (query.created_before is None or record["created_at"] < query.created_before)
        and (query.ended_after is None or record["ended_at"] >= query.ended_after)
        and (query.ended_before is None or record["ended_at"] < query.ended_before)
    )


def walked(book: StoredRecords, query: RecordQuery, limits: list[int]) -> list[CallRecord]:
    """The records on all pages, which have so many at most, in turn."""
    found: list[CallRecord] = []
    turn = 0
    while True:
        query = msgspec.structs.replace(query, limit=limits[turn % len(limits)])
        page = awaited(book.page(query))
        assert len(page.records) <= query.limit
        found += page.records
        if page.cursor is None:
            return found
        query = msgspec.structs.replace(query, cursor=page.cursor)
        turn += 1


@settings(max_examples=300)
@given(
    st.lists(kept, max_size=15), st.lists(filters, min_size=1, max_size=4), st.lists(st.integers(1, 5), min_size=1),
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3),
)  # fmt: skip
def test_the_pages_hold_what_matches_once_each_and_in_order(
    tmp_path_factory, rows, queries, limits, step_rows, page_steps, step_ends, span_steps, batch
):
    path = tmp_path_factory.mktemp("records") / "store.db"
    with (
        record_store(path) as store,
        patch.object(record_search, "STEP_ROWS", step_rows),
        patch.object(record_span, "STEP_ENDS", step_ends),
        patch.object(record_span, "SPAN_STEPS", span_steps),
        patch.object(record_search, "BATCH", batch),
        patch.object(records, "PAGE_STEPS", page_steps),
    ):
        number = 0
        for row in rows:
            number += row.pop("gap")
            row["number"] = store.add(number=number, **row)
        for each in queries:
            query = msgspec.convert(each, RecordQuery)
            expected = [row["number"] for row in rows if matches(query, row)]
            if query.order == "desc":
                expected.reverse()
            found = walked(StoredRecords(store), query, limits)
            assert [record.number for record in found] == expected
            by_number = {row["number"]: row for row in rows}
            for record in found:
                shown = msgspec.structs.asdict(record)
                row = by_number[record.number]
                assert {name: shown[name] for name in row} == row
                assert list(map(type, record.metadata.values())) == list(map(type, row["metadata"].values()))
