"""What gateways ask in a crash test: calls from beginning to end, by chance but for one seed always the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from crash_model import Call, Op

__all__ = ["Caller", "repeated"]

MOST_LIVE = 60
"""Calls that one line has up at once."""
MOST_VERSIONS = 40
"""A history keeps all changes of a call up to some more than that."""
NEXT = {
    "initializing": ("ringing", "active"),
    "ringing": ("active",),
    "active": ("held", "ringing"),  # the latter has been overtaken and changes nothing
    "held": ("active",),
}
VALUES = ("", "Ünïcödé", "x\0y", "x" * 300, True, 1, 1.0, -(2**63), 2**63 - 1, 0.1, -0.0, None)
REASONS = ("normal", "busy", "canceled", "failed", "x-other")


class Caller:
    """Chooses the requests of one line."""

    def __init__(self, random: Random, gateway: str, clock: Callable[[], float]) -> None:
        self._random, self._gateway, self._clock = random, gateway, clock
        self._numbers = itertools.count()
        self._last_at = 0.0

    def next(self, calls: Mapping[str, Call]) -> Op:
        """The next request, when the live ones of ``calls`` are as they will be."""
        chance = self._random.random()
        if not calls or (len(calls) < MOST_LIVE and chance < 0.3):
            return self._create()
        call = self._random.choice(list(calls.values()))
        if call.version >= MOST_VERSIONS or chance > 0.85:
            return self._end(call)
        return self._change(call)

    def _op(self, name: str, method: str, *params: Any) -> Op:
        return Op(name, method, params, self._clock())

    def _told(self) -> float:
        """A time that no service has reason to change: a while ago, and later than all before."""
        self._last_at = max(self._last_at + 0.0001, self._clock() - 1.0)
        return self._last_at

    def _create(self) -> Op:
        number, random = next(self._numbers), self._random
        name = f"{self._gateway}/{number}"
        fields: dict[str, Any] = {
            "type": random.choice(["sip", "webrtc", "fax"]),
            "gateway": self._gateway,
            "external_id": name,
            "request_id": f"{name}/INVITE",
            "at": self._told(),
            "setup_timeout": 3000 + number % 1000,
            "max_duration": 5000 + number % 1000,
        }
        if random.random() < 0.5:
            fields |= {"state": random.choice(list(NEXT)), "caller": f"+1555{number:06}", "direction": "inbound"}
        if random.random() < 0.3:
            fields |= {"metadata": {"trunk": f"t-{number % 7}", "value": random.choice(VALUES[:-1])}, "group": "conf"}
        return self._op(name, "create_session", fields)

    def _change(self, call: Call) -> Op:
        address = self._address(call)
        name, random = address["external_id"], self._random
        match random.randrange(8):
            case 0:
                return self._op(name, "touch_session", address)
            case 1:
                return self._op(name, "get_session", address)
            case 2:
                values = random.choice(["+1", None, "sip:bob@example.org"])
                return self._op(name, "update_session", address, {random.choice(["callee", "group"]): values})
            case 3 | 4:
                keys = random.sample(["trunk", "codec", "mos"], random.randint(1, 2))
                changes = {key: random.choice(VALUES) for key in keys}
                return self._op(name, "update_session_metadata", address, changes)
        state = random.choice(NEXT[call.record["state"]])
        return self._op(name, "update_session_state", address, state, {"at": self._told()})

    def _end(self, call: Call) -> Op:
        address, random = self._address(call), self._random
        options: dict[str, Any] = {"at": self._told(), "ended_by": random.choice(["caller", "callee", "gateway"])}
        if random.random() < 0.5:
            options |= {"sip_code": random.choice([200, 486, 487]), "q850_cause": 16}
        return self._op(address["external_id"], "end_session", address, random.choice(REASONS), options)

    def _address(self, call: Call) -> dict[str, Any]:
        return {name: call.record[name] for name in ("gateway", "external_id")}


def repeated(call: Call, now: float) -> Op:
    """The create of ``call`` once more."""
    return call.created_by._replace(sent_at=now)
