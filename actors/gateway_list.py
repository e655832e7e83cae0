"""The pages of ``list_gateways``."""

from __future__ import annotations

import heapq

from sessiond.actors.incarnation import Incarnation, Incarnations
from sessiond.actors.params import GatewayQuery
from sessiond.actors.results import Gateway, Gateways

__all__ = ["page"]


def page(incarnations: Incarnations, query: GatewayQuery) -> Gateways:
    """The incarnations that ``query`` asks for, by the names of their gateways, those of one name together."""
    if query.name is not None:
        return Gateways([_shown(each) for each in incarnations.of.get(query.name, ())], None)
    after = query.cursor or ""
    names = heapq.nsmallest(query.limit + 1, (name for name in incarnations.of if name > after))
    shown: list[Gateway] = []
    last = None
    for name in names:
        if len(shown) >= query.limit:
            return Gateways(shown, last)
        shown += (_shown(each) for each in incarnations.of[name])
        last = name
    return Gateways(shown, None)


def _shown(incarnation: Incarnation) -> Gateway:
    loss = incarnation.loss
    return Gateway(
        incarnation.gateway,
        incarnation.epoch,
        "live" if loss is None else "lost",
        None if loss is None else loss.start.wall,
        len(incarnation.links),
        len(incarnation.sessions),
        sorted(incarnation.capabilities.union(*(link.capabilities for link in incarnation.links))),
        dict(incarnation.metadata),
        incarnation.registered.wall,
    )
