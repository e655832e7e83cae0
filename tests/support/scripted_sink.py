"""A sink that does what a test says, and records that wait in a list: all that a courier needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kept_records import WALL

from sessiond.records.reading import Kept
from sessiond.records.sink import Failed

__all__ = ["Letters", "ListedRecords", "ScriptedSink", "record"]


def record(number: int, since: float = WALL) -> Kept:
    return Kept(number, since, str(number).encode())


class ListedRecords:
    """Records in a list, by ascending number."""

    def __init__(self, records: Sequence[Kept] = ()) -> None:
        self.kept = list(records)
        self.error: Failed | None = None
        self.is_closed = False

    def after(self, number: int, most: int) -> list[Kept]:
        if self.error is not None:
            raise self.error
        return [each for each in self.kept if each.number > number][:most]

    def count(self, number: int) -> tuple[int, int]:
        if self.error is not None:
            raise self.error
        more = [each.number for each in self.kept if each.number > number]
        return len(more), max([number, *more])

    def close(self) -> None:
        self.is_closed = True


class ScriptedSink:
    """Raises what the script says about the records that it is given, and has them if it raises nothing."""

    patience = 1.0

    def __init__(self, batch: int, script: Callable[[list[int]], None] = lambda _: None) -> None:
        self.batch = batch
        self.script = script
        self.tried: list[list[int]] = []
        self.had: list[int] = []
        self.is_closed = False

    def prepare(self) -> None:
        pass

    def deliver(self, records: Sequence[bytes]) -> None:
        numbers = list(map(int, records))
        self.tried.append(numbers)
        self.script(numbers)
        self.had += numbers

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


class Letters:
    """Dead letters in a list."""

    def __init__(self, give_up_after: float = 0.0) -> None:
        self.give_up_after = give_up_after
        self.buried: list[tuple[int, str, float]] = []
        self.error: Failed | None = None

    def bury(self, records: Sequence[bytes], reason: str, at: float) -> None:
        if self.error is not None:
            raise self.error
        self.buried += [(int(each), reason, at) for each in records]
