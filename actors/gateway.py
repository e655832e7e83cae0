"""The gateway actor: whether a gateway is still there, and which run of it."""

from __future__ import annotations

import contextlib
import logging
import math
from typing import TYPE_CHECKING

from sessiond.actors.commanding import CAPABILITY
from sessiond.actors.errors import Conflict, LimitExceeded, SessiondError
from sessiond.actors.guard import run
from sessiond.actors.incarnation import Incarnation
from sessiond.actors.registration import JOINED, Verdict, judged, removable, superior
from sessiond.actors.results import Registered, Renewed
from sessiond.actors.service import ServiceActor
from sessiond.actors.sync import predecessors

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context
    from sessiond.actors.incarnation import Judgement, Link
    from sessiond.actors.params import Registration

__all__ = ["MAX_INCARNATIONS", "GatewayActor"]

logger = logging.getLogger(__name__)

MAX_INCARNATIONS = 64
"""Of one gateway that are known at once: more are no restarts, but somebody who makes epochs up."""
POLL = 1.0
"""Seconds between looks at a lost incarnation whose grace is over and which cannot be forgotten yet: its sessions are
being ended, or a connection of which nothing is heard is still open."""


class _Look:
    """The gateway's own timer."""

    def __init__(self, due: float) -> None:
        self.due = due


class GatewayActor(ServiceActor):
    """Looks after the incarnations of one gateway, which are in the books: it keeps nothing that a crash could lose.

    Its operations are run by the registry and by the gateway's connections, each as a turn. What may wait in its
    mailbox meanwhile are looks, and a look sees what there is then.
    """

    name = "gateway"

    def __init__(self, context: Context, gateway: str, gone: Callable[[GatewayActor, str], None]) -> None:
        """Look after ``gateway``; ``gone`` is called with both when nothing is left of it, and the actor stops."""
        super().__init__(context)
        self._gateway = gateway
        self._gone = gone
        self._looks_at = math.inf
        """When its timer will go off, on the monotonic clock."""

    # The operations

    def register(self, asked: Registration, link: Link | None) -> Registered:
        """Whoever asks, on ``link`` or in process, is an incarnation from now on, or again.

        Raises:
            Conflict: the policy lets no other one live, or it was replaced.
            LimitExceeded: too many incarnations.
        """
        books = self._context.incarnations
        verdict = judged(books.of.get(self._gateway, ()), asked.epoch, self._context.gateways.policy)
        if verdict.outcome != JOINED:
            self._context.tally.count_gateway(verdict.outcome)
        if verdict.obstacle is not None:
            raise self._conflict(verdict.obstacle)
        now = self._context.clock.read()
        for each in verdict.replaced:
            self._replace(each, asked.epoch, now)
        incarnation = self._found(verdict, asked.epoch, now)
        self._renew(incarnation, asked, link, now)
        if verdict.outcome != JOINED:
            self._log(logging.INFO, verdict.outcome, incarnation)
        return self._registered(incarnation, verdict.outcome)

    def renew(self, incarnation: Incarnation) -> Renewed:
        """It was heard of, not on a connection of its own but by its name.

        Raises:
            Conflict: it was replaced.
        """
        if self._context.requester is not incarnation:
            if incarnation.is_replaced and (live := superior(self._known, incarnation)) is not None:
                raise self._conflict(live)
            now = self._context.clock.read()
            incarnation.renewed_until = now.monotonic + incarnation.lease
            self._revive(incarnation, now)
        return Renewed(incarnation.lease)

    def predecessors(self, incarnation: Incarnation) -> list[Incarnation]:
        """Those in whose place it is, and whose calls it therefore knows all about."""
        return predecessors(self._known, incarnation)

    def judge(self, incarnation: Incarnation, judgement: Judgement) -> None:
        """It has told of all that it has: what its predecessors had and it has not is over."""
        now = self._context.clock.read()
        for each in self.predecessors(incarnation):
            self._context.incarnations.judge(each, judgement, now)

    def spoke(self, incarnation: Incarnation) -> None:
        """Something was heard on a connection of one that is lost."""
        if not incarnation.is_replaced:
            self._revive(incarnation, self._context.clock.read())

    def left(self, incarnation: Incarnation, link: Link) -> None:
        """A connection of it is lost."""
        del incarnation.links[link]
        self._check(incarnation, self._context.clock.read())

    def look(self) -> None:
        """Lose those whose lease has lapsed, forget those of which nothing is left, and look again in time."""
        now = self._context.clock.read()
        for incarnation in list(self._known):
            self._check(incarnation, now)
            if incarnation.is_over(now) and removable((incarnation,)):
                self._forget(incarnation)
        if self._known:
            self._look_at(min(_next_look(each, now) for each in self._known), now)
        else:
            self._gone(self, self._gateway)
            self.actor_ref.stop(block=False)

    # As an actor

    @property
    def full_name(self) -> str:
        """See ``ServiceActor``."""
        return f"gateway {self._gateway}"

    def on_start(self) -> None:
        """See ``pykka.Actor``: by now it has been registered with."""
        self.look()

    def resume(self) -> None:
        """See ``ServiceActor``: no timer is set any more."""
        self._looks_at = math.inf
        self.look()

    def on_receive(self, message: object) -> object:
        """See ``pykka.Actor``."""
        if not isinstance(message, _Look):
            return super().on_receive(message)
        if message.due == self._looks_at:  # else a sooner look has been arranged since
            self.resume()
        return None

    # Inside

    @property
    def _known(self) -> list[Incarnation]:
        return self._context.incarnations.of.get(self._gateway, [])

    def _found(self, verdict: Verdict, epoch: str | None, now: Instant) -> Incarnation:
        """The incarnation that registers, live and known."""
        incarnation = verdict.known
        if incarnation is None:
            self._make_room()
            incarnation = Incarnation(self._gateway, epoch, self._context.authors.number(self._gateway, epoch), now)
            self._context.incarnations.add(incarnation)
            self._publish(incarnation)
        incarnation.is_replaced = False
        if incarnation.loss is not None:
            self._context.incarnations.recover(incarnation, now)
            self._publish(incarnation)
        self._note_sharing()
        return incarnation

    def _make_room(self) -> None:
        if len(self._known) >= MAX_INCARNATIONS:
            for each in removable(self._known):
                self._forget(each)
        if len(self._known) >= MAX_INCARNATIONS:
            text = "As many incarnations of the gateway are known as may be"
            raise LimitExceeded(text, limit="incarnations", maximum=MAX_INCARNATIONS)

    def _renew(self, incarnation: Incarnation, asked: Registration, link: Link | None, now: Instant) -> None:
        incarnation.lease = asked.lease or self._context.gateways.lease
        if asked.metadata is not None:
            incarnation.metadata = asked.metadata
        capabilities = frozenset(asked.capabilities or ())
        if link is None:
            incarnation.renewed_until = now.monotonic + incarnation.lease
            incarnation.capabilities = capabilities
        else:
            link.heard_at, link.lease, link.capabilities = now.monotonic, incarnation.lease, capabilities
            if link.incarnation is None:
                self._bind(incarnation, link)
            incarnation.takes_commands |= CAPABILITY in capabilities
            self._tell_commander(incarnation)
        self._look_at(now.monotonic + incarnation.lease, now)

    def _bind(self, incarnation: Incarnation, link: Link) -> None:
        def spoke() -> None:
            with contextlib.suppress(SessiondError):  # a crash, which is dealt with; the request has done nothing wrong
                run(self, lambda gateway: gateway.spoke(incarnation))

        incarnation.links[link] = None
        link.when_lost(lambda: run(self, lambda gateway: gateway.left(incarnation, link)))
        link.bind(incarnation, spoke)

    def _tell_commander(self, incarnation: Incarnation) -> None:
        """Commands may wait for somebody who takes them."""
        if incarnation.takes_commands and self._context.commander is not None:
            self._context.commander.found(self._gateway)

    def _registered(self, incarnation: Incarnation, outcome: str) -> Registered:
        return Registered(
            self._gateway,
            incarnation.epoch,
            outcome,
            incarnation.lease,
            self._context.gateways.grace,
            len(incarnation.sessions),
            sum(len(each.sessions) for each in self._known if each.loss is not None),
            self._context.instance,
        )

    def _conflict(self, live: Incarnation) -> Conflict:
        return Conflict(
            "Another incarnation of this gateway lives",
            gateway=self._gateway,
            epoch=live.epoch,
            instance=self._context.instance,
        )

    def _replace(self, incarnation: Incarnation, epoch: str | None, now: Instant) -> None:
        incarnation.is_replaced = True
        incarnation.renewed_until = -math.inf
        if incarnation.loss is None:
            self._lose(incarnation, now)
        for link in list(incarnation.links):
            link.notify("gateway_replaced", [{"gateway": self._gateway, "epoch": epoch}])
            link.close("taken_over")

    def _check(self, incarnation: Incarnation, now: Instant) -> None:
        if incarnation.loss is None and incarnation.live_until <= now.monotonic:
            self._lose(incarnation, now)

    def _lose(self, incarnation: Incarnation, now: Instant) -> None:
        grace = self._context.gateways.grace
        self._context.incarnations.lose(incarnation, now, grace)
        self._publish(incarnation)
        self._context.tally.count_gateway("lost")
        suspect = len(incarnation.sessions)
        if suspect:
            are = "1 session is" if suspect == 1 else f"{suspect} sessions are"
            self._log(logging.WARNING, f"{are} suspect and will end in {grace:g} s unless it comes back", incarnation)
        else:
            self._log(logging.INFO, "lost, with no sessions", incarnation)
        self._look_at(now.monotonic + grace, now)

    def _revive(self, incarnation: Incarnation, now: Instant) -> None:
        if incarnation.loss is not None:
            self._context.tally.count_gateway("resumed")
            self._log(logging.INFO, "it is back", incarnation)
            self._context.incarnations.recover(incarnation, now)
            self._publish(incarnation)
            self._note_sharing()
            self._tell_commander(incarnation)
            self._look_at(now.monotonic + incarnation.lease, now)

    def _log(self, level: int, what: str, incarnation: Incarnation) -> None:
        """Have the log tell of it at a limited rate: a network that fails loses all gateways, again and again."""
        more = self._context.gateway_log.admits(self._context.clock.read().monotonic)
        if more is not None:
            logger.log(level, "Gateway %s (epoch %s): %s%s", self._gateway, incarnation.epoch, what, more)

    def _publish(self, incarnation: Incarnation) -> None:
        """Record, for those who watch, whether it lives now."""
        recording = self._context.recording
        if recording is not None:
            recording.gateway_changed(self._gateway, incarnation.epoch, "live" if incarnation.loss is None else "lost")

    def _note_sharing(self) -> None:
        live = [each for each in self._known if each.loss is None]
        if len(live) > 1:
            for each in live:
                each.has_shared = True

    def _forget(self, incarnation: Incarnation) -> None:
        self._context.incarnations.remove(incarnation)
        self._context.tally.count_gateway("forgotten")

    def _look_at(self, due: float, now: Instant) -> None:
        """Look at ``due`` at the latest."""
        if due >= self._looks_at:
            return
        self._looks_at = due
        self._tell_later(max(0.0, due - now.monotonic), _Look(due))


def _next_look(incarnation: Incarnation, now: Instant) -> float:
    if incarnation.loss is None:
        return incarnation.live_until
    return incarnation.loss.monotonic if incarnation.loss.monotonic > now.monotonic else now.monotonic + POLL
