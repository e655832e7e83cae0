"""Numbers are put together as the page says that they are."""

from __future__ import annotations

import pytest

from benchmarks import tables
from benchmarks.names import (
    CLIENTS,
    ECHO,
    PEERS,
    REDIS_LUA,
    REDIS_PLAIN,
    RIVALS,
    SESSIOND,
    SESSIOND_COMMIT,
    SHORT,
    STORES,
)
from benchmarks.results import Machine, Options, Results, Sample, Size, load, save
from benchmarks.scenarios import ALL_SIZES, CLIENT_CALLS, CLOSED, OPEN, SCENARIOS, SIZES, STORED, STORED_OPEN
from benchmarks.summary import median, of, paired_ratio, rate, spread

MACHINE = Machine("a processor", 2, 4 * 2**30, "Linux 6.1", "CPython 3.11.7", "GCC", {"sessiond": "1", "Redis": "7"})
LATENCIES = {"50": 1.0, "90": 2.0, "99": 3.0, "99.9": 4.0, "max": 5.0}


def sample(peer, number, speed, scenario=CLOSED[0].name, **others):
    facts = {"cpu_us": 10.0, "busy": 1.0, "latencies": LATENCIES, "errors": {}} | others
    return Sample(scenario, peer, number, speed, **facts)


def results(*samples, sizes=()):
    return Results("2026-01-01", MACHINE, Options(3, 1.0, 0, 1), list(samples), list(sizes))


def rows(table):
    """The cells of each row, by its first one."""
    lines = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in table.splitlines()[2:]]
    return {cells[0]: cells[1:] for cells in lines}


MEASURED = [
    *(sample(SESSIOND, number, speed) for number, speed in enumerate([100, 220, 90])),
    *(sample(REDIS_LUA, number, speed) for number, speed in enumerate([100, 200, 30])),
]


def test_a_ratio_is_the_median_of_those_within_rounds():
    ours, theirs = (of(MEASURED, CLOSED[0].name, peer) for peer in (SESSIOND, REDIS_LUA))
    assert paired_ratio(ours, theirs) == 1.1
    assert paired_ratio(ours[:1], theirs[1:]) is None
    assert median(ours, rate) == 100
    assert spread(ours, rate) == (90, 220)


def test_a_table_has_a_row_for_each_peer_that_was_measured():
    found = rows(tables.closed_loop(results(*MEASURED), CLOSED[0]))
    assert list(found) == [PEERS[SESSIOND], PEERS[REDIS_LUA]]
    assert found["sessiond"][:2] == ["100", "90 to 220"]
    assert found["sessiond"][6] == "1.10"


def test_a_peer_whose_core_had_time_left_is_marked():
    found = rows(tables.closed_loop(results(sample(ECHO, 0, 1000, busy=0.5)), CLOSED[0]))
    assert found[PEERS[ECHO]][0] == "≥ 1,000"


def test_nothing_measured_is_no_table():
    assert tables.closed_loop(results(), CLOSED[0]) == "Not measured."
    assert tables.at_a_fixed_rate(results()) == "Not measured."
    assert tables.clients(results()) == "Not measured."


def test_a_fixed_rate_compares_the_slowest():
    slow = LATENCIES | {"99": 6.0}
    measured = [
        sample(SESSIOND, 0, 24_000, OPEN.name),
        sample(REDIS_LUA, 0, 24_000, OPEN.name, latencies=slow),
    ]
    found = rows(tables.at_a_fixed_rate(results(*measured)))
    assert found["sessiond"][3] == "3.00"
    assert "0.50" in found["sessiond"][7:]


def test_a_store_is_compared_with_none():
    slow = LATENCIES | {"99": 7.5}
    measured = [
        sample(SESSIOND, 0, 100, STORED.name),
        sample(SESSIOND_COMMIT, 0, 50, STORED.name, busy=0.5),
        sample(SESSIOND, 0, 24_000, STORED_OPEN.name),
        sample(SESSIOND_COMMIT, 0, 24_000, STORED_OPEN.name, latencies=slow),
    ]
    assert rows(tables.stores(results(*measured)))[PEERS[SESSIOND_COMMIT]][0::6] == ["50", "0.50"]
    found = rows(tables.stores_at_a_fixed_rate(results(*measured)))
    assert found["sessiond"][-1] == ""
    assert found[PEERS[SESSIOND_COMMIT]][-1] == "4.50"


def test_a_client_is_compared_with_its_like():
    measured = [sample(name, 0, 1000 if name in RIVALS else 100, CLIENT_CALLS) for name in CLIENTS]
    found = rows(tables.clients(results(*measured)))
    assert all((found[title][2] == "10") is (name in RIVALS) for name, title in CLIENTS.items())


def test_memory_is_told_per_session():
    found = rows(tables.memory(results(sizes=[Size(SESSIOND, 1000, 1_500_000), Size(REDIS_LUA, 3000, 2_100_000)])))
    assert found["1,000"][0] == "1,500"
    assert found["3,000"][-1] == "700"


def test_what_went_wrong_is_told():
    assert tables.errors(results(*MEASURED)) == "No request failed."
    told = tables.errors(results(sample(SESSIOND, 1, 1, errors={"internal": 3}), sample(ECHO, 0, 1, behind=7)))
    assert "sessiond in 50x1, round 2: 3 times internal" in told
    assert "echo in 50x1, round 1: 7" in told


def test_another_interpreter_stands_beside():
    table = tables.beside([results(*MEASURED), results(*MEASURED)])
    assert table.count("CPython 3.11.7") == 2
    assert "1.10" in table


def test_raw_results_are_read_as_they_were_written(tmp_path):
    measured = results(*MEASURED, sizes=[Size(SESSIOND, 1000, 1_500_000)])
    save(measured, tmp_path / "results" / "default.json")
    assert load(tmp_path / "results" / "default.json") == measured


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_whoever_others_are_compared_with_is_measured_too(scenario):
    assert set(scenario.bases) <= set(scenario.peers) <= set(PEERS)
    assert set(scenario.bases) <= set(SHORT)


def test_memory_is_measured_at_ascending_sizes():
    for counts in (*SIZES.values(), *ALL_SIZES.values()):
        assert list(counts) == sorted(counts)
    assert STORES.keys() == PEERS.keys()
    assert REDIS_PLAIN not in SIZES
