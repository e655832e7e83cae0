"""The seam between the actors and what keeps their sessions when the process is gone.

The actors hand over what has changed, in the order in which it changed, and are told how far it is kept. A store never
makes them wait: whatever takes time happens on threads of its own, and what comes of it is posted to the dispatcher.
Whoever keeps nothing (``memory``) is no store at all: then there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from sessiond.actors.call_record import CallRecord, CallRecords
from sessiond.actors.future import Pending
from sessiond.actors.params import Address
from sessiond.actors.record import Session
from sessiond.actors.record_params import RecordQuery

__all__ = ["Ending", "Keeper", "Live", "Post", "Records", "Recovered", "Soon", "Store", "StoreError", "at_once"]

R = TypeVar("R")

Post = Callable[[Callable[[], None]], None]
"""Runs a function on the dispatcher's thread, holding its turn, soon. From any thread."""
Soon = Callable[[Callable[[], None]], object]
"""Runs a function on the dispatcher's thread, after what runs there now."""


def at_once(work: Callable[[], None]) -> None:
    """A ``Soon`` where nothing runs that there is to wait for."""
    work()


class StoreError(Exception):
    """A store cannot be opened, or cannot keep anything; no caller's fault, and told to them as ``Unavailable``."""


class Live(NamedTuple):
    """A live session as a store gives it back."""

    seq: int
    """Its number in the order of creation: the store's key of it."""
    touched: float
    """The last activity that is kept, in seconds since the epoch; may be later than the image's."""
    image: bytes
    """As it was handed over; see ``image``."""


class Ending(NamedTuple):
    """The end of a session: what its record is made of."""

    seq: int
    final: Session
    """The last record."""
    timeline: bytes
    """See ``history``; the numbers of authors are those that were handed over."""
    request_id: str | None
    """What it was created by, if that can be repeated."""
    digest: bytes | None
    """Of that request's parameters."""


class Recovered(Protocol):
    """What a store has at the start."""

    values: Mapping[str, int]
    """The latest value of each name (see ``Store.put``)."""
    authors: Mapping[int, tuple[str, str | None]]
    """The authors of histories by number: gateway and epoch."""
    count: int
    """How many sessions live."""

    def live(self) -> Iterator[list[Live]]:
        """The live sessions by ascending ``seq``, some hundreds at a time. Blocks while it reads."""
        ...

    def ended(self, since: float, most: int) -> Iterable[Ending]:
        """The newest ``most`` of the sessions that the service has ended since then (epoch), in the order of that.

        What a gateway says of when a call has ended does not matter.
        """
        ...


class Keeper(Protocol):
    """Who is told what became of what was handed over. Called on the dispatcher's thread, holding its turn."""

    def settled(self, position: int) -> None:
        """Everything up to ``position`` is kept."""

    def failed(self, error: Exception) -> None:
        """The store cannot keep anything now, until ``restored``.

        With durability ``commit`` nothing that was handed over after the last ``settled`` is kept or ever will be, and
        the store has forgotten it. With ``relaxed`` it has not, and goes on trying.
        """

    def restored(self) -> None:
        """The store keeps again what is handed over."""


class Store(Protocol):
    """Keeps sessions. But for ``open`` and ``close`` all is called on the dispatcher's thread, and never blocks."""

    def open(self) -> Recovered:
        """Lock the store against others, bring it up to date and say what it has. Blocks.

        Raises:
            StoreError: it cannot be used; the text says why and what to do.
        """
        ...

    def start(self, keeper: Keeper, post: Post, soon: Soon) -> None:
        """Begin to keep; ``keeper`` is told by way of ``post``.

        ``soon`` has something called on the dispatcher's thread once what it does now is over: all that is handed over
        until then may as well be kept together.
        """

    def close(self) -> None:
        """Keep what was handed over, if that is possible, and let go of everything. Blocks."""

    # What is to be kept. Each returns its position: ascending, and the order in which it takes effect.

    def keep(self, seq: int, image: bytes) -> int:
        """A live session is as ``image`` says, since now; the first time it has begun."""
        ...

    def end(self, ending: Ending) -> int:
        """A session has ended: its record is kept, and nothing else of it."""
        ...

    def touch(self, seq: int, at: float) -> None:
        """There was activity ``at`` (epoch). Kept within a second or so, and nobody is told."""

    def put(self, name: str, value: int) -> int:
        """A named number has this value."""
        ...

    def author(self, number: int, gateway: str, epoch: str | None) -> int:
        """Who ``number`` is in the timelines that are handed over from now on."""
        ...

    # What is asked of it

    def unkept(self) -> Collection[int]:
        """The sessions of which something was handed over, an activity at least, that is not kept yet."""
        ...

    def load_all(self, seqs: Iterable[int]) -> Pending[dict[int, Live]]:
        """Live sessions as they are kept, some hundreds that are read together; without those that there are not.

        Pending; fails with ``Unavailable``.
        """
        ...

    def read(self, query: Callable[[Any], R]) -> Pending[R]:
        """What comes of ``query``, run with the store's connection for readers on a thread that may wait.

        It finds the records of all ends that have been acknowledged. While the store cannot keep anything it may miss
        the latest ones.

        Pending; fails with what the query raises, or ``Unavailable``.
        """
        ...


class Records(Protocol):
    """The records of calls that a store has. Asked on the dispatcher's thread, and never blocks."""

    def page(self, query: RecordQuery) -> Pending[CallRecords]:
        """One page. Raises ``InvalidRequest`` for a cursor of another listing; fails with ``Unavailable``."""
        ...

    def find(self, target: str | Address) -> Pending[CallRecord]:
        """The record of an id, or the newest of an address; fails with ``NotFound`` and ``Unavailable``."""
        ...

    def close(self) -> None:
        """The service stops: whoever waits for records is told so."""
