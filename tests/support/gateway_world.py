"""Gateways as they are in the world: processes that have calls, whatever the service has heard of either."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from links import StillLink
from services import Service

from sessiond.actors.errors import Conflict

__all__ = ["LEASE", "Call", "Process", "World"]

LEASE = 30.0


@dataclasses.dataclass(eq=False)
class Process:
    """One run of a gateway."""

    name: str
    epoch: str
    links: list[StillLink] = dataclasses.field(default_factory=list)
    """Those that it can send on."""
    dead_links: list[StillLink] = dataclasses.field(default_factory=list)
    """Those that it cannot send on any more, although the service still has them; what is on its way may arrive."""
    is_running: bool = True
    has_registered: bool = False
    sync: Any = None
    """The sync that it is about: the token, and the sessions that it is going to name."""


@dataclasses.dataclass(eq=False)
class Call:
    """A session, as the gateways see it."""

    name: str
    external_id: str
    owner: Process | None
    """The process that has the call; None if none has it at the moment."""
    is_up: bool = True
    """Whether it is up, be it that whoever has it is only about to start."""
    word: float = 0.0
    """When the service was last told of it, or by whom it thought had it, on the monotonic clock."""
    crashes: int = 0


class World:
    """All processes and calls of two gateways, and the service that they tell of them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.processes: list[Process] = []
        self.calls: dict[str, Call] = {}
        """Those whose sessions live, by the id of the session."""
        self.lost_since: dict[tuple[str, str], float] = {}
        self._numbers = itertools.count(1)

    @property
    def now(self) -> float:
        return self.service.clock.read().monotonic

    def running(self, name: str | None = None) -> list[Process]:
        return [each for each in self.processes if each.is_running and name in {None, each.name}]

    def owned_by(self, process: Process) -> dict[str, Call]:
        return {session_id: call for session_id, call in self.calls.items() if call.owner is process}

    # What processes do

    def start(self, name: str) -> Process:
        """Start a process, which has all calls that are up and that nobody has."""
        process = Process(name, f"e{next(self._numbers)}")
        self.processes.append(process)
        for call in self.calls.values():
            if call.name == name and call.owner is None and call.is_up:
                call.owner = process
        self.connect(process)
        return process

    def connect(self, process: Process) -> None:
        """Open a connection and register.

        Whoever is displaced by that ends, and its calls with it; whoever is refused at its start ends too, and the
        next one that is started has its calls.
        """
        try:
            link, _ = self.service.connect(process.name, process.epoch)
        except Conflict:
            if not process.has_registered:
                self.stop(process, survives=lambda _: True)
            return
        process.links.append(link)
        process.has_registered = True
        self.heard(process)
        for other in self.processes:
            for each in [link for link in (*other.links, *other.dead_links) if link.closed_for]:
                self.close(other, each)
                self.stop(other, survives=lambda _: False)

    def close(self, process: Process, link: StillLink) -> None:
        """A connection is lost, and the service knows."""
        for links in (process.links, process.dead_links):
            if link in links:
                links.remove(link)
        link.lose()

    def stop(self, process: Process, survives: Any) -> None:
        """The process ends, and those of its calls that do not survive it."""
        process.is_running, process.sync = False, None
        for call in self.owned_by(process).values():
            call.owner, call.is_up = None, survives(call)

    def create(self, process: Process, link: StillLink) -> str:
        external_id = f"call {next(self._numbers)}"
        with link.asking() as service:
            session_id: str = service.create(external_id=external_id, request_id=external_id, state="active")
        self.calls[session_id] = Call(process.name, external_id, process)
        self.heard(process)
        return session_id

    def heard(self, process: Process) -> None:
        """The service has heard of a process, and so of all that it thinks is the process's."""
        for session_id, call in self.calls.items():
            if call.name == process.name and self.service.get(session_id).epoch == process.epoch:
                call.word = self.now

    # What the service ought to think of them

    def states(self) -> dict[tuple[str, str], str]:
        """The state of each incarnation, by name and epoch."""
        return {(each.name, each.epoch): "live" if self._is_heard(each) else "lost" for each in self.processes}

    def note_losses(self) -> None:
        """Note since when those are lost that are."""
        for key, state in self.states().items():
            if state == "live":
                self.lost_since.pop(key, None)
            else:
                self.lost_since.setdefault(key, self.now)

    def _is_heard(self, process: Process) -> bool:
        return any(link.heard_at + LEASE > self.now for link in (*process.links, *process.dead_links))
