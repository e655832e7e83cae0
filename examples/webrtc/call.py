"""A call: one peer connection, and what becomes of its session."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Mapping

from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from media import HoldableTrack
from reports import Party, Report
from signalling import Answer, Bye, Channel, Offer

from sessiond import AsyncClient, arguments

__all__ = ["Call"]

logger = logging.getLogger(__name__)


class Call:
    """One call, from the offer to the end. The gateway answers it itself, and plays back what it hears.

    The session's state follows from the peer connection:

    ============  ==========================================================================
    initializing  the offer has come
    ringing       it is answered, ICE and DTLS are finding each other (``connecting``)
    active        the peer connection is ``connected``
    held          one of both has renegotiated that the peer is sent nothing
    ended         a bye, a lost peer, an end by the gateway, or a failure
    ============  ==========================================================================
    """

    def __init__(
        self, offer: Offer, channel: Channel, client: AsyncClient, gateway: str, ice: RTCConfiguration
    ) -> None:
        """Begin a call of ``gateway`` with its first offer, which ``run`` answers."""
        self.id = secrets.token_hex(8)
        self.state = "initializing"
        self._offer = offer
        self._channel = channel
        self._gateway = gateway
        self._created_at = time.time()
        self._answered_at: float | None = None
        self._metadata: dict[str, str] = {}
        self._is_held_here = False
        self._ended = asyncio.Event()
        self._echoes: list[HoldableTrack] = []
        self._peer = RTCPeerConnection(ice)
        self._peer.on("track", self._echo)
        self._peer.on("iceconnectionstatechange", self._ice_changed)
        self._peer.on("connectionstatechange", self._connection_changed)
        self._report = Report(client, gateway, self.id)
        self._report.created(self.as_created())

    def as_created(self) -> arguments.CreateArguments:
        """The call as it is now, or was when it ended, as arguments of ``create_session``."""
        fields: arguments.CreateArguments = {
            "type": "webrtc",
            "state": self.state,
            "gateway": self._gateway,
            "external_id": self.id,
            "request_id": self.id,
            "caller": self._offer.caller,
            "callee": self._offer.callee,
            "direction": "inbound",
            "metadata": dict(self._metadata),
            "at": self._created_at,
        }
        if self._answered_at is not None:
            fields["answered_at"] = self._answered_at
        return fields

    async def run(self) -> None:
        """Carry the call through. Returns when it has ended and sessiond knows."""
        await self._negotiate(self._offer)
        while (message := await self._channel.receive()) is not None:
            match message:
                case Offer():
                    await self._negotiate(message)
                case Bye():
                    self._end_by_caller()
        # Without signalling a call can go on, but not begin.
        if self._answered_at is None:
            self._end_by_caller()
        await self._ended.wait()
        await self._peer.close()
        await self._report.told()

    def touch(self) -> None:
        """Tell sessiond that the call still is."""
        if not self.is_over:
            self._report.touched()

    @property
    def is_over(self) -> bool:
        """Whether the call has ended. Sessiond may not have been told yet."""
        return self._ended.is_set()

    def end(self, reason: str, ended_by: Party = "gateway") -> None:
        """End the call; nothing happens if it has ended."""
        if not self.is_over:
            self._report.ended(reason, ended_by, time.time())
            self._hang_up(reason)

    def obey_end(self, reason: str) -> None:
        """End the call because sessiond says so, which has the end in its books or is about to."""
        if not self.is_over:
            self._report.no_more()
            self._hang_up(reason)

    def hold(self, is_held: bool) -> None:
        """Send the peer nothing, or again what it may have. Nothing is negotiated: it just gets quiet."""
        self._is_held_here = is_held
        self._apply_hold()

    def _hang_up(self, reason: str) -> None:
        self._ended.set()
        self._channel.close(Bye(reason))

    # What the peer wants

    async def _negotiate(self, offer: Offer) -> None:
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            await self._peer.setLocalDescription()
            answer = self._peer.localDescription.sdp
            self._annotate({"codec": first_codec(answer)})
        except Exception as error:  # noqa: BLE001  (what aiortc raises about an offer depends on what is wrong with it)
            if not self.is_over:
                logger.warning("Call %s: cannot answer the offer: %r", self.id, error)
            self.end("failed")
            return
        await self._channel.send(Answer(answer, self.id))
        self._apply_hold()

    def _end_by_caller(self) -> None:
        self.end("canceled" if self._answered_at is None else "normal", "caller")

    def _end_by_loss(self) -> None:
        self._annotate({"ice": "failed"})
        self.end("failed" if self._answered_at is None else "peer_lost")

    def _apply_hold(self) -> None:
        is_held = self._is_held()
        for echo in self._echoes:
            echo.is_held = is_held
        if self.state in {"active", "held"}:
            self._move("held" if is_held else "active")

    def _is_held(self) -> bool:
        """Whether the peer is to be sent nothing: it hears us no more, whatever it plays to us meanwhile."""
        if self._is_held_here:
            return True
        directions = {each.currentDirection for each in self._peer.getTransceivers()}
        return directions <= {"inactive", "recvonly"}

    # What the peer connection says

    def _echo(self, track: MediaStreamTrack) -> None:
        echo = HoldableTrack(track)
        self._echoes.append(echo)
        self._peer.addTrack(echo)

    def _ice_changed(self) -> None:
        if self._peer.iceConnectionState != "closed":  # which only says that the call is over
            self._annotate({"ice": self._peer.iceConnectionState})

    def _connection_changed(self) -> None:
        match self._peer.connectionState:
            case "connecting" if self.state == "initializing":
                self._move("ringing")
            case "connected" if self._answered_at is None:
                self._answered_at = time.time()
                self._move("active", self._answered_at)
                self._apply_hold()
            case "failed":
                self._end_by_loss()
            case "closed":
                # aiortc closes when DTLS is closed: the peer said so, or ICE has lost the peer and DTLS noticed first.
                if "failed" in self._ice_states():
                    self._end_by_loss()
                else:
                    self._end_by_caller()

    def _ice_states(self) -> set[str]:
        return {each.receiver.transport.transport.state for each in self._peer.getTransceivers()}

    # What sessiond is told

    def _move(self, state: str, at: float | None = None) -> None:
        if state != self.state and not self.is_over:
            self.state = state
            self._report.moved(state, time.time() if at is None else at)

    def _annotate(self, metadata: Mapping[str, str]) -> None:
        if not self.is_over and not metadata.items() <= self._metadata.items():
            self._metadata |= metadata
            self._report.annotated(metadata)


def first_codec(sdp: str) -> str:
    """The codec that comes first in a description.

    Raises:
        ValueError: there is none, so this is no call.
    """
    found = re.search(r"^a=rtpmap:\d+ ([^/]+)/", sdp, re.MULTILINE)
    if found is None:
        raise ValueError("no media")
    return found[1].lower()
