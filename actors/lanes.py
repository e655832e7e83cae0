"""The commands that are not over: which of them wait, for what, and when to look at them. Pure."""

from __future__ import annotations

import enum
import math
from collections import deque
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

__all__ = ["AT_ONCE", "MOST", "Lanes", "Place"]

AT_ONCE = 32
"""So many commands are under way to one gateway; more would only wait there instead of here."""

MOST = 100_000
"""So many commands wait in all, at some 1.3 KB each."""

LEFT_OVER = 64
"""An agenda with so many entries for each command is mostly of commands that are over, and made anew."""


class Place(enum.Enum):
    """Where a command is in its lane."""

    NEW = "new"
    """Nowhere yet."""
    READY = "ready"
    """It waits for its turn."""
    ABSENT = "absent"
    """It waits for somebody to ask."""
    ASKED = "asked"
    """It is under way, or between two attempts."""
    OVER = "over"


class Waiting(Protocol):
    """A command, as far as its lane goes."""

    gateway: str
    number: int
    """Given by ``Lanes.add``: tells commands apart, and which came first."""
    place: Place
    """Kept by the lanes."""
    due: float
    """When it is to be looked at, as last filed; infinite once that has been told."""


C = TypeVar("C", bound=Waiting)


class _Lane(Generic[C]):
    """The commands to one gateway."""

    __slots__ = ("absent", "asked", "ready", "size")

    def __init__(self) -> None:
        self.ready: deque[C] = deque()
        self.absent: dict[int, C] = {}
        self.asked = 0
        self.size = 0


class Lanes(Generic[C]):
    """A queue for each gateway, and one agenda for all."""

    def __init__(self, most: int) -> None:
        """Let ``most`` commands to one gateway wait."""
        self._most = most
        self._lanes: dict[str, _Lane[C]] = {}
        self._commands: dict[int, C] = {}
        self._agenda: list[tuple[float, int]] = []
        self._last = 0

    def __len__(self) -> int:
        return len(self._commands)

    def add(self, command: C) -> bool:
        """Take in a command, which waits for its turn then; whether there was room for it."""
        lane = self._lanes.get(command.gateway)
        if (lane is not None and lane.size >= self._most) or len(self._commands) >= MOST:
            return False
        if lane is None:
            lane = self._lanes[command.gateway] = _Lane()
        self._last += 1
        command.number = self._last
        command.place = Place.READY
        self._commands[self._last] = command
        lane.size += 1
        lane.ready.append(command)
        return True

    def ready(self, gateway: str) -> C | None:
        """The next command whose turn it is, if there is room for one more; it is for the caller to place it."""
        lane = self._lanes.get(gateway)
        while lane is not None and lane.ready and lane.asked < AT_ONCE:
            command = lane.ready.popleft()
            if command.place is Place.READY:
                return command
        return None

    def put(self, command: C, place: Place) -> None:
        """Place a command anew."""
        lane = self._lanes[command.gateway]
        if command.place is Place.ABSENT:
            del lane.absent[command.number]
        lane.asked += (place is Place.ASKED) - (command.place is Place.ASKED)
        command.place = place
        if place is Place.ABSENT:
            lane.absent[command.number] = command
        elif place is Place.READY:
            lane.ready.append(command)

    def found(self, gateway: str) -> bool:
        """Somebody has come whom to ask: those that waited for that have their turns, the oldest first.

        Whether there are any commands to that gateway.
        """
        lane = self._lanes.get(gateway)
        if lane is None:
            return False
        for command in list(lane.absent.values()):
            self.put(command, Place.READY)
        return True

    def remove(self, command: C) -> None:
        """A command is over."""
        lane = self._lanes[command.gateway]
        self.put(command, Place.OVER)
        del self._commands[command.number]
        lane.size -= 1
        if not lane.size:
            del self._lanes[command.gateway]

    def file(self, command: C, due: float) -> None:
        """Have ``due`` tell of a command when that time comes."""
        command.due = due
        heappush(self._agenda, (due, command.number))
        if len(self._agenda) > LEFT_OVER * (1 + len(self._commands)):
            self._agenda = sorted((each.due, each.number) for each in self._commands.values())

    def due(self, now: float, most: int) -> list[C]:
        """At most so many of the commands that are to be looked at by ``now``."""
        found: list[C] = []
        while self._agenda and self._agenda[0][0] <= now and len(found) < most:
            due, number = heappop(self._agenda)
            command = self._commands.get(number)
            if command is not None and command.due == due:
                command.due = math.inf  # it may have been filed at that time twice
                found.append(command)
        return found

    @property
    def commands(self) -> list[C]:
        """All of them, in the order in which they came."""
        return list(self._commands.values())

    @property
    def gateways(self) -> list[str]:
        """Those that commands wait for."""
        return list(self._lanes)
