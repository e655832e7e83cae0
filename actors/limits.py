"""How many sessions of one kind there may be, and how fast they may come: decided before one is created.

How many there are is never counted by hand. It is the size of a set, that of the live sessions which an index has under
a value, so whatever takes a session out of the index (a change, an end, a crash) has also made room. How fast they come
cannot be seen in what lives, so each value has a bucket for that, and only for as long as its creations matter.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from sessiond.actors.directory import Directory
from sessiond.actors.errors import InvalidRequest, LimitExceeded, NotFound
from sessiond.actors.index import FieldIndex, strict
from sessiond.actors.params import NewSession, ShortName, Value
from sessiond.actors.record import Scalar, Session
from sessiond.actors.settings import Count

__all__ = ["FIELDS", "MAX_BUCKETS", "MAX_SESSIONS", "Admission", "Buckets", "Limit", "Refusal", "indexes"]

FIELDS = ("gateway", "caller", "callee", "type", "group")
"""The fields that a limit may be by."""
STEADY = frozenset({"gateway", "type"})
"""Those of them that a session keeps for life."""
METADATA = "metadata."
"""What comes before the key in the name of what else it may be by."""
BY = f"{', '.join(FIELDS)} or {METADATA}KEY"

MAX_SESSIONS = "max_sessions"
RESERVED = frozenset({MAX_SESSIONS, "groups"})
"""Limits that the service has of its own, as errors name them."""

MAX_BUCKETS = 65_536
"""Of one limit so many values are told apart, those of the latest creations; 20 MB. With more within the time in which
a bucket fills again, the oldest counts as full early: too many might come of it, never too few."""
TOLERANCE = 1e-6
"""Of a session, for what sums of floats lose."""


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """So many sessions with one value, at once or per second or both.

    Raises:
        ValueError: it limits nothing, or not by what there is.
    """

    name: Annotated[
        ShortName,
        Meta(
            description="What errors, metrics and `explain_limit` call it; no two have the same.",
            extra={"expected": "a string of 1 to 64 characters"},
        ),
    ]
    by: Annotated[
        str,
        Meta(
            description="What is limited: the sessions that have the same value here. Those without one are not.",
            extra={"expected": BY},
        ),
    ]
    value: Annotated[
        Value | None,
        Meta(
            description="Limits the sessions with this value only; without it those of every value, each on its own.",
            extra={"expected": "a string, or where it is of metadata also a number, true or false"},
        ),
    ] = None
    concurrent: Annotated[
        Count | None,
        Meta(
            description="As many may be live at once; 0 lets none in.",
            extra={"expected": "a whole number from 0 to 10,000,000"},
        ),
    ] = None
    per_second: Annotated[
        Annotated[float, Meta(gt=0, le=100_000)] | None,
        Meta(
            description="As many may be created per second in the long run, and as many (but one at least) at once.",
            extra={"expected": "a number above 0 to 100,000"},
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse what no type says."""
        if self.name in RESERVED:
            raise ValueError(f"name must not be {self.name}, which is a limit of the service itself")
        if self.by not in FIELDS and not (self.by.startswith(METADATA) and self.by != METADATA):
            raise ValueError(f"by must be {BY}, not {self.by!r}")
        if self.value is not None and not self.may_be(self.value):
            raise ValueError(f"value must be a string, since {self.by} is, not {self.value!r}")
        if self.concurrent is None and self.per_second is None:
            raise ValueError("concurrent or per_second is missing")

    @property
    def key(self) -> str | None:
        """The key of metadata that it is by; None if it is by a field."""
        return self.by.removeprefix(METADATA) if self.by.startswith(METADATA) else None

    def may_be(self, value: Scalar) -> bool:
        """Whether what it is by can have this value."""
        return isinstance(value, str) or self.key is not None


def indexes(metadata_keys: Iterable[str], limits: Iterable[Limit]) -> tuple[list[str], list[str]]:
    """What a directory must index: the keys of metadata, with those of limits, and the fields whose living count."""
    keys = dict.fromkeys(metadata_keys)
    steady: dict[str, None] = {}
    for limit in limits:
        if limit.key is not None:
            keys[limit.key] = None
        elif limit.by in STEADY:
            steady[limit.by] = None
    return [*keys], [*steady]


class Refusal(NamedTuple):
    """Why a session may not be created."""

    limit: Limit
    value: Scalar
    current: int
    """As many live already, or as many of the latest creations still count."""
    maximum: float
    is_rate: bool

    @property
    def error(self) -> LimitExceeded:
        """What the caller is told."""
        per = {"per": "second"} if self.is_rate else {}
        return LimitExceeded(
            f"The limit {self.limit.name} is reached",
            limit=self.limit.name,
            by=self.limit.by,
            value=self.value,
            current=self.current,
            maximum=self.maximum,
            **per,
        )


class Buckets:
    """The latest creations of each value, leaking at the rate that is allowed.

    A bucket that has run dry is as good as none, so none is kept: of those least lately used two are looked at for
    each one used. They run dry in about the order of their use, so their number stays near that of those in which
    there is something.
    """

    def __init__(self, per_second: float) -> None:
        """Allow ``per_second`` creations of each value in the long run, and as many, but one at least, at once."""
        self._per_second = per_second
        self._room = max(1.0, per_second) + TOLERANCE
        self._held: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """What was in each bucket when it was last used, and when that was; the latest last."""

    def __len__(self) -> int:
        """Values whose creations are kept in mind."""
        return len(self._held)

    def level(self, value: Hashable, now: float) -> float:
        """How many of the creations of ``value`` still count at ``now`` (monotonic)."""
        held = self._held.get(value)
        return 0.0 if held is None else self._left(held, now)

    def has_room(self, value: Hashable, now: float) -> bool:
        """Whether one more may be created."""
        return self.level(value, now) + 1 <= self._room

    def add(self, value: Hashable, now: float) -> None:
        """One more was created."""
        self._held[value] = (self.level(value, now) + 1, now)
        self._held.move_to_end(value)
        for _ in range(2):
            oldest = next(iter(self._held.values()))
            if len(self._held) <= MAX_BUCKETS and self._left(oldest, now) > 0:
                return
            self._held.popitem(last=False)

    def _left(self, held: tuple[float, float], now: float) -> float:
        level, then = held
        return max(0.0, level - (now - then) * self._per_second)


class _Rule:
    """A limit, and where it finds what it needs to know."""

    __slots__ = ("buckets", "expected", "index", "limit")

    def __init__(self, limit: Limit, index: FieldIndex, expected: Counter[Hashable]) -> None:
        self.limit = limit
        self.index = index
        self.expected = expected
        self.buckets = None if limit.per_second is None else Buckets(limit.per_second)

    def refusal(self, value: Scalar, key: Hashable, now: float) -> Refusal | None:
        """What keeps a session with ``value``, whose ``strict`` key is given, out at ``now``, if anything does."""
        limit = self.limit
        current = self.index.size(key) + self.expected[key]
        if limit.concurrent is not None and current >= limit.concurrent:
            return Refusal(limit, value, current, limit.concurrent, is_rate=False)
        if limit.per_second is not None and self.buckets is not None and not self.buckets.has_room(key, now):
            level = math.ceil(self.buckets.level(key, now) - TOLERANCE)
            return Refusal(limit, value, level, limit.per_second, is_rate=True)
        return None


class _Rules:
    """The limits by one field or key, found by value: a hundred trunks, each with its own, cost no more than one."""

    def __init__(self, limits: list[Limit], index: FieldIndex) -> None:
        by, key = limits[0].by, limits[0].key
        self._read: Callable[[NewSession | Session], Any] = attrgetter(by) if key is None else _metadata_reader(key)
        expected: Counter[Hashable] = Counter()
        self._expected = expected
        rules = [_Rule(limit, index, expected) for limit in limits]
        self._of_any = [rule for rule in rules if rule.limit.value is None]
        self._of_one: dict[Hashable, list[_Rule]] = {}
        for rule in rules:
            if rule.limit.value is not None:
                self._of_one.setdefault(strict(rule.limit.value), []).append(rule)

    def applying(self, new: NewSession) -> Iterator[tuple[_Rule, Scalar, Hashable]]:
        """The rules for a new session, each with the value that it is about and the ``strict`` key of that."""
        value = self._read(new)
        if value is not None:
            key = strict(value)
            for rule in (*self._of_one.get(key, ()), *self._of_any):
                yield rule, value, key

    def expect(self, record: Session, count: int) -> None:
        """So many more sessions like this one are not in the index yet."""
        value = self._read(record)
        if value is not None:
            key = strict(value)
            self._expected[key] += count
            if not self._expected[key]:
                del self._expected[key]


def _metadata_reader(key: str) -> Callable[[NewSession | Session], Any]:
    return lambda new: None if new.metadata is None else new.metadata.get(key)


class Admission:
    """Whether another session may be created, by all limits that are configured."""

    def __init__(self, limits: Iterable[Limit], directory: Directory[Any]) -> None:
        """Judge by what lives in ``directory``, which must have the ``indexes`` that the limits need."""
        self.limits = {limit.name: limit for limit in limits}
        """All limits by name."""
        self._indexes: dict[str, FieldIndex] = {}
        for limit in self.limits.values():
            self._indexes[limit.by] = directory.live[limit.by] if limit.key is None else directory.metadata[limit.key]
        self._rules = [
            _Rules([limit for limit in self.limits.values() if limit.by == by], index)
            for by, index in self._indexes.items()
        ]

    def admit(self, new: NewSession, now: float) -> Refusal | None:
        """Take in ``new`` at ``now`` (monotonic), or say what keeps it out; then it has left no trace."""
        taken: list[tuple[Buckets, Hashable]] = []
        for rules in self._rules:
            for rule, value, key in rules.applying(new):
                refusal = rule.refusal(value, key, now)
                if refusal is not None:
                    return refusal
                if rule.buckets is not None:
                    taken.append((rule.buckets, key))
        for buckets, key in taken:
            buckets.add(key, now)
        return None

    def expect(self, record: Session) -> None:
        """A session was let in, and is not in the directory yet: it counts all the same."""
        for rules in self._rules:
            rules.expect(record, 1)

    def came(self, record: Session) -> None:
        """One that was expected is in the directory, or will never be."""
        for rules in self._rules:
            rules.expect(record, -1)

    def current(self, limit: Limit, value: Scalar) -> int:
        """How many sessions with ``value`` live."""
        return self._indexes[limit.by].size(strict(value))

    def find(self, name: str, value: Scalar | None) -> tuple[Limit, Scalar]:
        """The limit of that name, and the value that a question about it is about.

        Raises:
            NotFound: no limit has the name.
            InvalidRequest: it is about every value and none is given, or about another one, or ``value`` cannot be.
        """
        limit = self.limits.get(name)
        if limit is None:
            raise NotFound("No such limit", limit=name)
        if value is None:
            if limit.value is None:
                raise InvalidRequest(f"value: {name} limits each value on its own, so say which", field="value")
            return limit, limit.value
        if limit.value is not None and strict(limit.value) != strict(value):
            raise InvalidRequest(f"value: {name} limits another one", field="value")
        if not limit.may_be(value):
            raise InvalidRequest(f"value: {limit.by} is a string", field="value")
        return limit, value
