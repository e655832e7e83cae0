"""Whether a store is whole: everything that a start, or whoever reads records, would have to understand."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sessiond.actors.history import read
from sessiond.actors.image import unpack
from sessiond.actors.results import Author
from sessiond.actors.store import Ending, StoreError
from sessiond.stores.database import connect_reader, translated
from sessiond.stores.recovery import SqliteRecovered
from sessiond.stores.rows import COLUMNS, ending
from sessiond.stores.schema import APPLICATION, READABLE, VERSION

__all__ = ["MOST_PROBLEMS", "Findings", "check"]

MOST_PROBLEMS = 20
"""Nobody reads more."""
FIRST_GATEWAY = 4
"""Lower numbers of authors are the same in every store, and have no rows."""


@dataclass
class Findings:
    """What there is in a store, and what is wrong with it."""

    live: int = 0
    """Sessions."""
    records: int = 0
    """Of calls; also those that the log has and the table does not."""
    log: int = 0
    """Entries of the log that are not in the table of sessions yet."""
    last: int = 0
    """The highest position that there has been."""
    problems: list[str] = field(default_factory=list)
    """``MOST_PROBLEMS`` at most."""


def check(path: Path) -> Findings:
    """Read the whole store ``path`` as it is at one moment. Writes nothing, and holds up nobody but checkpoints.

    Raises:
        StoreError: it cannot be read at all, or it is no store that this version can know.
    """
    if not path.is_file():
        raise StoreError(f"{path}: there is no such store")
    with translated(str(path)), contextlib.closing(connect_reader(str(path))) as connection:
        connection.execute("BEGIN")
        _refuse_strange(connection, path)
        return _Check(connection, path).run()


def _refuse_strange(connection: sqlite3.Connection, path: Path) -> None:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application != APPLICATION:
        raise StoreError(f"{path} is no store of sessiond")
    if version not in READABLE:
        raise StoreError(f"{path} has schema {version}, and this version of sessiond knows {VERSION}")


class _Check:
    """One check, on one connection."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._findings = Findings()
        self._live: dict[int, str] = {}
        """Ids by number."""
        self._unfiled: list[tuple[int, Ending]] = []
        """Records by number that only the log has."""

    def run(self) -> Findings:
        problems = self._findings.problems
        for part in (self._pages, self._sessions, self._records):
            try:
                problems.extend(itertools.islice(part(), MOST_PROBLEMS - len(problems)))
            except (StoreError, sqlite3.Error) as error:
                problems.append(str(error))
                break
        return self._findings

    def _pages(self) -> Iterator[str]:
        """What SQLite itself finds: pages, indexes, types."""
        for (text,) in self._connection.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})"):
            if text != "ok":
                yield text

    def _sessions(self) -> Iterator[str]:
        findings, latest = self._findings, 0
        recovered = SqliteRecovered(self._connection, str(self._path))
        self._knows = _authors(recovered)
        findings.log = sum(entries for _, entries, _ in recovered.rows)
        findings.last = recovered.last
        self._unfiled = list(recovered.unfiled)
        yield from _overlaps(recovered)
        for seq, _, image in itertools.chain.from_iterable(recovered.live()):
            findings.live += 1
            if seq <= latest:
                yield f"session {seq} comes after session {latest}"
            latest = seq
            try:
                kept = unpack(image)
            except msgspec.DecodeError as error:
                yield f"session {seq}: its image cannot be read ({error})"
                continue
            self._live[seq] = kept.record.id
            yield from self._timeline(f"session {seq}", kept.timeline)
        if findings.live != recovered.count:
            yield f"{findings.live} sessions live, and {recovered.count} are counted"

    def _records(self) -> Iterator[str]:
        findings = self._findings
        ids = set(self._live.values())
        if len(ids) < len(self._live):
            yield f"{len(self._live) - len(ids)} live sessions have the id of another one"
        later = {ended.final.id for _, ended in self._unfiled}
        findings.records = len(later)
        for values in self._connection.execute(f"SELECT {COLUMNS} FROM records ORDER BY number"):  # noqa: S608  (names)
            try:
                ended = ending(values)
            except (msgspec.DecodeError, TypeError, ValueError) as error:
                findings.records += 1
                yield f"record {values[0]} cannot be read ({error})"
                continue
            if ended.final.id not in later:  # of two records of one session the later one counts
                findings.records += 1
                yield from self._record(values[0], ended, ids)
        for number, ended in self._unfiled:
            yield from self._record(number, ended, ids)

    def _record(self, number: int, ended: Ending, live: Collection[str]) -> Iterator[str]:
        if number > self._findings.last:
            yield f"record {number} comes after position {self._findings.last}, the last one"
        if ended.seq in self._live or ended.final.id in live:
            yield f"record {number}: session {ended.seq} ({ended.final.id}) lives"
        yield from self._timeline(f"record {number}", ended.timeline)

    def _timeline(self, whose: str, timeline: bytes) -> Iterator[str]:
        strangers: set[int] = set()

        def author(number: int) -> Author:
            if not self._knows(number):
                strangers.add(number)
            return Author("client")

        try:
            read(timeline, author)
        except Exception as error:  # noqa: BLE001  (whatever its bytes make of the reading)
            yield f"{whose}: its history cannot be read ({error})"
        for number in strangers:
            yield f"{whose}: author {number} of its history is unknown"


def _authors(recovered: SqliteRecovered) -> Callable[[int], bool]:
    """Whether histories may speak of an author by that number."""
    known = recovered.authors
    return lambda number: number < FIRST_GATEWAY or number in known


def _overlaps(recovered: SqliteRecovered) -> Iterable[str]:
    """Rows of the log of which each must begin after the one before."""
    rows = recovered.rows
    for (before, _, _), (position, entries, _) in itertools.pairwise(rows):
        if position - entries < before:
            yield f"the {entries} entries of the log up to {position} begin before {before}, the last one before them"
