"""What may be left of calls after a crash, from the contract alone: pure, and simple enough to be obviously right.

A ``Line`` is one connection: requests in one order, of which some have been answered. A service that loses nothing and
does nothing by halves comes back with what a beginning of that order makes of the calls, and with no less of it than
has been answered. (Only an answer that tells of nothing new may come while changes of other calls are not kept yet.)

Requests of one call are carried out in order. Those of different calls are too, unless one of the calls has been quiet,
or is from before the start: such a call may have to be read first, and its requests wait for that while those of other
calls go on. So a quiet call may have had less than that beginning, but no less than was answered of itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

__all__ = ["TOUCHES_KEPT", "Call", "Line", "Lost", "Op", "Seen", "after", "is_same"]

TOUCHES_KEPT = 2.0
"""Seconds after which a touch has to be kept."""
QUIET = 1.0
"""Seconds after which a call of which nobody asked anything may have to be read."""
ONE_MOMENT = 0.25
"""Seconds that a service may take for one moment: all that it reads together is as of when it began to read."""

UP = ("active", "held")
WAYS = {
    "initializing": ("ringing", "active", "ended"),
    "ringing": ("active", "ended"),
    "active": ("held", "ended"),
    "held": ("active", "ended"),
}
OWN = ("gateway", "external_id", "caller", "callee", "direction", "group")
"""Fields of a create that are the session's as they are, nil if they were not given."""
VAGUE = frozenset({"last_activity_at", "expires_at", "suspect"})
"""Fields that may differ from what was shown before, although nothing has changed."""


class Lost(Exception):
    """The service has come back with something else than it had to."""


class Op(NamedTuple):
    """A request about one call, which is named by its external id."""

    name: str
    method: str
    params: tuple[Any, ...]
    """As on the wire."""
    sent_at: float
    """Epoch seconds; the service got it at this time or later."""


class Seen(NamedTuple):
    """A call as the service shows it."""

    record: Mapping[str, Any]
    entries: list[dict[str, Any]]
    """Of its history."""


@dataclass(frozen=True)
class Call:
    """A call as it should be. Never changed: each operation makes another one."""

    record: Mapping[str, Any]
    """The fields that follow from the requests."""
    entries: tuple[Mapping[str, Any], ...]
    """Of its history likewise; ``at`` only where the gateway told it."""
    created_by: Op
    active_since: float
    """No later than the last activity of which the service has to know (epoch seconds)."""
    shown: Mapping[str, Any] | None = None
    """The whole record as it was seen last."""

    @property
    def is_live(self) -> bool:
        return self.record["state"] != "ended"

    @property
    def version(self) -> int:
        return self.record["version"]

    @property
    def expires_at(self) -> float | None:
        """When its deadline is; the create has to give both timeouts, shorter than that of idle calls."""
        (given,) = self.created_by.params
        if not self.is_live:
            return None
        if self.record["state"] in UP:
            return self.record["answered_at"] + given["max_duration"]
        return self.record["created_at"] + given["setup_timeout"]

    def changed(self, op: Op, entry: Mapping[str, Any], **fields: Any) -> Call:
        record = {**self.record, **fields, "version": self.version + 1}
        return replace(self, record=record, entries=(*self.entries, entry), active_since=op.sent_at)

    def differences(self, seen: Seen | None) -> list[str]:
        """What is wrong with what the service shows."""
        if seen is None:
            return ["is missing"]
        wrong = [
            f"{name} is {seen.record[name]!r}, not {value!r}"
            for name, value in self.record.items()
            if not is_same(seen.record[name], value)
        ]
        if self.is_live and seen.record["last_activity_at"] < self.active_since - ONE_MOMENT:
            wrong.append(f"last_activity_at is {seen.record['last_activity_at']}, before {self.active_since}")
        if abs((seen.record["expires_at"] or 0.0) - (self.expires_at or 0.0)) > 0.01:
            wrong.append(f"expires_at is {seen.record['expires_at']}, not {self.expires_at}")
        if self.shown is not None and self.shown["version"] == seen.record["version"]:
            wrong += [
                f"{name} was {value!r} and is {seen.record[name]!r}"
                for name, value in self.shown.items()
                if name not in VAGUE and not is_same(seen.record[name], value)
            ]
        return wrong or self._differences_of_history(seen.entries)

    def _differences_of_history(self, entries: list[dict[str, Any]]) -> list[str]:
        if len(entries) != len(self.entries):
            return [f"its history has {len(entries)} entries, not {len(self.entries)}: {entries}"]
        return [
            f"entry {number} of its history is {entry}, not {expected}"
            for number, (entry, expected) in enumerate(zip(entries, self.entries, strict=True))
            if any(entry.get(name) != value for name, value in expected.items())
        ]


def is_same(value: Any, other: Any) -> bool:
    """Whether these are equal, and in metadata of one type: 1, 1.0 and true are three values."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(is_same(value[key], other[key]) for key in value)
    return value == other and type(value) is type(other)


def after(call: Call | None, op: Op, touches_until: float = math.inf) -> Call:
    """``call`` once ``op`` has been carried out; None is one that is not there yet.

    What changes nothing is activity all the same, which counts if it was no later than ``touches_until`` (epoch):
    touches are kept within a second or so, and nobody is told.
    """
    if call is None:
        return _created(op)
    if not call.is_live or op.method in ("create_session", "get_session"):
        return call
    changed = _changed(call, op)
    if changed is call and op.sent_at <= touches_until:
        return replace(call, active_since=op.sent_at)
    return changed


def _changed(call: Call, op: Op) -> Call:
    _, *arguments = op.params
    match op.method, arguments:
        case "update_session_state", [state, {"at": at}]:
            return _moved(call, op, state, at)
        case "update_session_metadata", [changes]:
            return _annotated(call, op, changes)
        case "update_session", [changes]:
            return _updated(call, op, changes)
        case "end_session", [reason, {"at": at, **options}]:
            return _ended(call, op, reason, at, options)
    return call


def _created(op: Op) -> Call:
    (given,) = op.params
    state, at = given.get("state", "initializing"), given["at"]
    record = {
        **{name: given.get(name) for name in OWN},
        "type": given["type"],
        "state": state,
        "metadata": given.get("metadata", {}),
        "created_at": at,
        "ringing_at": at if state == "ringing" else None,
        "answered_at": at if state in UP else None,
        **dict.fromkeys(("parent", "ended_at", "end_reason", "ended_by", "sip_code", "q850_cause")),
        "version": 1,
    }
    return Call(record, ({"change": "created", "state": state, "at": at},), op, op.sent_at)


def _moved(call: Call, op: Op, state: str, at: float) -> Call:
    if state not in WAYS[call.record["state"]]:
        return call  # it is there already, or has been overtaken
    times = {}
    if state == "ringing":
        times["ringing_at"] = at
    elif call.record["answered_at"] is None:
        times["answered_at"] = at
    return call.changed(op, {"change": "state", "state": state, "at": at}, state=state, **times)


def _annotated(call: Call, op: Op, changes: Mapping[str, Any]) -> Call:
    old = call.record["metadata"]
    merged = {key: value for key, value in {**old, **changes}.items() if value is not None}
    if is_same(merged, old):
        return call
    return call.changed(op, {"change": "metadata"}, metadata=merged)


def _updated(call: Call, op: Op, changes: Mapping[str, Any]) -> Call:
    if all(call.record[name] == value for name, value in changes.items()):
        return call
    return call.changed(op, {"change": "fields"}, **changes)


def _ended(call: Call, op: Op, reason: str, at: float, options: Mapping[str, Any]) -> Call:
    fields = {"ended_by": "gateway", **options, "end_reason": reason, "ended_at": at}
    return call.changed(op, {"change": "ended", "reason": reason}, state="ended", **fields)


@dataclass
class Line:
    """What was asked on one connection, and how much of it must be there after a crash."""

    calls: dict[str, Call] = field(default_factory=dict)
    """As they were settled last, by external id."""
    sent: list[Op] = field(default_factory=list)
    """Since then."""
    kept: int = 0
    """So many of these have surely been carried out."""
    expected: dict[str, Call] = field(default_factory=dict)
    """The calls with everything that was sent."""

    _decisive: list[int] = field(default_factory=list)
    """For each of ``sent`` the number of the last one, itself maybe, that changed its call; -1 if none has."""
    _changed: dict[str, int] = field(default_factory=dict)
    """The last one that changed a call, by external id."""
    _kept_of: dict[str, int] = field(default_factory=dict)
    """``kept`` of what is about one call, by external id."""
    _awake: dict[str, float] = field(default_factory=dict)
    """The calls that cannot have been quiet, by external id, and when somebody asked of them last."""

    def send(self, op: Op) -> int:
        """Note that ``op`` goes out now; its number."""
        number, before = len(self.sent), self.expected.get(op.name)
        call = after(before, op)
        if before is None or call.version > before.version:
            self._changed[op.name] = number
        if before is None or self._awake.get(op.name, -math.inf) > op.sent_at - QUIET:
            self._awake[op.name] = op.sent_at
        else:
            self._awake.pop(op.name, None)
        self.sent.append(op)
        self.expected[op.name] = call
        self._decisive.append(self._changed.get(op.name, -1))
        return number

    def answer(self, number: int) -> None:
        """That request has been answered, so what it tells of its call is kept, and every change before that."""
        name, kept = self.sent[number].name, self._decisive[number] + 1
        self.kept = max(self.kept, kept)
        self._kept_of[name] = max(self._kept_of.get(name, 0), kept)

    def forget_answers(self) -> None:
        """They have promised nothing."""
        self.kept = 0
        self._kept_of.clear()

    def observe(self, name: str, version: int) -> None:
        """Somebody has seen that version of a call: nobody ever sees what may still be lost."""
        call = self.calls.get(name)
        for number, op in enumerate(self.sent):
            if call is not None and call.version >= version:
                return
            if op.name == name:
                call = after(call, op)
                if call.version >= version:
                    self.answer(number)
        if call is None or call.version < version:
            raise Lost(f"{name} was seen at version {version}, which nobody has asked for")

    def recover(self, seen: Mapping[str, Seen], crashed_at: float) -> int:
        """Take over what the service shows of all calls of this line; how many of those in doubt were carried out.

        Raises:
            Lost: nothing that may be left of what was sent makes this of them.
        """
        calls, done, touches_until = dict(self.calls), 0, crashed_at - TOUCHES_KEPT
        wrong = {name: texts for name, call in calls.items() if (texts := call.differences(seen.get(name)))}
        wrong |= {name: ["nobody has asked for it, or too late"] for name in seen.keys() - calls.keys()}
        fewest = None
        for number, op in enumerate([*self.sent, None]):
            if number >= self.kept:
                if not wrong:
                    return self._settle(calls, seen, done)
                if fewest is None or len(wrong) < len(fewest):
                    fewest = wrong.copy()
            if op is None or self._has_ceased(op.name, number, wrong):
                continue
            calls[op.name] = after(calls.get(op.name), op, touches_until)
            done += number >= self.kept
            texts = calls[op.name].differences(seen.get(op.name))
            wrong.pop(op.name, None)
            if texts:
                wrong[op.name] = texts
        raise Lost("; ".join(f"{name}: {', '.join(texts)}" for name, texts in sorted((fewest or {}).items())[:5]))

    def _has_ceased(self, name: str, number: int, wrong: Mapping[str, object]) -> bool:
        """Whether a call may have had nothing from that request on, and looks so."""
        return name not in self._awake and name not in wrong and number >= self._kept_of.get(name, 0)

    def _settle(self, calls: Mapping[str, Call], seen: Mapping[str, Seen], done: int) -> int:
        self.calls = {name: replace(call, shown=seen[name].record) for name, call in calls.items()}
        self.expected = dict(self.calls)
        self.forget_answers()
        for each in (self.sent, self._decisive, self._changed, self._awake):
            each.clear()
        return done

    def forget(self, name: str) -> None:
        """A call that has ended and been compared."""
        del self.calls[name], self.expected[name]
