"""What aioice, which is what aiortc reaches peers with, has no options for."""

from __future__ import annotations

from collections.abc import Sequence

import aioice.ice
import aioice.stun
from aiortc import RTCConfiguration, RTCIceServer

__all__ = ["configuration", "expire_consent", "offer_addresses"]


def configuration(stun: Sequence[str] = ()) -> RTCConfiguration:
    """Peer connections that ask these STUN servers, and no other: aiortc's default asks Google's."""
    return RTCConfiguration(iceServers=[RTCIceServer(url) for url in stun])


def offer_addresses(addresses: Sequence[str]) -> None:
    """Offer peers these addresses of this host; without any, all of its addresses but 127.0.0.1 and ::1.

    aioice leaves loopback out, as the standard wants it: what one host offers another to reach it by must not be that.
    So two peers on a host without a network have nothing to offer each other, and no call ever connects. There is no
    option, and a peer connection makes its ICE agent itself; but the agent looks this function up in its module.
    """
    if addresses:
        aioice.ice.get_host_addresses = lambda **_: list(addresses)


def expire_consent(seconds: float) -> None:
    """Take a peer for gone that has not answered for about so many seconds.

    ICE asks a peer over and over whether it still wants to be sent to (RFC 7675, which says 30 s). aioice gives up at
    the sixth question without an answer, for each of which it waits half a second, after a pause.
    """
    pause = max(0.1, seconds / aioice.ice.CONSENT_FAILURES - aioice.stun.RETRY_RTO)
    aioice.ice.CONSENT_INTERVAL = pause  # type: ignore[assignment]  # an int only because it is 5
