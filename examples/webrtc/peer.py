"""Calls a gateway: ``python peer.py --help``. Commands come from standard input, news go to standard output.

Commands, each a line: ``hold``, ``resume``, ``stats``, ``bye`` (hang up), ``drop`` (close without a word). The end of
the input hangs up. News are JSON objects, each a line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys

import ice
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import AudioStreamTrack
from aiortc.stats import RTCInboundRtpStreamStats
from media import HoldableTrack
from signalling import Answer, Bye, Channel, Offer

COMMANDS = {"hold", "resume", "stats", "bye", "drop"}


class Peer:
    """One caller: sends silence, and counts what comes back."""

    def __init__(self, number: int, channel: Channel) -> None:
        self._number = number
        self._channel = channel
        self._connection = RTCPeerConnection(ice.configuration())
        self._microphone = HoldableTrack(AudioStreamTrack())
        self._loudspeaker = MediaBlackhole()
        self._transceiver = self._connection.addTransceiver(self._microphone)
        self._connection.on("track", self._loudspeaker.addTrack)
        self._connection.on("connectionstatechange", self._connection_changed)

    async def run(self, caller: str, callee: str) -> None:
        """Call ``callee``. Returns when the call is over."""
        await self._offer(caller, callee)
        reason = "signalling lost"
        while (message := await self._channel.receive()) is not None:
            match message:
                case Answer():
                    await self._connection.setRemoteDescription(RTCSessionDescription(message.sdp, "answer"))
                    await self._loudspeaker.start()
                    self._tell("answered", call=message.call, direction=self._transceiver.currentDirection)
                case Bye():
                    reason = message.reason or reason
        await self.drop()
        self._tell("ended", reason=reason)

    async def hold(self) -> None:
        """Put the gateway on hold: neither send nor receive."""
        self._microphone.is_held = True
        self._transceiver.direction = "inactive"
        await self._offer()

    async def resume(self) -> None:
        """Go on after a hold."""
        self._microphone.is_held = False
        self._transceiver.direction = "sendrecv"
        await self._offer()

    async def stats(self) -> None:
        """Tell how many packets have come in."""
        report = await self._connection.getStats()
        inbound = [each for each in report.values() if isinstance(each, RTCInboundRtpStreamStats)]
        self._tell("stats", received=sum(each.packetsReceived for each in inbound))

    async def bye(self) -> None:
        """Hang up."""
        await self._channel.send(Bye())

    async def drop(self) -> None:
        """Close the peer connection and say nothing, as a page does that is closed."""
        await self._connection.close()
        self._channel.close()

    async def _offer(self, caller: str | None = None, callee: str | None = None) -> None:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        await self._channel.send(Offer(self._connection.localDescription.sdp, caller, callee))

    def _connection_changed(self) -> None:
        self._tell("connection", state=self._connection.connectionState)

    def _tell(self, event: str, **more: object) -> None:
        print(json.dumps({"peer": self._number, "event": event, **more}), flush=True)


async def call(options: argparse.Namespace) -> None:
    """Make as many calls as wanted, and do with all of them what the commands say."""
    peers = [
        Peer(number, Channel(*await asyncio.open_connection(options.host, options.port)))
        for number in range(options.calls)
    ]
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(peer.run(f"{options.caller}-{n}", options.callee)) for n, peer in enumerate(peers)]
        commands = group.create_task(obey(peers))
        await asyncio.wait(calls)
        commands.cancel()


async def obey(peers: list[Peer]) -> None:
    """Carry out the commands, each for all of the peers."""
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    with contextlib.closing(pipe):
        while line := await commands.readline():
            command = line.decode().strip()
            if command in COMMANDS:
                await asyncio.gather(*(getattr(peer, command)() for peer in peers))
            else:
                print(json.dumps({"event": "unknown command", "command": command}), flush=True)
        await asyncio.gather(*(peer.bye() for peer in peers))


def main() -> None:
    """Call as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host", nargs="?", default="127.0.0.1", help="of the gateway")
    parser.add_argument("port", nargs="?", default=7700, type=int, help="where the gateway listens for peers")
    parser.add_argument("--calls", default=1, type=int, help="so many at once")
    parser.add_argument("--caller", default="alice", help="who calls; the number of the call is added")
    parser.add_argument("--callee", default="echo", help="who is called")
    parser.add_argument("--host-address", default=[], action="append", metavar="IP", help="see gateway.py")
    options = parser.parse_args()
    ice.offer_addresses(options.host_address)
    asyncio.run(call(options))


if __name__ == "__main__":
    main()
