"""What a request and a session cost, against what was written down: counts, which no busy machine can change.

Who makes something dearer on purpose, or cheaper, takes them anew with ``scripts/budgets`` and commits the difference.
"""

from __future__ import annotations

import pytest
from costs import VERSION, Cost, Meter, bytes_kept, bytes_per_session, costs_of_requests, written

from sessiond.transport.methods import METHODS

WRITTEN = written()
SLACK = 1.05
"""A request may cost so much more than was written down; then it is another request."""
MEMORY_SLACK = 1.02
"""The same of a session's memory: less than one more object of any use."""
PROMISED_BYTES = 1700
"""A session of ten fields and four keys of metadata never takes more, whatever was written down."""


@pytest.fixture(scope="module")
def costs():
    return costs_of_requests()


def excess(what: str, unit: str, now: int, taken: int, slack: float = SLACK) -> str:
    """What is to be said of a cost that is too high; nothing if it is not."""
    allowed = int(taken * slack)
    if now <= allowed:
        return ""
    return f"{what}: {now:,} {unit}; {taken:,} were written down and {allowed:,} are allowed (scripts/budgets)"


@pytest.mark.parametrize("request_name", WRITTEN["requests"])
def test_a_request_makes_no_more_calls_than_it_did(request_name, costs):
    """Of Python and of C. Hardly anything that costs time does without."""
    too_many = excess(request_name, "calls", costs[request_name].calls, WRITTEN["requests"][request_name]["calls"])
    assert not too_many, too_many


@pytest.mark.parametrize("request_name", WRITTEN["requests"])
def test_a_request_takes_no_more_instructions_than_it_did(request_name, costs):
    """As they are where Python is the version that they were counted on, else in proportion to those of the others."""
    now, taken = costs[request_name], Cost(**WRITTEN["requests"][request_name])
    scale = 1.0 if WRITTEN["python"] == VERSION else in_terms_of_written(costs)
    too_many = excess(request_name, "instructions", round(now.instructions * scale), taken.instructions)
    assert not too_many, too_many


def in_terms_of_written(costs) -> float:
    """How many instructions of the version that they were counted on make one of this version's.

    Versions cut the same work into more or fewer instructions, but much alike for all requests.
    """
    then = sum(cost["instructions"] for cost in WRITTEN["requests"].values())
    return then / sum(cost.instructions for cost in costs.values())


def test_every_request_has_its_budget(costs):
    assert set(costs) == set(WRITTEN["requests"])
    assert {name.split()[0].rstrip(",") for name in costs} == set(METHODS)


# Memory


def test_a_session_takes_no_more_memory_than_it_did():
    """Another version of Python makes objects of other sizes; what was promised holds on all."""
    now = bytes_per_session()
    assert now <= PROMISED_BYTES
    if WRITTEN["python"] == VERSION:
        too_much = excess("a session", "bytes", now, WRITTEN["bytes_per_session"], MEMORY_SLACK)
        assert not too_much, too_much


LIVES = {
    "touch": [("touch_session",)],
    "hold and retrieve": [("update_session_state", "held"), ("update_session_state", "active")],
    "metadata": [("update_session_metadata", {"codec": "pcmu"}), ("update_session_metadata", {"codec": "opus"})],
    "new metadata": [("update_session_metadata", {"mos": 4.1}), ("update_session_metadata", {"mos": None})],
    "fields": [("update_session", {"callee": "+1"}), ("update_session", {"callee": "+2"})],
    "timeouts": [("update_session", {"idle_timeout": 60}), ("update_session", {"idle_timeout": 90})],
    "look": [("get_session",)],
}
"""Requests that go on and on while a session is up, by what they are about."""


@pytest.mark.parametrize("requests", LIVES.values(), ids=LIVES)
def test_a_thousand_requests_leave_nothing_behind(requests):
    def life(ids):
        answer = [("update_session_state", session_id, "active") for session_id in ids]
        often = 1000 // len(requests) // len(ids)
        return answer + [(method, each, *params) for _ in range(often) for each in ids for method, *params in requests]

    kept = bytes_kept(life)
    assert kept <= 0, f"1,000 requests leave {kept:,} bytes behind"


# The meter itself


def test_the_meter_counts_calls_of_python_and_of_c():
    def work():
        return len("a"), abs(-1)

    meter = Meter()
    meter.count(work)
    assert meter.calls == 3


def test_the_meter_counts_instructions():
    def work(rounds):
        for _ in range(rounds):
            pass

    counts = []
    for rounds in (0, 100, 200):
        meter = Meter()
        meter.count(lambda rounds=rounds: work(rounds))
        counts.append(meter.instructions)
    assert counts[2] - counts[1] == counts[1] - counts[0] >= 200


@pytest.mark.parametrize(("now", "said"), [(104, ""), (105, ""), (106, "x: 106 calls; 100 were written down and 105")])
def test_an_excess_says_what_was_counted_and_what_is_allowed(now, said):
    assert excess("x", "calls", now, 100).startswith(said)
    assert bool(excess("x", "calls", now, 100)) == bool(said)
