"""How a peer and the gateway agree on a call: JSON objects over TCP, one in a line. A connection carries one call.

A browser cannot open such a connection. For one, make this module speak WebSocket or HTTP; nothing else knows.
"""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import msgspec

__all__ = ["Answer", "Bye", "Channel", "Message", "Offer"]


class Offer(msgspec.Struct, tag="offer"):
    """The first begins the call; each later one changes it, to hold it for example."""

    sdp: str
    caller: str | None = None
    """Who calls, in the first offer."""
    callee: str | None = None


class Answer(msgspec.Struct, tag="answer"):
    """The answer to an offer."""

    sdp: str
    call: str | None = None
    """The gateway's id of the call, which sessiond has as ``external_id``."""


class Bye(msgspec.Struct, tag="bye"):
    """Hang up, or: you have been hung up on."""

    reason: str | None = None


Message: TypeAlias = Offer | Answer | Bye

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


class Channel:
    """One connection, seen from either end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: Message) -> None:
        """Send ``message``. If the other end is gone, it is lost: ``receive`` says so."""
        if not self._writer.is_closing():
            self._writer.write(_encoder.encode(message) + b"\n")
            try:
                await self._writer.drain()
            except ConnectionError:
                self._writer.close()

    async def receive(self) -> Message | None:
        """The next message; None when the other end is gone, or does not speak this language."""
        try:
            line = await self._reader.readline()
            return _decoder.decode(line) if line else None
        except (ConnectionError, ValueError):  # ValueError: a line over 64 KiB, or msgspec's about what is no message
            return None

    def close(self, last: Message | None = None) -> None:
        """Send ``last``, if there is one, and close; whoever waits in ``receive`` gets None."""
        if not self._writer.is_closing():
            if last is not None:
                self._writer.write(_encoder.encode(last) + b"\n")
            self._writer.close()
