"""What the example takes from SIP messages, without a SIP message in sight."""

from __future__ import annotations

import pytest
from sip import example

calls = example("calls")


@pytest.mark.parametrize(
    ("reason", "codes"),
    [
        ("busy", (486, 600)),
        ("no_answer", (408, 480)),
        ("canceled", (487,)),
        ("rejected", (403, 603)),
        ("failed", (300, 404, 500, 503, 606)),
    ],
)
def test_the_final_answer_tells_why_a_call_ended(reason, codes):
    assert {calls.end_reason(code) for code in codes} == {reason}


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ("Q.850;cause=16", 16),
        ('q.850 ; text="x" ; cause = 31', 31),
        ('SIP;cause=200;text="Elsewhere", Q.850;cause=26', 26),
        ("SIP;cause=200", None),
        ("Q.850;text=none, SIP;cause=200", None),
        ("Q.850;cause=128", None),
        ("", None),
        (None, None),
    ],
)
def test_the_reason_header_tells_the_cause(header, cause):
    assert calls.q850_cause(header) == cause


def description(*lines):
    return "\r\n".join(("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", *lines, ""))


HERE = "c=IN IP4 192.0.2.1"
AUDIO = "m=audio 4000 RTP/AVP 0"
VIDEO = "m=video 4002 RTP/AVP 99"
FLOWING = description(HERE, AUDIO)
ON_HOLD = description(HERE, AUDIO, "a=sendonly")


@pytest.mark.parametrize(
    "held",
    [
        ON_HOLD,
        description(HERE, AUDIO, "a=recvonly"),
        description(HERE, AUDIO, "a=inactive"),
        description(HERE, "a=sendonly", AUDIO),
        description("c=IN IP4 0.0.0.0", AUDIO),
        description(HERE, AUDIO, "c=IN IP4 0.0.0.0"),
        description(HERE, AUDIO, "a=inactive", VIDEO, "a=inactive"),
        description(HERE, AUDIO, "a=inactive", "m=video 0 RTP/AVP 99"),
    ],
)
def test_a_description_is_on_hold_if_nothing_flows_both_ways(held):
    assert calls.is_on_hold(held)


@pytest.mark.parametrize(
    "flowing",
    [
        FLOWING,
        description(HERE, AUDIO, "a=sendrecv"),
        description(HERE, "a=inactive", AUDIO, "a=sendrecv"),
        description(HERE, AUDIO, VIDEO, "a=inactive"),
        description("c=IN IP4 0.0.0.0", AUDIO, HERE),
        description(HERE, AUDIO, "a=rtpmap:0 sendonly"),
        description(HERE, "m=audio 0 RTP/AVP 0", "a=inactive"),
        description(HERE),
    ],
)
def test_a_description_is_not_on_hold_otherwise(flowing):
    assert not calls.is_on_hold(flowing)


@pytest.mark.parametrize(
    ("descriptions", "state"),
    [
        ((FLOWING, FLOWING), "active"),
        ((ON_HOLD, FLOWING), "held"),
        ((FLOWING, ON_HOLD), "held"),
        ((None, ON_HOLD), "held"),
        ((None, FLOWING), "active"),
        ((None, None), None),
        (("", ""), None),
    ],
)
def test_either_side_can_hold_a_call(descriptions, state):
    assert calls.state_after_offer(*descriptions) == state
