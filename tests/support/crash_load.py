"""The clients of a crash test: gateways that ask without waiting, and one who watches what they do."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from crash_calls import Caller
from crash_model import Line, Lost
from wire import Peer, request

__all__ = ["Gateway", "Watcher"]

WINDOW = 48
"""Requests of a gateway that wait for an answer at once."""


class _Thread(threading.Thread):
    """Runs until the connection is lost; ``finish`` tells what went wrong."""

    def __init__(self, name: str, peer: Peer) -> None:
        super().__init__(name=name, daemon=True)
        self._peer = peer
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            with contextlib.suppress(ConnectionError), contextlib.closing(self._peer):
                self.talk()
        except BaseException as error:  # noqa: BLE001  (raised by ``finish``)
            self._error = error

    def talk(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Once the service is dead: wait for the end."""
        self.join(20)
        assert not self.is_alive(), f"{self.name} has not noticed that the service is gone"
        if self._error is not None:
            raise self._error


class Gateway(_Thread):
    """Asks what a ``Caller`` chooses, with a window of requests under way, and notes everything in its ``Line``."""

    def __init__(self, name: str, peer: Peer, line: Line, caller: Caller, epoch: str | None) -> None:
        super().__init__(name, peer)
        self._line, self._caller, self._epoch = line, caller, epoch
        self._live = {name: call for name, call in line.expected.items() if call.is_live}
        self._versions: list[int] = []
        self.answers = 0

    def talk(self) -> None:
        if self._epoch is not None:
            self._peer.call("register_gateway", self.name, {"epoch": self._epoch})
        self._peer.send(*(self._next() for _ in range(WINDOW)))
        for batch in self._peer.batches():
            for message in batch:
                self._take(*message)
            self._peer.send(*(self._next() for _ in batch))

    def _next(self) -> bytes:
        op = self._caller.next(self._live)
        number = self._line.send(op)
        call = self._line.expected[op.name]
        if call.is_live:
            self._live[op.name] = call
        else:
            self._live.pop(op.name, None)
        self._versions.append(call.version)
        return request(number, op.method, *op.params)

    def _take(self, kind: int, number: int, error: Any, result: Any) -> None:
        op = self._line.sent[number]
        if (kind, error) != (1, None):
            raise Lost(f"{op}: {error}")
        if result["version"] != self._versions[number]:
            raise Lost(f"{op}: {result}, and it should be version {self._versions[number]}")
        self._line.answer(number)
        self.answers += 1


class Watcher(_Thread):
    """Watches everything."""

    def __init__(self, peer: Peer, above: int) -> None:
        """No change may have a number up to ``above`` any more."""
        super().__init__("watcher", peer)
        self.number = peer.call("watch", {"snapshot": False, "ended": "any"})["number"]
        if self.number < above:
            raise Lost(f"the watch goes on at {self.number}, and {above} has been told already")
        self.versions: dict[str, int] = {}
        """The highest of each call that was shown."""

    def talk(self) -> None:
        for batch in self._peer.batches():
            for _, method, (event,) in batch:
                assert method in {"session_changed", "gateway_changed"}, method
                if event["number"] <= self.number:
                    raise Lost(f"number {event['number']} comes after {self.number}")
                self.number = event["number"]
                if method == "session_changed":
                    self.versions[event["session"]["external_id"]] = event["session"]["version"]
