"""What a server answers decides whether records are there, will be, or never."""

from __future__ import annotations

import pytest

from sessiond.records.answers import judge
from sessiond.records.sink import Failed, Refused

NOW = 1_700_000_000.0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_taken(status):
    judge(status, None, b"whatever", NOW)


@pytest.mark.parametrize("status", [400, 402, 406, 409, 411, 413, 415, 422, 451, 499])
def test_refused(status):
    with pytest.raises(Refused):
        judge(status, None, b"", NOW)


@pytest.mark.parametrize(
    "status", [301, 302, 307, 308, 401, 403, 404, 405, 407, 408, 410, 421, 425, 426, 429, 500, 502, 503, 504, 599]
)
def test_not_now(status):
    """Redirects are not followed; who is not let in, or finds nobody, has said nothing of the records."""
    with pytest.raises(Failed):
        judge(status, None, b"", NOW)


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        (None, 0),
        ("7", 7),
        ("0", 0),
        ("100000", 300),
        ("9" * 500, 300),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("", 0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0),
        ("Tue, 14 Nov 2099 22:00:00 GMT", 300),
    ],
)
def test_when_to_come_again_is_believed_within_bounds(retry_after, pause):
    with pytest.raises(Failed) as caught:
        judge(503, retry_after, b"", NOW)
    assert caught.value.pause == pause


def test_the_beginning_of_what_it_says_is_told():
    with pytest.raises(Refused) as caught:
        judge(422, None, b" unknown account\xff\n" + b"x" * 1000, NOW)
    text = str(caught.value)
    assert text.startswith("HTTP status 422: unknown account")
    assert len(text) < 250
