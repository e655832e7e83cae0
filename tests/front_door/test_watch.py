"""The watch on the loop: what it takes for a stall, and for how long it remembers the longest."""

from __future__ import annotations

import asyncio
import re
import urllib.request

from sessiond.watch import INTERVAL, WINDOW, Longest, LoopWatch


class Loop:
    """A clock and a ``call_later`` that the test moves. Its callbacks come as late as it says."""

    def __init__(self):
        self.now = 100.0
        self.calls = []

    def call_later(self, seconds, callback):
        self.calls.append((self.now + seconds, callback))

    def go_on(self, late=0.0):
        """Come round to what is due next, so many seconds late."""
        (due, callback), self.calls = self.calls[0], self.calls[1:]
        self.now = due + late
        callback()


def watching():
    loop = Loop()
    watch = LoopWatch(loop.call_later, lambda: loop.now)
    watch.start()
    return loop, watch


def counts(histogram):
    """How many by upper bound, where there are any."""
    return {bound: count for bound, count in zip((*histogram.bounds, "more"), histogram.counts, strict=True) if count}


def test_a_loop_that_comes_round_in_time_has_no_stalls():
    loop, watch = watching()
    for _ in range(10):
        loop.go_on()
    assert counts(watch.stalls) == {0.001: 10}
    assert watch.stalls.sum == 0
    assert watch.longest_stall == 0


def test_a_stall_is_as_long_as_the_timer_waited():
    loop, watch = watching()
    for late in (0.015625, 0, 0.75, 3):
        loop.go_on(late)
    assert counts(watch.stalls) == {0.001: 1, 0.02: 1, 1.0: 1, "more": 1}
    assert abs(watch.stalls.sum - 3.765625) < 1e-9
    assert abs(watch.longest_stall - 3) < 1e-9


def test_a_timer_that_comes_early_has_not_waited():
    loop, watch = watching()
    loop.go_on(-0.0005)
    assert watch.stalls.sum == 0


def test_it_looks_again_an_interval_after_each_look():
    """And does not catch up on looks that it missed: one stall is one stall."""
    loop, _ = watching()
    loop.go_on(2)
    assert [due for due, _ in loop.calls] == [loop.now + INTERVAL]


def test_the_longest_is_remembered_for_a_window_and_forgotten_after_two():
    longest = Longest()
    longest.note(0.001, 1000)
    longest.note(0.5, 1000 + WINDOW - 1)
    longest.note(0.002, 1000 + WINDOW)
    assert longest.seconds == 0.5
    longest.note(0.003, 1000 + 2 * WINDOW - 1)
    assert longest.seconds == 0.5
    longest.note(0.001, 1000 + 2 * WINDOW)
    assert longest.seconds == 0.003


def test_a_stall_of_more_than_a_window_is_seen():
    longest = Longest()
    longest.note(0.001, 1000)
    longest.note(300, 1300)
    assert longest.seconds == 300


def test_who_looks_once_a_window_misses_no_stall():
    longest = Longest()
    seen = []
    for second in range(600):
        longest.note(second if second % 60 == 17 else 0, 1000 + second)
        if second % 60 == 41:
            seen.append(longest.seconds)
    assert seen == [*range(17, 600, 60)]


def test_a_callback_that_takes_long_is_seen_on_a_real_loop():
    """The loop's clock is the test's, and the callback takes its time by setting it."""

    class SteppedLoop(asyncio.SelectorEventLoop):
        stepped = 0.0

        def time(self):
            return super().time() + self.stepped

    async def watched():
        loop = asyncio.get_running_loop()
        watch = LoopWatch(loop.call_later, loop.time)
        watch.start()
        loop.stepped += 5.0  # what is done here takes 5 s
        while not watch.stalls.sum:  # noqa: ASYNC110  (nothing tells when it has looked)
            await asyncio.sleep(0)
        return watch.longest_stall

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        assert runner.run(watched()) >= 5.0 - INTERVAL


def test_a_service_watches_its_loop_and_its_collector(serve):
    service = serve()
    looks = {"sessiond_loop_stall_seconds_count": 0.0, "sessiond_gc_pause_seconds_count": 0.0}
    while not all(looks.values()):
        with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=20) as answer:
            page = answer.read().decode()
        looks = {name: float(re.search(rf"^{name} (\S+)$", page, re.MULTILINE).group(1)) for name in looks}
