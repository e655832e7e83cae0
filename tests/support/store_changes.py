"""What a store is handed in the tests of faults: by chance, but of one seed always the same. Pure."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from sessiond.actors import history
from sessiond.actors.image import pack
from sessiond.actors.record import Session

__all__ = ["Changes", "image"]

MOST_AT_ONCE = 60
BEGAN = 1_000_000_000.0
TIMELINE = history.begun("initializing", 0, BEGAN)


def record(seq: int, version: int, now: float) -> Session:
    """A session of which every field depends on these."""
    names: dict[str, Any] = dict.fromkeys(Session.__struct_fields__)
    return Session(
        **names
        | {"id": f"id-{seq}", "type": "sip", "state": "active", "gateway": f"gw-{seq % 5}", "external_id": f"x\0{seq}"}
        | {"metadata": {"version": version, "ünï": "x" * (seq % 200)}, "created_at": float(seq), "updated_at": now}
        | {"last_activity_at": now, "version": version, "suspect": False}
    )


def image(seq: int, version: int, now: float) -> bytes:
    """That of a live one."""
    made = record(seq, version, now)
    return pack(made, (1.0, 2.0, 3.0), now, (f"request-{seq}", b"digest"), False, TIMELINE)


class Changes:
    """What happens, by chance."""

    def __init__(self, random: Random, first: int) -> None:
        self._random = random
        self._seq = first
        self._versions: dict[int, int] = {}
        self._now = BEGAN

    def some(self) -> list[tuple[Any, ...]]:
        """What is handed over next."""
        return [self._next() for _ in range(self._random.randint(1, MOST_AT_ONCE))]

    def _next(self) -> tuple[Any, ...]:
        chance = self._random.random()
        self._now += chance
        if chance < 0.3 or not self._versions:
            self._seq += 1
            return self._keep(self._seq, 1)
        seq = self._random.choice(list(self._versions)[-200:])
        if chance < 0.6:
            return self._keep(seq, self._versions[seq] + 1)
        if chance < 0.75:
            return ("touch", seq, self._now)
        if chance < 0.95:
            return self._end(seq, self._versions.pop(seq) + 1)
        if chance < 0.98:
            return ("put", self._random.choice(["a", "b"]), self._random.randrange(1 << 40))
        return ("author", self._random.randrange(1, 9), "gw", self._random.choice([None, "e1"]))

    def _keep(self, seq: int, version: int) -> tuple[Any, ...]:
        self._versions[seq] = version
        return ("keep", seq, image(seq, version, self._now))

    def _end(self, seq: int, version: int) -> tuple[Any, ...]:
        final = record(seq, version, self._now)
        final = msgspec.structs.replace(final, state="ended", ended_at=self._now, end_reason="busy", ended_by="caller")
        return ("end", seq, msgspec.structs.astuple(final), TIMELINE, f"request-{seq}", None)
