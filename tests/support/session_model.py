"""A plain model of sessions, written from the contract alone: what a service should answer, and what it should keep."""

from __future__ import annotations

import dataclasses
import math

__all__ = ["DEFAULTS", "RETENTION", "Call", "Fault", "Model", "flat"]

DEFAULTS = {"setup_timeout": 300, "idle_timeout": 400, "max_duration": 1500}
RETENTION = 60
CHANGES = {
    "initializing": ("ringing", "active", "ended"),
    "ringing": ("active", "ended"),
    "active": ("held", "ended"),
    "held": ("active", "ended"),
}
OPEN, UP = ("initializing", "ringing"), ("active", "held")


class Fault(Exception):
    """What the model expects to be refused, by code and details."""

    def __init__(self, code, **details):
        super().__init__(code)
        self.code, self.details = code, details


def strict(metadata):
    """Metadata as a client compares it, to whom 1, 1.0 and true are three values."""
    return {key: (type(value), value) for key, value in metadata.items()}


def flat(record):
    return record | {"metadata": strict(record["metadata"])}


@dataclasses.dataclass
class Call:
    """A session as the contract tells of it."""

    record: dict
    timeouts: dict
    created: float  # on the monotonic clock, as are the next two
    answered: float | None
    active: float
    ended: float | None = None

    def require(self, if_version):
        if if_version is not None and if_version != self.record["version"]:
            raise Fault("version_conflict", version=self.record["version"], state=self.record["state"])

    def change(self, now, **fields):
        self.record |= {**fields, "version": self.record["version"] + 1, "updated_at": now.wall}

    def act(self, now):
        self.active, self.record["last_activity_at"] = now.monotonic, now.wall

    def deadline(self):
        """The earliest that runs, as (moment, the same on the wall's clock, reason); of two the idle timeout's."""
        return min(self._deadlines(), key=lambda deadline: deadline[0], default=(math.inf, None, None))

    def _deadlines(self):
        names = ("setup_timeout",) if self.record["state"] in OPEN else ("idle_timeout", "max_duration")
        starts = {
            "setup_timeout": (self.created, self.record["created_at"]),
            "idle_timeout": (self.active, self.record["last_activity_at"]),
            "max_duration": (self.answered, self.record["answered_at"]),
        }
        if self.ended is not None:
            return []
        return [
            (starts[name][0] + self.timeouts[name], starts[name][1] + self.timeouts[name], name)
            for name in names
            if self.timeouts[name]
        ]

    def shown(self):
        return self.record | {"expires_at": self.deadline()[1]}

    def clamped(self, at, now):
        times = [self.record[name] for name in ("created_at", "ringing_at", "answered_at")]
        last = max(time for time in times if time is not None)
        return max(last, now.wall if at is None else min(at, now.wall))

    def end(self, now, reason, by, at=None, answered_at=None, sip_code=None, q850_cause=None):
        ended_at = self.clamped(at, now)
        if self.record["answered_at"] is None and answered_at is not None:
            self.record["answered_at"] = min(self.clamped(answered_at, now), ended_at)
        default = "failed" if self.record["answered_at"] is None else "normal"
        ending = {"state": "ended", "ended_at": ended_at, "end_reason": reason or default, "ended_by": by}
        self.change(now, **ending, sip_code=sip_code, q850_cause=q850_cause)
        self.ended = now.monotonic


class Model:
    """What the service should answer."""

    def __init__(self):
        self.calls = {}  # by id, in the order of creation
        self.requests = {}

    def find(self, target):
        if isinstance(target, str):
            if target not in self.calls:
                raise Fault("not_found")
            return self.calls[target]
        fitting = [
            call
            for call in self.calls.values()
            if (call.record["gateway"], call.record["external_id"]) == (target["gateway"], target["external_id"])
        ]
        live = [call for call in fitting if call.ended is None]
        if len(live) > 1:
            raise Fault("conflict", ids=sorted(call.record["id"] for call in live))
        if not fitting:
            raise Fault("not_found")
        return live[0] if live else fitting[-1]

    def find_live(self, target):
        call = self.find(target)
        if call.ended is not None:
            raise Fault("session_ended")
        return call

    def known(self, fields):
        """The session that these fields, all of them given, created before."""
        if fields["answered_at"] is not None and fields["state"] not in UP:
            raise Fault("invalid_request", field="answered_at")
        if fields["request_id"] is None:
            return None
        known = self.requests.get((fields["gateway"], fields["request_id"]))
        if known is None:
            return None
        if known[1] != fields:
            raise Fault("conflict", id=known[0])
        return self.calls[known[0]]

    def create(self, session_id, fields, now):
        created_at = now.wall if fields["at"] is None else min(fields["at"], now.wall)
        answered_at = None
        if fields["state"] in UP:
            told = created_at if fields["answered_at"] is None else fields["answered_at"]
            answered_at = max(created_at, min(told, now.wall))
        never = ("ended_at", "end_reason", "ended_by", "sip_code", "q850_cause")
        record = dict.fromkeys(never) | {
            "id": session_id,
            **{name: fields[name] for name in ("type", "state", "gateway", "external_id", "caller", "callee")},
            **{name: fields[name] for name in ("direction", "parent", "group")},
            "epoch": None,
            "suspect": False,
            "metadata": fields["metadata"] or {},
            "created_at": created_at,
            "updated_at": now.wall,
            "ringing_at": created_at if fields["state"] == "ringing" else None,
            "answered_at": answered_at,
            "last_activity_at": now.wall,
            "version": 1,
        }
        self.calls[session_id] = Call(
            record,
            {name: default if fields[name] is None else fields[name] for name, default in DEFAULTS.items()},
            created=now.monotonic - (now.wall - created_at),
            answered=None if answered_at is None else now.monotonic - (now.wall - answered_at),
            active=now.monotonic,
        )
        if fields["request_id"] is not None:
            self.requests[fields["gateway"], fields["request_id"]] = (session_id, fields)

    def update_state(self, target, state, if_version, at, now):
        call = self.find(target)
        if call.ended is not None and state == "ended":
            return call, False
        call = self.find_live(target)
        call.require(if_version)
        old = call.record["state"]
        if state == "ended":
            call.act(now)
            call.end(now, None, "gateway", at)
        elif state == old or (state == "ringing" and old in UP):
            call.act(now)
            return call, state != old
        elif state not in CHANGES[old]:
            raise Fault("invalid_transition", state=old, wanted=state)
        else:
            call.act(now)
            times = {}
            if state == "ringing":
                times["ringing_at"] = call.clamped(at, now)
            elif call.record["answered_at"] is None:
                times["answered_at"] = call.clamped(at, now)
                call.answered = now.monotonic - (now.wall - times["answered_at"])
            call.change(now, state=state, **times)
        return call, False

    def update(self, target, changes, if_version, now):
        call = self.find_live(target)
        call.require(if_version)
        call.act(now)
        fields = {name: value for name, value in changes.items() if name not in DEFAULTS}
        timeouts = {
            name: DEFAULTS[name] if value is None else value for name, value in changes.items() if name in DEFAULTS
        }
        if call.record | fields != call.record or call.timeouts | timeouts != call.timeouts:
            call.timeouts |= timeouts
            call.change(now, **fields)
        return call

    def annotate(self, target, metadata, if_version, now):
        call = self.find_live(target)
        call.require(if_version)
        call.act(now)
        old = call.record["metadata"]
        merged = {key: value for key, value in (old | metadata).items() if value is not None}
        if strict(merged) != strict(old):
            call.change(now, metadata=merged)
        return call

    def end(self, target, reason, options, now):
        call = self.find(target)
        if call.ended is None:
            call.require(options.get("if_version"))
            call.act(now)
            given = {name: value for name, value in options.items() if name not in ("if_version", "ended_by")}
            call.end(now, reason, options.get("ended_by") or "gateway", **given)
        record = call.record
        talk = 0 if record["answered_at"] is None else record["ended_at"] - record["answered_at"]
        return (record["version"], record["ended_at"], record["ended_at"] - record["created_at"], talk)

    def restart(self, now):
        """The service has been started anew: of all times it knows only the wall's."""
        for call in self.calls.values():
            call.created, call.answered, call.active, call.ended = (
                None if time is None else now.monotonic - (now.wall - time)
                for time in (
                    call.record["created_at"],
                    call.record["answered_at"],
                    call.record["last_activity_at"],
                    None if call.ended is None else call.record["updated_at"],
                )
            )

    def pass_time(self, now):
        for call in self.calls.values():
            moment, _, reason = call.deadline()
            if moment <= now.monotonic:
                call.end(now, reason, "service")
        for session_id, call in list(self.calls.items()):
            if call.ended is not None and call.ended + RETENTION <= now.monotonic:
                del self.calls[session_id]
                self.requests = {key: known for key, known in self.requests.items() if known[0] != session_id}
