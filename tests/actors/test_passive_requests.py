"""Repeated creates of sessions that have left memory."""

from __future__ import annotations

import pytest

from sessiond.actors.errors import Conflict
from sessiond.actors.params import NewSession
from sessiond.actors.passive_requests import PassiveRequests
from sessiond.actors.requests import RequestKey

NEW = NewSession(type="sip", gateway="a", request_id="r")
KEY = RequestKey("a", "r")


def test_a_request_is_known_again_once_its_session_is_back():
    requests = PassiveRequests()
    requests.remember(NEW, "id-1")
    assert requests.candidates(NEW) == []
    known = requests.passivate(KEY, 1)
    assert requests.find(NEW) is None
    assert requests.candidates(NEW) == [1]
    assert requests.candidates(NewSession(type="sip", gateway="b", request_id="r")) == []
    assert len(requests) == 1
    requests.revive(KEY, 1, known)
    assert requests.candidates(NEW) == []
    assert requests.find(NEW) == "id-1"
    with pytest.raises(Conflict):
        requests.find(NewSession(type="webrtc", gateway="a", request_id="r"))
    requests.forget(KEY)
    assert len(requests) == 0
