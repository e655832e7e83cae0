"""What the methods take and what they refuse, in process: each refusal names its field, and changes nothing."""

from __future__ import annotations

import enum
import math
from types import MappingProxyType

import pytest
from services import service

from sessiond.actors.errors import InvalidRequest
from sessiond.actors.params import MAX_METADATA_BYTES, MAX_STRING_BYTES

LONG = "x" * (MAX_STRING_BYTES + 1)
WIDE = "é" * (MAX_STRING_BYTES // 2 + 1)
"""Few enough characters, and too many bytes."""
BROKEN = "\ud800"
"""Half a character: no text that could be sent."""


@pytest.fixture(scope="module")
def manager():
    with service() as running:
        yield running


@pytest.fixture
def session_id(manager):
    return manager.create(state="active")


def refused(call, *args, **options):
    """The field for which a call is refused."""
    with pytest.raises(InvalidRequest) as caught:
        call(*args, **options)
    assert caught.value.details["field"] in str(caught.value)
    return caught.value.details["field"]


def values(*wrong):
    return [pytest.param(value, id=f"{value!r:.20}") for value in wrong]


NO_TEXT = (5, b"x", ["x"], {}, LONG, WIDE, BROKEN)
NO_SECONDS = (-1, "5", math.nan, math.inf, -math.inf, 1e10, True, [])
NO_EPOCH = (-1, "5", math.nan, math.inf, 1e12, True)
WRONG_FIELDS = {
    "type": (None, "", "x" * 65, *NO_TEXT),
    "state": ("ended", "dialing", "", 5, ["active"]),
    "gateway": ("", *NO_TEXT),
    "external_id": ("", *NO_TEXT),
    "caller": NO_TEXT,
    "callee": NO_TEXT,
    "direction": ("sideways", "", 5),
    "setup_timeout": NO_SECONDS,
    "idle_timeout": NO_SECONDS,
    "max_duration": NO_SECONDS,
    "request_id": ("", *NO_TEXT),
    "at": NO_EPOCH,
    "answered_at": NO_EPOCH,
    "colour": ("red", None),
    "id": ("x",),
    "version": (1,),
}


@pytest.mark.parametrize(
    ("field", "wrong"),
    [pytest.param(field, wrong, id=f"{field}-{wrong!r:.20}") for field, many in WRONG_FIELDS.items() for wrong in many],
)
def test_a_create_with_a_wrong_field_is_refused(manager, field, wrong):
    before = len(manager.context.directory.by_id)
    assert refused(manager.create_session, **({"type": "sip", "state": "active"} | {field: wrong})) == field
    assert len(manager.context.directory.by_id) == before


def test_a_create_without_a_type_is_refused(manager):
    assert refused(manager.create_session, caller="x") == "type"


@pytest.mark.parametrize(
    "metadata",
    values(
        5,
        "x",
        [],
        {1: 2},
        {"a": None},
        {"a": []},
        {"a": {}},
        {"a": b"x"},
        {"a": math.nan},
        {"a": math.inf},
        {"a": 2**63},
        {"a": -(2**63) - 1},
        {"a": LONG},
        {"a": WIDE},
        {"a": BROKEN},
        {LONG: 1},
        {WIDE: 1},
        {BROKEN: 1},
        {str(number): number for number in range(65)},
        {str(number): "x" * (MAX_METADATA_BYTES // 5) for number in range(5)},
        MappingProxyType({"a": WIDE}),
    ),
)
def test_metadata_is_a_small_map_of_scalars(manager, metadata):
    assert refused(manager.create, metadata=metadata) == "metadata"


@pytest.mark.parametrize(
    "metadata", values({"a": 2**63 - 1}, {"a": -(2**63)}, {"a": 1e308}, {"": ""}, {"a": "x" * MAX_STRING_BYTES}, {})
)
def test_metadata_may_be_as_large_as_that(manager, metadata):
    assert manager.get(manager.create(metadata=metadata)).metadata == metadata


def test_what_was_given_may_be_changed_afterwards(manager):
    """A session keeps what was said, not the objects that said it."""
    metadata = {"a": 1}
    session_id = manager.create(metadata=metadata)
    metadata["a"] = 2
    manager.update_session_metadata(session_id, metadata)
    metadata["a"] = 3
    assert manager.get(session_id).metadata == {"a": 2}


class Kind(enum.StrEnum):
    """As a program may have for its own types."""

    SIP = "sip"


def test_an_enumeration_of_strings_will_do(manager):
    assert manager.get(manager.create(type=Kind.SIP)).type == "sip"


@pytest.mark.parametrize("wrong", values(5, "", "x" * 65, BROKEN, ["normal"]))
def test_a_reason_is_a_short_name(manager, session_id, wrong):
    assert refused(manager.end_session, session_id, wrong) == "reason"
    assert manager.get(session_id).state == "active"


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("ended_by", "nobody"),
        ("ended_by", 5),
        ("sip_code", 99),
        ("sip_code", 700),
        ("sip_code", "486"),
        ("sip_code", True),
        ("q850_cause", -1),
        ("q850_cause", 128),
        ("at", math.nan),
        ("answered_at", -1),
        ("colour", "red"),
    ],
)
def test_an_end_with_a_wrong_option_is_refused(manager, session_id, option, wrong):
    assert refused(manager.end_session, session_id, **{option: wrong}) == option
    assert manager.get(session_id).state == "active"


@pytest.mark.parametrize("field", ["caller", "callee", "external_id", "setup_timeout", "idle_timeout", "max_duration"])
def test_an_update_with_a_wrong_value_is_refused(manager, session_id, field):
    for wrong in WRONG_FIELDS[field]:
        assert refused(manager.update_session, session_id, **{field: wrong}) == field
    assert manager.get(session_id).version == 1


@pytest.mark.parametrize("wrong", values(5, None, ["active"], "", "dialing"))
def test_a_state_is_one_of_five(manager, session_id, wrong):
    assert refused(manager.update_session_state, session_id, wrong) == "state"


@pytest.mark.parametrize("wrong", values(*NO_EPOCH))
def test_a_moment_is_in_seconds_since_the_epoch(manager, session_id, wrong):
    """Milliseconds, for one, are no seconds."""
    assert refused(manager.update_session_state, session_id, "held", at=wrong) == "at"


@pytest.mark.parametrize("wrong", values(5, None, [], b"x", LONG))
def test_an_id_is_a_text(manager, wrong):
    assert refused(manager.get_session, wrong) == "id"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "external_id"),
        ({"gateway": "g"}, "external_id"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": None}, "external_id"),
        ({"external_id": "x", "gateway": ""}, "gateway"),
        ({"external_id": "x", "gateway": 5}, "gateway"),
        ({"external_id": "x", "colour": "red"}, "colour"),
    ],
)
def test_an_address_is_an_external_id_and_a_gateway(manager, wrong, field):
    assert refused(manager.get_session, wrong) == field
