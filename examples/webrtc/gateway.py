"""A WebRTC gateway that tells sessiond about its calls: ``python gateway.py --help``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal

import ice
from aiortc import RTCConfiguration
from call import Call
from signalling import Channel, Offer

from sessiond import AsyncClient

LINGER = 5
"""Seconds that a gateway which is stopped gives its calls to end."""


class Gateway:
    """Takes calls on one port, as many as come."""

    def __init__(self, name: str, client: AsyncClient, configuration: RTCConfiguration) -> None:
        """Tell sessiond of them by ``client``, as calls of the gateway ``name``."""
        self._name = name
        self._client = client
        self._configuration = configuration
        self._calls: dict[Call, asyncio.Task[None] | None] = {}

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry the call of one signalling connection through."""
        channel = Channel(reader, writer)
        offer = await channel.receive()
        if isinstance(offer, Offer):
            call = Call(offer, channel, self._client, self._name, self._configuration)
            self._calls[call] = asyncio.current_task()
            try:
                await call.run()
            finally:
                del self._calls[call]
        channel.close()

    async def touch_all(self, every: float) -> None:
        """Tell sessiond every so many seconds which calls still are, for ever."""
        while True:
            await asyncio.sleep(every)
            for call in self._calls:
                call.touch()

    async def end_all(self, reason: str) -> None:
        """End every call, and see to it that peers and sessiond are told."""
        running = [task for task in self._calls.values() if task is not None]
        for call in self._calls:
            call.end(reason)
        if running:
            await asyncio.wait(running, timeout=LINGER)


async def serve(options: argparse.Namespace) -> None:
    """Take calls until a signal ends it."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncClient(*options.sessiond) as client:
        gateway = Gateway(options.name, client, ice.configuration(options.stun))
        server = await asyncio.start_server(gateway.take, *options.listen)
        host, port = server.sockets[0].getsockname()[:2]
        touching = asyncio.create_task(gateway.touch_all(options.touch))
        print(f"{options.name} listening on {host}:{port}", flush=True)
        await stopping.wait()
        touching.cancel()
        server.close()
        await gateway.end_all("shutdown")


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--name", default="webrtc-1", help="what sessiond knows this gateway as")
    parser.add_argument("--listen", default="127.0.0.1:7700", type=address, help="where peers signal")
    parser.add_argument("--sessiond", default="127.0.0.1:7600", type=address, help="where sessiond listens")
    parser.add_argument("--stun", default=[], action="append", metavar="URL", help="a STUN server, like stun:HOST:PORT")
    parser.add_argument(
        "--host-address",
        default=[],
        action="append",
        metavar="IP",
        help="offer peers this address of this host, and none that is not named; 127.0.0.1 is never offered unnamed",
    )
    parser.add_argument(
        "--consent-timeout", default=30.0, type=float, metavar="SECONDS", help="take a peer for lost after this silence"
    )
    parser.add_argument(
        "--touch", default=600.0, type=float, metavar="SECONDS", help="well below the idle_timeout of sessiond"
    )
    options = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    ice.offer_addresses(options.host_address)
    ice.expire_consent(options.consent_timeout)
    asyncio.run(serve(options))


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, taken apart."""
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main()
