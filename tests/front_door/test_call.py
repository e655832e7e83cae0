"""How a shell's words become a request, and an error a line and an exit code."""

from __future__ import annotations

import pytest

from sessiond.actors import errors
from sessiond.call import argument, call, error_line, exit_code
from sessiond.sources import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("active", "active"),
        ("+15550100", "+15550100"),
        ("0123", "0123"),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8057"),
        ("", ""),
        ("100", 100),
        ('"100"', "100"),
        ("null", None),
        ('{"type": "sip", "tags": [true, 1.5]}', {"type": "sip", "tags": [True, 1.5]}),
    ],
)
def test_an_argument_is_the_json_that_it_is_else_text(text, value):
    assert argument(text) == value


@pytest.mark.parametrize("text", ["{'type': 'sip'}", '{"state": "active"', "[1", '"open'])
def test_what_begins_like_json_and_is_none_is_a_usage_error(text):
    """It would else reach the service as a string, whose complaint about that helps nobody."""
    with pytest.raises(ConfigError, match="is no JSON"):
        argument(text)


def test_an_error_is_one_line():
    error = errors.VersionConflict("The session is\nat version 3", version=3, state="active")
    assert error_line(error) == 'version_conflict: The session is\\nat version 3 (version=3, state="active")'


def test_an_error_without_details_has_no_brackets():
    assert error_line(errors.NotFound("No such session")) == "not_found: No such session"


def test_a_line_names_no_field_where_that_is_the_request_as_a_whole():
    error = errors.InvalidRequest("This service keeps no records of calls", field="params")
    assert error_line(error) == "invalid_request: This service keeps no records of calls"


def test_every_error_has_an_exit_code_that_says_whose_fault_it_is():
    codes = {code: exit_code(kind("")) for code, kind in errors.BY_CODE.items()}
    assert {code for code, number in codes.items() if number == 3} == {"unavailable"}
    assert {code for code, number in codes.items() if number == 4} == {"timeout", "overloaded", "internal"}
    assert set(codes.values()) == {1, 3, 4}


def test_a_server_that_is_no_address_is_refused():
    with pytest.raises(ConfigError, match="--server must be HOST:PORT, not '7600'"):
        call("7600", 1.0, "ping", [])
