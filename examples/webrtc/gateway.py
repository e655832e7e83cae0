"""A WebRTC gateway that tells sessiond about its calls: ``python gateway.py --help``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import signal
from collections.abc import Mapping
from typing import Any

import ice
from aiortc import RTCConfiguration
from call import Call
from signalling import Channel, Offer

from sessiond import AsyncClient, AsyncGateway, arguments, errors

LINGER = 5
"""Seconds that a gateway which is stopped gives its calls to end."""


class Gateway:
    """Takes calls on one port, as many as come."""

    client: AsyncClient
    """Tells sessiond of the calls; there is one before the first call."""

    def __init__(self, name: str, configuration: RTCConfiguration) -> None:
        """Tell sessiond of them as calls of the gateway ``name``."""
        self._name = name
        self._configuration = configuration
        self._calls: dict[Call, asyncio.Task[None] | None] = {}

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry the call of one signalling connection through."""
        channel = Channel(reader, writer)
        offer = await channel.receive()
        if isinstance(offer, Offer):
            call = Call(offer, channel, self.client, self._name, self._configuration)
            self._calls[call] = asyncio.current_task()
            try:
                await call.run()
            finally:
                del self._calls[call]
        channel.close()

    # What AsyncGateway asks for

    def sessions(self) -> list[arguments.CreateArguments]:
        """The calls that there are now, as arguments of ``create_session``: what sessiond is made to agree with.

        Those of whose end sessiond has not been told are among them, or it would end them itself, as failed.
        """
        return [call.as_created() for call in self._calls]

    async def terminate(self, arguments: Mapping[str, Any]) -> None:
        """An operator wants a call to end."""
        self._find(arguments).obey_end(arguments.get("reason") or "admin")

    async def modify(self, arguments: Mapping[str, Any]) -> None:
        """An operator wants a call to be held, or to go on."""
        match arguments["changes"]:
            case {"state": "held" | "active" as state, **others} if not others:
                self._find(arguments).hold(state == "held")
            case _:
                raise errors.InvalidRequest("Only the state can be changed, to held or active", field="changes")

    def ended(self, external_id: str, end_reason: str) -> None:
        """Sessiond has ended a session whose call goes on."""
        for call in self._calls:
            if call.id == external_id:
                call.obey_end(end_reason)

    def _find(self, arguments: Mapping[str, Any]) -> Call:
        for call in self._calls:
            if call.id == arguments["external_id"] and not call.is_over:
                return call
        raise errors.NotFound("No such call", external_id=arguments["external_id"])

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
    host, port = options.sessiond
    gateway = Gateway(options.name, ice.configuration(options.stun))
    async with AsyncGateway(
        options.name,
        host=host,
        port=port,
        epoch=secrets.token_hex(4),
        sessions=gateway.sessions,
        on_ended=gateway.ended,
        commands={"terminate_session": gateway.terminate, "modify_session": gateway.modify},
    ) as registered:
        gateway.client = registered.client
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
