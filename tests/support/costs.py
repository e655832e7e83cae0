"""What requests cost, in counts that are the same on every machine and in every run, and what was allowed for.

``scripts/budgets`` takes them anew and writes them down in ``tests/regression/budgets.json``.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import json
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple

import msgpack
from still_service import StillService, fields, still_service

from sessiond.actors.call_record import CallRecords
from sessiond.actors.limits import Limit
from sessiond.stores.settings import StoreSettings
from sessiond.stores.sqlite import SqliteStore

__all__ = ["BUDGETS", "VERSION", "Cost", "Meter", "bytes_kept", "bytes_per_session", "costs_of_requests", "written"]

BUDGETS = Path(__file__).parents[1] / "regression" / "budgets.json"
VERSION = "{}.{}".format(*sys.version_info)
"""Of Python: instructions are comparable within a minor version only, calls nearly everywhere."""
SESSIONS = 40
"""Of each request so many are counted, of as many sessions, after as many that are not."""
RESIDENT = 10_000
WARM_UP = 2
SCAFFOLD = str(Path(__file__).parent)
"""Whatever is done by code from here stands for the loop and the socket, and is not counted."""


class Cost(NamedTuple):
    """The cost of one request, from the bytes that were read to the bytes that are written; a mean, rounded up."""

    calls: int
    """Function calls, of Python and of C."""
    instructions: int
    """Bytecode instructions."""


class Meter:
    """Counts what this thread does."""

    def __init__(self) -> None:
        self.calls = 0
        self.instructions = 0

    def count(self, work: Callable[[], object]) -> None:
        """Count while ``work`` is done. Automatic garbage collection waits."""
        tracing, profiling, collecting = sys.gettrace(), sys.getprofile(), gc.isenabled()
        gc.disable()
        sys.setprofile(self._profile)
        sys.settrace(self._trace)
        try:
            work()
        finally:
            sys.settrace(tracing)
            sys.setprofile(profiling)
            if collecting:
                gc.enable()

    def _profile(self, frame: FrameType, event: str, _arg: object) -> None:
        if event in {"call", "c_call"} and not _is_scaffold(frame):
            self.calls += 1

    def _trace(self, frame: FrameType, _event: str, _arg: object) -> Callable[..., Any] | None:
        if _is_scaffold(frame):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._instruction

    def _instruction(self, _frame: FrameType, event: str, _arg: object) -> Callable[..., Any]:
        self.instructions += event == "opcode"
        return self._instruction


def _is_scaffold(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(SCAFFOLD)


def costs_of_requests() -> dict[str, Cost]:
    """What each request of the wire costs, by its name.

    A session goes through a whole life; every request is counted in the state in which it usually comes.
    """
    with still_service() as service:
        ids = service.create(2 * SESSIONS)
        costs = {"create_session": _cost(service, lambda number: ("create_session", fields(1000 + number)))}

        def count(name: str, method: str, *params: Any) -> None:
            costs[name] = _cost(service, lambda number: (method, ids[number], *params))

        count("update_session_state to ringing", "update_session_state", "ringing")
        count("update_session_state to active", "update_session_state", "active")
        count("update_session_metadata", "update_session_metadata", {"codec": "pcmu", "trunk": "trunk-eu-7"})
        count("get_session", "get_session")
        count("touch_session", "touch_session")
        count("update_session", "update_session", {"callee": "+15550100"})
        costs["touch_session, 32 in one read"] = _cost(
            service, lambda number: ("touch_session", ids[number % SESSIONS]), together=32
        )
        count("get_session_history", "get_session_history")
        costs["list_sessions, a page of 10"] = _cost(
            service, lambda _: ("list_sessions", {"gateway": "gw-07", "state": ["active"], "limit": 10})
        )
        costs["count_sessions by state"] = _cost(service, lambda _: ("count_sessions", {"by": "state"}))
        costs["ping"] = _cost(service, lambda _: ("ping",))
        costs["server_info"] = _cost(service, lambda _: ("server_info",))
        count("end_session", "end_session", "normal")
        costs["get_session of an ended one"] = _cost(service, lambda number: ("get_session", ids[number]))
        costs |= _costs_of_records(service)
        costs |= _costs_of_gateways(service)
        costs |= _costs_of_commands(service)
    return costs | _costs_with_a_store() | _costs_within_limits() | _costs_of_watching()


def _costs_with_a_store() -> dict[str, Cost]:
    """What requests cost that wait for a store, without what its own thread does."""
    with (
        tempfile.TemporaryDirectory() as folder,
        still_service(store=SqliteStore(StoreSettings(kind="sqlite", path=f"{folder}/sessiond.db"))) as service,
    ):
        ids = service.create(2 * SESSIONS)
        requests: list[tuple[str, Callable[[int], tuple[Any, ...]]]] = [
            ("create_session", lambda number: ("create_session", fields(1000 + number))),
            ("update_session_state to ringing", lambda number: ("update_session_state", ids[number], "ringing")),
            ("update_session_metadata", lambda number: ("update_session_metadata", ids[number], {"codec": "pcmu"})),
            ("touch_session", lambda number: ("touch_session", ids[number])),
            ("end_session", lambda number: ("end_session", ids[number], "normal")),
        ]
        return {f"{name}, with a store": _cost(service, request) for name, request in requests}


def _costs_of_records(service: StillService) -> dict[str, Cost]:
    """What asking for records costs but for the reading, which is done elsewhere."""
    service.context.records = SimpleNamespace(
        page=lambda _: CallRecords([], None), find=lambda _: {}, close=lambda: None
    )
    return {
        "list_records, none": _cost(service, lambda _: ("list_records", {"gateway": "gw-07", "limit": 10})),
        "get_record": _cost(service, lambda _: ("get_record", "no such session")),
    }


def _costs_within_limits() -> dict[str, Cost]:
    """What limits add: one on a trunk among a hundred, by number and rate, and one on every caller."""
    trunks = [
        Limit(name=f"trunk {n}", by="metadata.trunk", value=f"trunk-eu-{n}", concurrent=1000, per_second=1000)
        for n in range(100)
    ]
    with still_service(limits=(*trunks, Limit(name="callers", by="caller", concurrent=2))) as service:
        return {
            "create_session within two limits": _cost(service, lambda number: ("create_session", fields(number))),
            "explain_limit, a page of 10": _cost(service, lambda _: ("explain_limit", "trunk 3", {"limit": 10})),
        }


def _costs_of_gateways(service: StillService) -> dict[str, Cost]:
    """The same of a gateway that registers its connection; it holds a twentieth of the sessions."""
    ids = service.create(2 * SESSIONS)
    known = [fields(number)["external_id"] for number in range(2 * SESSIONS, 4 * SESSIONS) if number % 20 == 7]
    return {
        "register_gateway again": _cost(service, lambda _: ("register_gateway", "gw-07", {"epoch": "e1"})),
        "touch_session of a gateway that has registered": _cost(service, lambda number: ("touch_session", ids[number])),
        "heartbeat_gateway": _cost(service, lambda _: ("heartbeat_gateway", "gw-07", {"epoch": "e1"})),
        "list_gateways": _cost(service, lambda _: ("list_gateways",)),
        "sync_sessions, 4 of them": _cost(service, lambda _: ("sync_sessions", "gw-07", {"external_ids": known})),
    }


def _costs_of_commands(service: StillService) -> dict[str, Cost]:
    """The same of commands to gateways that take none, which refuse all but ends; the rest is theirs."""
    ids = service.create(2 * SESSIONS)
    return {
        "modify_session": _cost(
            service, lambda number: ("modify_session", ids[number], {"hold": True}), are_answered=False
        ),
        "warn_session": _cost(
            service, lambda number: ("warn_session", ids[number], "One minute left"), are_answered=False
        ),
        "request_sync": _cost(service, lambda _: ("request_sync", "no such gateway"), are_answered=False),
        "end_sessions, a dry run of 10": _cost(service, lambda _: ("end_sessions", {"gateway": "gw-03", "limit": 10})),
        "terminate_session": _cost(service, lambda number: ("terminate_session", ids[number], {"reason": "x"})),
    }


def _costs_of_watching() -> dict[str, Cost]:
    """What it costs to watch, and what a change costs that others watch: on connections of their own, in one turn."""
    with still_service() as service:
        ids = service.create(2 * SESSIONS)
        costs = dict(zip(("watch", "unwatch"), _costs_in_turn(service, _watch_all, _unwatch), strict=True))

        def count(name: str, state: str, together: int = 1) -> None:
            costs[name] = _cost(
                service, lambda number: ("update_session_state", ids[number % len(ids)], state), together
            )

        count("update_session_state, watched lately", "ringing")
        with _watching(service, 1, gateway="no-such"):
            count("update_session_state, others are watched", "active")
        with _watching(service, 1):
            count("update_session_state, with a watcher", "held")
        with _watching(service, 10):
            count("update_session_state, with 10 watchers", "active")
        with _watching(service, 1):
            codecs = itertools.cycle(["opus", "pcmu", "g722"])
            costs["update_session_metadata, 32 in one read, with a watcher"] = _cost(
                service,
                lambda number: ("update_session_metadata", ids[number % 32], {"codec": next(codecs)}),
                together=32,
            )
    return costs


def _watch_all(_: int) -> tuple[Any, ...]:
    return ("watch", {"snapshot": False})


def _unwatch(watch: int) -> tuple[Any, ...]:
    return ("unwatch", watch)


@contextlib.contextmanager
def _watching(service: StillService, watchers: int, **filters: Any) -> Iterator[None]:
    """So many clients watch, each on a connection of its own."""
    sockets = [service.connect() for _ in range(watchers)]
    for each in sockets:
        each.protocol.data_received(_packed(("watch", {"snapshot": False, **filters})))
    service.loop.settle()
    yield
    for each in sockets:
        each.protocol.connection_lost(None)
        each.drop()


def _costs_in_turn(service: StillService, *requests: Callable[[int], tuple[Any, ...]]) -> list[Cost]:
    """The mean costs of requests that are made in turn, each with the number of the turn, from 1."""
    meters = [Meter() for _ in requests]
    for turn in range(1, 2 * SESSIONS + 1):
        if turn == SESSIONS + 1:
            meters = [Meter() for _ in requests]
        for meter, request in zip(meters, requests, strict=True):
            meter.count(functools.partial(service.receive, _packed(request(turn))))
    service.answers()
    return [Cost(-(-meter.calls // SESSIONS), -(-meter.instructions // SESSIONS)) for meter in meters]


def _cost(
    service: StillService, request: Callable[[int], tuple[Any, ...]], together: int = 1, *, are_answered: bool = True
) -> Cost:
    """The mean cost of ``request`` 40 to 79, so many ``together`` in each read, after 0 to 39 have warmed it up."""
    reads = [
        b"".join(_packed(request(number)) for number in range(first, first + together)) for first in range(2 * SESSIONS)
    ]
    unheeded, meter = Meter(), Meter()
    for number, read in enumerate(reads):
        counting = unheeded if number < SESSIONS else meter
        counting.count(functools.partial(service.receive, read))
        if service.store is not None:
            service.commit()
            counting.count(service.settle)
    if are_answered:
        service.answers()
    else:
        service.socket.written.clear()
    requests = SESSIONS * together
    return Cost(-(-meter.calls // requests), -(-meter.instructions // requests))


def _packed(request: tuple[Any, ...]) -> bytes:
    method, *params = request
    return msgpack.packb([0, 1, method, params])


def bytes_per_session() -> int:
    """The memory of one of 10,000 sessions as it is created: its record, actor, index entries and deadline."""
    with still_service() as service:
        service.create(100)
        gc.collect()
        tracemalloc.start()
        try:
            service.create(RESIDENT)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] // RESIDENT
        finally:
            tracemalloc.stop()


def bytes_kept(life: Callable[[list[str]], list[tuple[Any, ...]]], rounds: int = 3) -> int:
    """How much memory the requests of a ``life`` leave behind: of some rounds of the same requests the least.

    The first rounds do not count: buffers come to their size, and numbers outgrow those that Python keeps ready.

    Args:
        life: makes the requests for sessions of these ids.
        rounds: so many count.
    """
    kept = []
    with still_service() as service:
        reads = [*map(_packed, life(service.create(2)))]
        tracemalloc.start()
        try:
            for _ in range(WARM_UP + rounds):
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
                for read in reads:
                    service.receive(read)
                    assert service.answers()
                gc.collect()
                kept.append(tracemalloc.get_traced_memory()[0] - before)
        finally:
            tracemalloc.stop()
    return min(kept[WARM_UP:])


def written() -> dict[str, Any]:
    """The budgets as they were taken."""
    found: dict[str, Any] = json.loads(BUDGETS.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Take the budgets anew, write them down, and say what has changed."""
    before = written() if BUDGETS.exists() else {"requests": {}}
    costs = {name: cost._asdict() for name, cost in costs_of_requests().items()}
    budgets = {"python": VERSION, "bytes_per_session": bytes_per_session(), "requests": costs}
    BUDGETS.write_text(json.dumps(budgets, indent=2) + "\n", encoding="utf-8")
    say = "{}: {}, were {}\n".format
    sys.stdout.write(say("bytes per session", budgets["bytes_per_session"], before.get("bytes_per_session")))
    for name, cost in costs.items():
        sys.stdout.write(say(name, cost, before["requests"].get(name)))


if __name__ == "__main__":
    main()
