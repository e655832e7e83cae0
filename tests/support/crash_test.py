"""A service under load that is killed at random instants, started again and compared with what was asked of it.

``scripts/crash`` runs it from a shell; tests/system has it run for some kills.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

from crash_calls import Caller, repeated
from crash_load import Gateway, Watcher
from crash_model import Call, Line, Lost, Seen, is_same
from faulty_disk import FaultyDisk
from processes import SERVE, Process, process
from wire import Peer, peer, request

__all__ = ["CrashTest", "Summary"]

LINES = 4
PATIENCE = 30
"""Seconds in which a service that was told to end has ended."""
OPTIONS = (
    *("--store-kind", "sqlite", "--gateways-grace", "86400"),
    *("--sessions-retention", "600", "--sessions-max-retained", "20000"),
    *("--store-residents", "200"),
)
"""No call ends by itself, what has ended is still there after the next start, and few calls have a place in memory."""
PAGE = 500
REPEATS = 20
"""Creates that are repeated after each crash."""


@dataclass
class Summary:
    """What a crash test has gone through."""

    kills: int = 0
    answered: int = 0
    """Requests that were acknowledged."""
    in_doubt: int = 0
    """Those that were not, and had been carried out."""
    recovered: int = 0
    """Live sessions that came back, over all starts."""
    records: int = 0
    slowest: float = 0.0
    """Seconds from the start of a process until it was ready."""

    def __str__(self) -> str:
        return (
            f"{self.kills} kills: {self.answered:,} requests acknowledged and none lost, {self.in_doubt:,} more done "
            f"and whole; {self.recovered:,} live sessions recovered, {self.records:,} call records, each once; "
            f"slowest start {self.slowest:.2f} s"
        )


class CrashTest:
    """One store, and all that was asked of its services."""

    def __init__(self, folder: Path, seed: int, library: Path | None = None, *, is_relaxed: bool = False) -> None:
        """With ``library``, that of a ``FaultyDisk``, a kill is a power cut too: what was not synced is gone.

        Where durability ``is_relaxed``, an answer promises nothing; what is left must still be a beginning of it all.
        """
        self.summary = Summary()
        self._is_relaxed = is_relaxed
        self._options = (*OPTIONS, "--store-durability", "relaxed" if is_relaxed else "commit")
        self._log, self._path = folder / "service.log", folder / "store.db"
        self._disk = None if library is None else FaultyDisk(library, self._path)
        self._random = Random(seed)
        self._lines = {f"gw-{number}": Line() for number in range(LINES)}
        self._callers = {name: Caller(Random(f"{seed}/{name}"), name, time.time) for name in self._lines}
        self._done: dict[str, str] = {}
        """The calls that have ended and been compared: ids by external id."""
        self._began_at = self._crashed_at = time.time()
        """When the last load did, and when it was over."""
        self._number = 0
        """The last one that a watcher has been told."""

    def round(self) -> None:
        """A service comes up and is compared with what was asked of those before, works for a while, and is killed.

        Raises:
            Lost: the comparison fails.
        """
        with self._service() as service:
            self._compare(service)
            self._load(service)
        self.summary.kills += 1

    def finish(self) -> None:
        """One more comparison, and the records of all calls."""
        with self._service() as service:
            self._compare(service)
            with peer(service.port) as asker:
                query = {"fields": ["id"], "limit": PAGE}
                listed = pages(lambda place: asker.call("list_records", query | place), "records")
                ids = sorted(record["id"] for record in listed)
        if ids != sorted(self._done.values()):
            raise Lost(f"there are {len(ids)} records of {len(self._done)} calls")

    @contextlib.contextmanager
    def _service(self) -> Iterator[Process]:
        began = time.monotonic()
        environ = None if self._disk is None else self._disk.environ
        with process(self._log, *SERVE, *self._options, "--store-path", str(self._path), environ=environ) as service:
            service.await_readiness(200)
            self.summary.slowest = max(self.summary.slowest, time.monotonic() - began)
            yield service

    def _load(self, service: Process) -> None:
        watcher = Watcher(Peer(service.port), self._number)
        gateways = [
            Gateway(name, Peer(service.port), line, self._callers[name], epoch="e1" if name == "gw-0" else None)
            for name, line in self._lines.items()
        ]
        threads = [watcher, *gateways]
        self._began_at = time.time()
        for thread in threads:
            thread.start()
        # The instant has to come by itself: at one that followed from the answers the service would always do the same.
        Event().wait(self._random.uniform(0.1, 0.5) if self._random.random() < 0.95 else 3.0)
        service.popen.send_signal(signal.SIGKILL if self._random.random() < 0.9 else signal.SIGTERM)
        service.popen.wait(PATIENCE)
        if self._disk is not None:
            self._disk.loses_power()
        self._crashed_at = time.time()
        for thread in threads:
            thread.finish()
        if self._is_relaxed:
            for line in self._lines.values():
                line.forget_answers()
        else:
            self._number = watcher.number
            for name, version in watcher.versions.items():
                self._lines[name.partition("/")[0]].observe(name, version)
        self.summary.answered += sum(gateway.answers for gateway in gateways)

    def _compare(self, service: Process) -> None:
        with peer(service.port) as asker:
            seen = self._shown(asker)
            for name, line in self._lines.items():
                of_line = {call: seen[call] for call in seen if seen[call].record["gateway"] == name}
                self.summary.in_doubt += line.recover(of_line, self._crashed_at)
                self._repeat(asker, line)
                ended = {name: call for name, call in line.calls.items() if not call.is_live}
                asker.call("list_records", {"limit": 1})  # those of calls that have just ended are in the table then
                self._compare_records(ended)
                for call in ended:
                    line.forget(call)
                self.summary.recovered += len(line.calls)

    def _shown(self, asker: Peer) -> dict[str, Seen]:
        """The calls that the service knows, by external id, but for those that are done with."""
        live = [call for line in self._lines.values() for call in line.calls.values()]
        since = min([self._began_at - 2, *(call.record["created_at"] for call in live)])
        return {
            name: seen
            for query in ({}, {"ended": True, "created_after": since})
            for name, seen in shown(asker, query, self._done.keys()).items()
        }

    def _compare_records(self, ended: Mapping[str, Call]) -> None:
        """Each call that has ended has one record, which says what was shown of it."""
        with contextlib.closing(sqlite3.connect(self._path)) as connection:
            connection.row_factory = sqlite3.Row
            for name, call in ended.items():
                assert call.shown is not None
                self._done[name] = call.shown["id"]
                rows = connection.execute("SELECT * FROM records WHERE id = ?", (call.shown["id"],)).fetchall()
                if len(rows) != 1:
                    raise Lost(f"{name} has {len(rows)} records")
                record = dict(rows[0]) | {"metadata": json.loads(rows[0]["metadata"])}
                for field in record.keys() & call.shown.keys():
                    if not is_same(record[field], call.shown[field]):
                        raise Lost(f"{field} of the record of {name} is {record[field]!r}, not {call.shown[field]!r}")
        self.summary.records += len(ended)

    def _repeat(self, asker: Peer, line: Line) -> None:
        """Whoever does not know whether a call was created asks again, and gets that call."""
        calls = list(line.calls.values())
        for call in self._random.sample(calls, min(len(calls), REPEATS)):
            assert call.shown is not None
            known = {name: call.shown[name] for name in ("id", "version", "state")} | {"created": False}
            answer = asker.call("create_session", *repeated(call, time.time()).params)
            if answer != known:
                raise Lost(f"a repeated create was answered with {answer}, not {known}")


def shown(asker: Peer, query: Mapping[str, Any], without: Container[str]) -> dict[str, Seen]:
    """The calls that the service lists, by external id."""
    listed = pages(lambda place: asker.call("list_sessions", {"limit": PAGE, **query, **place}), "sessions")
    records = [record for record in listed if record["external_id"] not in without]
    histories = []
    for first in range(0, len(records), PAGE):
        part = records[first : first + PAGE]
        asker.send(*(request(number, "get_session_history", each["id"]) for number, each in enumerate(part)))
        answers = sorted(asker.receive_many(len(part)), key=lambda answer: answer[1])
        histories += [answer[3]["entries"] for answer in answers]
    seen = {record["external_id"]: Seen(record, entries) for record, entries in zip(records, histories, strict=True)}
    if len(seen) < len(records):
        raise Lost("a session is there twice")
    return seen


def pages(ask: Callable[[dict[str, Any]], dict[str, Any]], what: str) -> Iterator[dict[str, Any]]:
    """What is on all pages of a list."""
    query: dict[str, Any] = {}
    while True:
        page = ask(query)
        yield from page[what]
        if page["cursor"] is None:
            return
        query = {"cursor": page["cursor"]}
