"""What a store was handed and what it said, and from that what it may come back with: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sessiond.actors.image import unpack
from sessiond.actors.record import Session
from sessiond.actors.store import Ending, Live, Recovered

__all__ = ["BEGUN", "History", "Kept", "Lost"]

BEGUN = "begun"
"""A name that whoever begins sets, to learn at which position; it counts for nothing."""


class Lost(Exception):
    """The store has come back with something else than it had to."""


Place: TypeAlias = tuple[str, Any]
"""Which of the tables of ``Kept``, and which key of it."""


@dataclass
class Kept:
    """What a store has."""

    live: dict[int, Live] = field(default_factory=dict)
    ended: dict[int, Ending] = field(default_factory=dict)
    """By number of the session."""
    values: dict[str, int] = field(default_factory=dict)
    authors: dict[int, tuple[str, str | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, recovered: Recovered) -> Kept:
        live = [each for batch in recovered.live() for each in batch]
        ended = list(recovered.ended(0.0, 1_000_000_000))
        if recovered.count != len(live) or [each.seq for each in live] != sorted({each.seq for each in live}):
            raise Lost(f"{recovered.count} sessions are told of, and {len(live)} come")
        if len({each.seq for each in ended}) < len(ended):
            raise Lost("a session has two records")
        return cls(
            {each.seq: each for each in live},
            {each.seq: each for each in ended},
            {name: value for name, value in recovered.values.items() if name != BEGUN},
            dict(recovered.authors),
        )

    def apply(self, entry: Sequence[Any]) -> list[Place]:
        """Go on by what was handed over, as ``store_load`` tells of it; where that has changed something."""
        match entry:
            case ["keep", seq, image]:
                touched = self.live[seq].touched if seq in self.live else 0.0
                self.live[seq] = Live(seq, max(touched, unpack(image).touched), image)
                return [("live", seq)]
            case ["touch", seq, at]:
                if seq in self.live:
                    self.live[seq] = self.live[seq]._replace(touched=max(self.live[seq].touched, at))
                return [("live", seq)]
            case ["end", seq, final, timeline, request_id, digest]:
                self.live.pop(seq, None)
                self.ended[seq] = Ending(seq, Session(*final), timeline, request_id, digest)
                return [("live", seq), ("ended", seq)]
            case ["put", name, value]:
                self.values[name] = value
                return [("values", name)]
            case ["author", number, gateway, epoch]:
                self.authors[number] = (gateway, epoch)
                return [("authors", number)]
        raise ValueError(entry)

    def at(self, place: Place) -> Any:
        """What there is, None for nothing."""
        return getattr(self, place[0]).get(place[1])

    def places(self) -> set[Place]:
        """Where there is something."""
        return {(what, key) for what in ("live", "ended", "values", "authors") for key in getattr(self, what)}


def readable(value: Any) -> Any:
    return (value.touched, unpack(value.image).record.version) if isinstance(value, Live) else value


@dataclass
class History:
    """All that was handed over, in order, and how much of it has to be there."""

    kept: Kept = field(default_factory=Kept)
    """What is settled."""
    waiting: list[tuple[int, Sequence[Any]]] = field(default_factory=list)
    """Entries that are not, by position."""
    position: int = 0
    settled: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    """Of what the store said."""

    def note(self, said: Sequence[Any]) -> None:
        """A message of ``store_load``."""
        what, *given = said
        self.counts[what] = self.counts.get(what, 0) + 1
        match what, given:
            case "began", [position]:
                self._begin(position)
            case "handed", [entries]:
                self._hand(entries)
            case "settled", [position]:
                self._settle(position)
            case "restored", []:
                self.waiting = [each for each in self.waiting if each[0] > self.position]

    def _begin(self, position: int) -> None:
        """A process has opened the store, and goes on with the position after that."""
        if position <= self.settled:
            raise Lost(f"positions go on at {position}, and {self.settled} has been settled")
        self.position = position

    def _hand(self, entries: Iterable[Sequence[Any]]) -> None:
        for entry in entries:
            self.position += 1
            self.waiting.append((self.position, entry))

    def _settle(self, position: int) -> None:
        if not self.settled <= position <= self.position:
            raise Lost(f"position {position} was settled after {self.settled}, with {self.position} handed over")
        self.settled = position
        for place, (number, entry) in enumerate(self.waiting):
            if number > position:
                del self.waiting[:place]
                return
            self.kept.apply(entry)
        self.waiting.clear()

    def compare(self, recovered: Recovered) -> int:
        """Take over what has come back; how many entries were kept without having been settled.

        Raises:
            Lost: no beginning of what was handed over, with all that was settled, makes this of it.
        """
        found, expected = Kept.of(recovered), self.kept
        wrong = {each for each in found.places() | expected.places() if found.at(each) != expected.at(each)}
        number = 0
        while wrong and number < len(self.waiting):
            for place in expected.apply(self.waiting[number][1]):
                (wrong.discard if found.at(place) == expected.at(place) else wrong.add)(place)
            number += 1
        if wrong:
            texts = [f"{place}: {readable(found.at(place))}, not {readable(expected.at(place))}" for place in wrong]
            raise Lost(f"{len(wrong)} places are wrong: " + "; ".join(texts[:5]))
        self.waiting.clear()
        return number
