"""How the store goes about its work: no options, since one set of numbers suits all; tests have theirs."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Callable, Sequence

from sessiond.stores.database import connect

__all__ = ["TUNING", "Tuning"]


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Numbers, and where connections and the time come from."""

    most: int = 4096
    """Entries of one commit at most."""
    fold_entries: int = 65_536
    """The log is folded when it has so many entries: they are replayed at the start, some million in a second."""
    fold_bytes: int = 32 << 20
    """Or so many bytes; the images are in memory until then."""
    fold_age: float = 30.0
    """Or after so many seconds."""
    fold_rows: int = 64
    """Sessions that are folded in one step, or as many as the last commit has had entries if those are more, up to what
    one statement takes: a fold must keep up with what comes meanwhile."""
    file_rows: int = 64
    """Records that go from the log into their table in one step, which is made when there are so many; more than two
    milliseconds' worth would be felt by the commit that waits meanwhile."""
    file_age: float = 0.25
    """Seconds after which fewer go there too."""
    last_fold: float = 1.0
    """Seconds that folding may take when the store is closed."""
    probes: Sequence[float] = (0.1, 0.2, 0.5, 1.0)
    """Seconds before the first look whether a store that failed works again, before the second, and so on."""
    connect: Callable[[str], sqlite3.Connection] = connect
    monotonic: Callable[[], float] = time.monotonic


TUNING = Tuning()
