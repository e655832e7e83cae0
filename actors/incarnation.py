"""One run of a gateway: who holds which sessions, and whether it is still there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sessiond.actors.bitmap import Bitmap, Words
from sessiond.actors.clock import Instant
from sessiond.actors.deadlines import Deadline
from sessiond.actors.graces import Graces
from sessiond.actors.record import Scalar
from sessiond.actors.results import Author

__all__ = ["ADMIN", "CLIENT", "MAX_AUTHORS", "SERVICE", "Authors", "Incarnation", "Incarnations", "Judgement", "Link"]

CLIENT, SERVICE, ADMIN, _UNKNOWN = 0, 1, 2, 3
"""The numbers of authors that are no gateways: whoever did not register, the service itself, an administrator, and a
gateway that came after too many others to be told apart."""

MAX_AUTHORS = 65_535
"""As many as a history's entries can tell apart."""


class Link(Protocol):
    """A connection of a gateway, as far as the actors know it."""

    heard_at: float
    """When something was last heard on it, on the monotonic clock."""
    lease: float
    """For how many seconds after that the gateway counts as live."""
    capabilities: frozenset[str]
    """What the gateway can be asked to do on this connection."""
    incarnation: Incarnation | None
    """Whose connection it is."""

    def bind(self, incarnation: Incarnation, spoke: Callable[[], object]) -> None:
        """From now on it is a connection of ``incarnation``, which is who makes the requests on it.

        ``spoke`` is called when something is heard on it while the incarnation is lost. A connection is bound to one
        incarnation for good.
        """

    def when_lost(self, tell: Callable[[], object]) -> None:
        """Have ``tell`` called once the connection is lost."""

    def notify(self, method: str, params: Sequence[object]) -> None:
        """Send a notification, behind all that was sent before; nothing if the connection is lost or ending."""

    def close(self, reason: str) -> None:
        """Close the connection, once what it asked for is answered; ``reason`` is for logs and metrics."""

    def ask(
        self,
        method: str,
        arguments: Mapping[str, object],
        answered: Callable[[Any, Any], object],
        lost: Callable[[], object],
    ) -> Callable[[], None]:
        """Send a request; what to call once no answer is wanted any more.

        Until then ``answered`` is told the error and the result of the answer, or ``lost`` is called when the
        connection is lost, and there will be none.
        """
        ...


class Judgement(NamedTuple):
    """What a successor has told: which sessions it goes on with. The others are over, whatever is left of a grace."""

    began: Instant
    """When it began to tell; of what was heard of since, nobody knows whether it knew already."""
    named: Words

    def is_over(self, seq: int, touched: Instant) -> bool:
        """Whether a session is over of which something was last heard at ``touched``."""
        return touched.monotonic < self.began.monotonic and seq not in self.named


class Incarnation:
    """One run of a gateway's processes, told apart from earlier and later ones by its epoch.

    It is lost when nothing is heard of it any more; the sessions that it holds are suspect then. Losing and finding it
    again takes the same time for one session as for 50,000, since none of them is looked at.
    """

    __slots__ = (
        "author",
        "capabilities",
        "epoch",
        "found",
        "gateway",
        "has_shared",
        "is_replaced",
        "judged",
        "lease",
        "links",
        "loss",
        "metadata",
        "refused_parts",
        "registered",
        "renewed_until",
        "sessions",
        "takes_commands",
    )

    def __init__(self, gateway: str, epoch: str | None, author: int, now: Instant) -> None:
        """Hold no session yet; ``author`` is its number in histories."""
        self.gateway = gateway
        self.epoch = epoch
        self.author = author
        self.sessions = Bitmap()
        """The sequence numbers of the live sessions that it holds."""
        self.loss: Deadline | None = None
        """When it was lost, and for how many seconds its sessions wait for it; None while it lives."""
        self.judged: Judgement | None = None
        """What its successor has told of its sessions; None while it has not told of all."""
        self.registered = now
        """When it registered for the first time."""
        self.found = now
        """When it was found, for the first time or again: nothing was heard of its sessions just before."""
        self.links: dict[Link, None] = {}
        """Its connections, in the order in which they registered."""
        self.lease = 0.0
        """Seconds; the one asked for last."""
        self.renewed_until = -math.inf
        """Until when it counts as live without any connection, on the monotonic clock: renewed by its name."""
        self.capabilities: frozenset[str] = frozenset()
        """What it said without a connection that it can be asked to do."""
        self.takes_commands = False
        """Whether it ever had a connection on which it can be told to do something."""
        self.metadata: Mapping[str, Scalar] = {}
        self.refused_parts = 0
        """How many parts of syncs were refused for what was in them: nobody knows which sync they were of."""
        self.is_replaced = False
        """Whether another one has taken its name over."""
        self.has_shared = False
        """Whether it ever lived side by side with another one of its gateway."""

    @property
    def live_until(self) -> float:
        """Until when it counts as live if nothing more is heard of it, on the monotonic clock."""
        return max(self.renewed_until, max((link.heard_at + link.lease for link in self.links), default=-math.inf))

    def is_over(self, now: Instant) -> bool:
        """Whether its sessions have waited long enough for it."""
        return self.loss is not None and self.loss.monotonic <= now.monotonic

    def gives_up(self, seq: int, touched: Instant, now: Instant) -> bool:
        """Whether a session that it holds is over, of which something was last heard at ``touched``."""
        if self.loss is None:
            return False
        return self.is_over(now) or (self.judged is not None and self.judged.is_over(seq, touched))


class Authors:
    """Who made the changes that histories tell of, by number."""

    def __init__(self) -> None:
        self._known = dict(enumerate((Author("client"), Author("service"), Author("admin"), Author("gateway"))))
        self._numbers: dict[tuple[str, str | None], int] = {}
        self._last = _UNKNOWN
        self.announce: Callable[[int, str, str | None], object] | None = None
        """Told of every new one, before its number is in any history."""

    def number(self, gateway: str, epoch: str | None) -> int:
        """The number of an incarnation."""
        number = self._numbers.get((gateway, epoch))
        if number is None:
            number = self._last + 1
            if number > MAX_AUTHORS:
                return _UNKNOWN
            self.recall(number, gateway, epoch)
            if self.announce is not None:
                self.announce(number, gateway, epoch)
        return number

    def recall(self, number: int, gateway: str, epoch: str | None) -> None:
        """Note one that had its number before this run of the service."""
        self._last = max(self._last, number)
        self._numbers[gateway, epoch] = number
        self._known[number] = Author("gateway", gateway, epoch)

    def gateways(self) -> Iterator[tuple[int, Author]]:
        """The numbers that incarnations of gateways have."""
        for (gateway, epoch), number in self._numbers.items():
            yield number, Author("gateway", gateway, epoch)

    def __getitem__(self, number: int) -> Author:
        """Who has ``number``."""
        try:
            return self._known[number]
        except KeyError:
            return self._known[_UNKNOWN]


class Incarnations:
    """The incarnations that are known, by gateway, in the order in which they registered."""

    def __init__(self, suspects: dict[int, Bitmap]) -> None:
        """Keep ``suspects``, the sessions of each lost incarnation by their identity."""
        self.of: dict[str, list[Incarnation]] = {}
        """Those of each gateway; only to be read."""
        self.graces = Graces()
        """The lost ones, for whoever ends their sessions."""
        self._suspects = suspects

    def __iter__(self) -> Iterator[Incarnation]:
        for known in self.of.values():
            yield from known

    def newest(self, gateway: str | None) -> Incarnation | None:
        """The live one of a gateway that registered last; it holds what others create in the gateway's name."""
        for incarnation in reversed(self.of.get(gateway, ()) if gateway is not None else ()):
            if incarnation.loss is None:
                return incarnation
        return None

    def find(self, gateway: str, epoch: str | None) -> Incarnation | None:
        """The one that has these names."""
        return next((each for each in self.of.get(gateway, ()) if each.epoch == epoch), None)

    def add(self, incarnation: Incarnation) -> None:
        """Know one more."""
        self.of.setdefault(incarnation.gateway, []).append(incarnation)

    def remove(self, incarnation: Incarnation) -> None:
        """Know one less, and its gateway too if that was the last."""
        known = self.of[incarnation.gateway]
        known.remove(incarnation)
        if not known:
            del self.of[incarnation.gateway]
        self._suspects.pop(id(incarnation.sessions), None)

    def lose(self, incarnation: Incarnation, now: Instant, grace: float) -> None:
        """One that lived is lost; its sessions wait ``grace`` seconds for it."""
        incarnation.loss = Deadline(now, grace, "gateway_lost")
        self._suspects[id(incarnation.sessions)] = incarnation.sessions
        self.graces.add(incarnation, now.monotonic + grace)

    def recover(self, incarnation: Incarnation, now: Instant) -> None:
        """One that was lost lives."""
        incarnation.loss = incarnation.judged = None
        incarnation.found = now
        del self._suspects[id(incarnation.sessions)]

    def judge(self, incarnation: Incarnation, judgement: Judgement, now: Instant) -> None:
        """The successor of a lost one has told all: what it has not named need not wait any longer than ``now``."""
        incarnation.judged = judgement
        self.graces.add(incarnation, now.monotonic)
