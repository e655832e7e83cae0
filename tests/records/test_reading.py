"""Records come out of the store as they went in, in one step of SQLite for a batch."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_records import WALL, KeptRecords, timeline

from sessiond.actors import history
from sessiond.actors.call_record import CallRecord
from sessiond.actors.results import Author, HistoryEntry
from sessiond.records.reading import Reader
from sessiond.records.sink import Failed


def decoded(reader, after=0, most=100):
    return [msgspec.json.decode(each.json, type=CallRecord) for each in reader.after(after, most)]


def test_a_record_has_all_that_the_store_keeps(kept, reader):
    times = {"created_at": 1.7e9, "ringing_at": 1.7e9 + 2.25, "answered_at": 1.7e9 + 10.5, "ended_at": 1.7e9 + 70.75}
    told = {
        "id": "a",
        "type": "webrtc",
        "gateway": "gw-1",
        "epoch": "boot-7",
        "external_id": "x@y",
        "caller": "+1",
        "callee": "+2",
        "direction": "inbound",
        "parent": "p",
        "group": "g",
        "metadata": {"codec": "opus", "mos": 4.0, "count": 4, "big": 2**63 - 1, "yes": True},
        "end_reason": "busy",
        "ended_by": "callee",
        "sip_code": 486,
        "q850_cause": 17,
        "version": 9,
        **times,
    }
    kept.add(**told)
    (record,) = decoded(reader)
    assert record == CallRecord(
        number=3,
        setup_duration=10.5,
        ring_duration=8.25,
        talk_duration=60.25,
        duration=70.75,
        history=[
            HistoryEntry(WALL - 60, Author("gateway", "gw-1", "boot-7"), "created", state="active"),
            HistoryEntry(WALL, Author("gateway", "gw-1", "boot-7"), "ended", reason="normal"),
        ],
        history_dropped=0,
        **told,
    )
    assert [type(value) for value in record.metadata.values()] == [str, float, int, int, bool]


@pytest.mark.parametrize(
    ("ringing", "answered", "durations"),
    [(None, None, (60, 0, 0)), (-50, None, (60, 50, 0)), (None, -20, (40, 0, 20)), (-50, 10, (70, 60, 0))],
)
def test_durations_of_what_was_not_answered_or_not_in_order(ringing, answered, durations, kept, reader):
    kept.add(
        ringing_at=None if ringing is None else WALL + ringing,
        answered_at=None if answered is None else WALL + answered,
    )
    (record,) = decoded(reader)
    assert (record.setup_duration, record.ring_duration, record.talk_duration) == durations


texts = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = texts | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
times = st.floats(1.1e9, 9e10)


@given(
    caller=texts,
    metadata=st.dictionaries(texts, scalars, max_size=4),
    begin=times,
    end=times,
)
def test_nothing_changes_on_the_way(tmp_path_factory, caller, metadata, begin, end):
    """NUL among texts, all digits of times, and the kinds of scalars."""
    kept = KeptRecords(tmp_path_factory.mktemp("kept") / "store.db")
    reader = Reader(kept.path)
    kept.add(caller=caller, metadata=metadata, created_at=begin, answered_at=None, ended_at=end)
    (record,) = decoded(reader)
    assert (record.caller, record.created_at, record.ended_at) == (caller, begin, end)
    assert record.metadata == metadata
    assert list(map(type, record.metadata.values())) == list(map(type, metadata.values()))
    reader.close()
    kept.close()


def test_batches_are_in_order_and_leave_nothing_out(kept, reader):
    ids = kept.add(10)
    found, after = [], 0
    while batch := reader.after(after, 3):
        found += (msgspec.json.decode(each.json)["id"] for each in batch)
        after = batch[-1].number
    assert found == ids


def test_what_waits_is_counted_from_where_one_is(kept, reader):
    assert reader.count(0) == (0, 0)
    kept.add(5)
    assert reader.count(0) == (5, 15)
    assert reader.count(6) == (3, 15)
    assert reader.count(15) == (0, 15)


def test_since_when_it_waits_is_the_services_time_and_not_what_a_gateway_told(kept, reader):
    kept.add(ended_at=WALL - 1000, updated_at=WALL + 0.5)
    assert [each.since for each in reader.after(0, 1)] == [WALL + 0.5]


def test_authors_that_come_later_are_known_too(kept, reader):
    kept.add()
    assert decoded(reader)[0].history[0].author.gateway == "gw-1"
    kept.author(5, "gw-2", None)
    kept.add(timeline=timeline(author=5))
    assert decoded(reader)[1].history[0].author == Author("gateway", "gw-2")


def test_the_authors_of_every_store_and_one_that_is_forgotten(kept, reader):
    for number in (0, 1, 2, 3, 77):
        kept.add(timeline=timeline(author=number))
    kinds = [record.history[0].author for record in decoded(reader)]
    assert kinds == [Author(kind) for kind in ("client", "service", "admin", "gateway", "gateway")]


def test_a_history_that_lost_its_middle_says_so(kept, reader):
    long = timeline()
    for _ in range(100):
        long = history.noted(long, history.FIELDS, 4, WALL, history.named(["caller"]))
    kept.add(timeline=long)
    (record,) = decoded(reader)
    assert len(record.history) + record.history_dropped == 102


@pytest.mark.parametrize("broken", [b"timeline", timeline() + b"x", history.noted(b"", 99, 4, 1.0)])
def test_a_history_that_cannot_be_read_holds_up_nothing(broken, kept, reader, caplog):
    kept.add(timeline=broken)
    kept.add()
    first, second = decoded(reader)
    assert (first.history, len(second.history)) == ([], 2)
    assert "The history of call record 3 cannot be read" in caplog.text


def test_a_store_that_cannot_be_read_is_a_failure_that_may_pass(tmp_path):
    reader = Reader(str(tmp_path / "store.db"))
    with pytest.raises(Failed, match="the store cannot be read"):
        reader.after(0, 1)
    kept = KeptRecords(tmp_path / "store.db")
    kept.add()
    assert len(reader.after(0, 1)) == 1
    assert math.isfinite(reader.after(0, 1)[0].since)
    reader.close()
    kept.close()
