"""Work on sessions of which some are passive: it waits while their records are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from sessiond.actors.future import Pending
from sessiond.actors.record import Session
from sessiond.actors.store import Live

__all__ = ["Deep", "Loading"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Deep(Protocol[R_co]):
    """Work that says what it wants read."""

    @property
    def wanted(self) -> list[int]:
        """The passive sessions whose records are to be given before the next step."""
        ...

    def step(self) -> R_co | None:
        """See ``surveyor.Work``."""
        ...

    def give(self, records: Mapping[int, Session]) -> None:
        """Take the records of those ``wanted``; there is none of one that has ended."""
        ...


class Loading(Generic[R]):
    """A piece of work, with what it wants read for it; a ``surveyor.WaitingWork``."""

    def __init__(
        self,
        work: Deep[R],
        read: Callable[[list[int]], Pending[Mapping[int, Live]]],
        show: Callable[[Live], Session],
    ) -> None:
        """Do ``work``: ``read`` gives what the store has of passive sessions, ``show`` the record to give of each."""
        self._work = work
        self._read = read
        self._show = show
        self._lives: Mapping[int, Live] | None = None
        self._error: BaseException | None = None

    def step(self) -> R | Pending[Mapping[int, Live]] | None:
        """See ``WaitingWork``: pending while there is reading to wait for. Raises what that has failed with."""
        if self._error is not None:
            raise self._error
        if self._lives is not None:
            lives, self._lives = self._lives, None
            self._work.give({seq: self._show(live) for seq, live in lives.items()})
        result = self._work.step()
        if result is not None or not self._work.wanted:
            return result
        reading = self._read(self._work.wanted)
        reading.then(self._came)
        return reading

    def _came(self, lives: Mapping[int, Live] | None, error: BaseException | None) -> None:
        self._lives, self._error = lives, error
