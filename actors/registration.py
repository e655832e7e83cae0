"""What a registration leads to: who an incarnation of a gateway is, given those that are known of it.

Whoever registers is known by its epoch, and either comes back or is another one: beside, after or in the place of
those that are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from sessiond.actors.incarnation import Incarnation

__all__ = ["EVENTS", "JOINED", "Policy", "Verdict", "judged", "removable", "superior"]

Policy: TypeAlias = Literal["share", "take_over", "refuse"]
"""What becomes of an incarnation that comes while another one of its gateway lives: both live; the older one has to
go; the younger one is refused."""

REGISTERED, RESUMED, RESTARTED = "registered", "resumed", "restarted"
SHARED, TAKEN_OVER, REFUSED = "shared", "taken_over", "refused"
JOINED = "joined"
"""A further connection of an incarnation that lives, or another word from one that registered before."""

EVENTS = (REGISTERED, RESUMED, RESTARTED, SHARED, TAKEN_OVER, REFUSED, "lost", "forgotten")
"""What happens to gateways, for the metrics."""


class Verdict(NamedTuple):
    """What a registration leads to."""

    outcome: str
    known: Incarnation | None = None
    """The incarnation that registers again; None for one that is new."""
    replaced: Sequence[Incarnation] = ()
    """Those whose place it takes."""
    obstacle: Incarnation | None = None
    """The one because of which it is refused."""


def judged(known: Sequence[Incarnation], epoch: str | None, policy: Policy) -> Verdict:
    """What becomes of whoever registers with ``epoch``; ``known`` are all incarnations of its gateway, oldest first."""
    same = next((each for each in known if each.epoch == epoch), None)
    if same is not None and same.loss is None:
        return Verdict(JOINED, same)
    live = superior(known, same)
    if live is not None and (policy == "refuse" or (same is not None and same.is_replaced and same.sessions)):
        return Verdict(REFUSED, same, obstacle=live)
    replaced = _replaced(known, same) if policy == "take_over" else ()
    if live is not None and policy == "take_over":
        return Verdict(TAKEN_OVER, same, replaced)
    if same is not None:
        return Verdict(RESUMED, same, replaced)
    if live is not None:
        return Verdict(SHARED)
    return Verdict(RESTARTED if any(each.sessions for each in known) else REGISTERED, None, replaced)


def superior(known: Sequence[Incarnation], same: Incarnation | None) -> Incarnation | None:
    """The youngest other one that lives; while there is one, an incarnation that was replaced is refused."""
    return next((each for each in reversed(known) if each is not same and each.loss is None), None)


def _replaced(known: Sequence[Incarnation], same: Incarnation | None) -> Sequence[Incarnation]:
    """All others that live or might speak again."""
    return [each for each in known if each is not same and (each.loss is None or each.links)]


def removable(known: Sequence[Incarnation]) -> list[Incarnation]:
    """Those of which nothing is left but the name."""
    return [each for each in known if each.loss is not None and not each.sessions and not each.links]
