"""The page: who shares one, who waits for the next, and that writing it in pieces changes nothing of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from prometheus_client import exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics

from sessiond.metrics import page
from sessiond.metrics.page import OPENMETRICS, TEXT, Page


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(page, "PAUSE", 0)


class Work:
    """Collects, in two steps, how often anything was collected."""

    def __init__(self) -> None:
        self.begun = 0
        self.collecting = asyncio.Event()

    def __call__(self) -> Work:
        self.begun += 1
        self.collecting.set()
        self._steps = 0
        return self

    def step(self):
        self._steps += 1
        if self._steps == 1:
            return None
        histogram = HistogramMetricFamily("took_seconds", 'Help with a "quote" and a \\', labels=("kind",))
        histogram.add_metric(('odd "\n\\ é',), [("0.5", 1), ("+Inf", 2)], 1e9)
        return [
            GaugeMetricFamily("begun", "Help.", self.begun),
            CounterMetricFamily("empty", "Help.", labels=("kind",)),
            histogram,
        ]

    def collect(self):
        """As prometheus_client wants it, to compare."""
        work = Work()()
        work.begun = self.begun
        work.step()
        return work.step()


def begun(text: bytes) -> int:
    return int(float(next(line for line in text.decode().splitlines() if line.startswith("begun ")).split()[1]))


@pytest.mark.parametrize(
    ("form", "encode"), [(TEXT, exposition.generate_latest), (OPENMETRICS, openmetrics.generate_latest)]
)
async def test_the_pieces_make_what_prometheus_client_makes_in_one(form, encode):
    work = Work()
    shown = Page(work, form)
    shown._process = SimpleNamespace(collect=list)
    assert await shown.text() == encode(work)


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS])
async def test_the_process_is_on_the_page_too(form):
    text = (await Page(Work(), form).text()).decode()
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"):
        assert f"\nprocess_{name} " in text


async def test_who_asks_together_gets_the_same_page():
    work = Work()
    shown = Page(work, TEXT)
    texts = await asyncio.gather(*(shown.text() for _ in range(50)))
    assert work.begun == 1
    assert len(set(texts)) == 1


async def test_nobody_gets_a_page_from_before_the_question():
    work = Work()
    shown = Page(work, TEXT)
    first = asyncio.create_task(shown.text())
    await work.collecting.wait()
    second, third = asyncio.create_task(shown.text()), asyncio.create_task(shown.text())
    assert begun(await first) == 1
    assert [begun(await each) for each in (second, third)] == [2, 2]


async def test_pages_are_made_with_a_pause_between(monkeypatch):
    monkeypatch.setattr(page, "PAUSE", 1000)
    loop = asyncio.get_running_loop()
    work = Work()
    paused = Page(work, TEXT)
    await paused.text()
    second = asyncio.create_task(paused.text())
    for _ in range(20):
        await asyncio.sleep(0)
    assert work.begun == 1
    loop.step(1000)
    assert begun(await second) == 2


async def test_the_loop_has_a_turn_between_any_two_pieces():
    """Of the loop's turns while a page is made, there are as many as steps and families."""
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    turn()
    text = await Page(Work(), TEXT).text()
    assert turns >= 2 + text.count(b"# TYPE")


async def test_a_failure_is_for_those_who_asked_and_for_nobody_after():
    work = Work()
    shown = Page(lambda: work() if work.begun else 1 / 0, TEXT)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await shown.text()
    work.begun = 1
    assert begun(await shown.text()) == 2


async def test_who_goes_away_while_the_page_is_made_leaves_it_to_the_others():
    work = Work()
    shown = Page(work, TEXT)
    first, second = asyncio.create_task(shown.text()), asyncio.create_task(shown.text())
    await work.collecting.wait()
    first.cancel()
    assert begun(await second) == 2
    assert first.cancelled()
