"""MessagePack-RPC behind asyncio streams, written as one would who has an afternoon for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgpack

__all__ = ["CALLER_AT_FAULT", "RequestError", "serve"]

READ_SIZE = 65_536
CALLER_AT_FAULT = 1

Answer = Callable[[str, list[Any]], Any]
"""What a method answers to its parameters; a ``RequestError`` if it refuses."""


class RequestError(Exception):
    """A request was refused; its argument is the code of the error."""


def serve(answer: Answer) -> None:
    """Serve on a free port of this machine, which is printed, until the process is killed."""
    asyncio.run(_serve(answer))


async def _serve(answer: Answer) -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unpacker, pack = msgpack.Unpacker(), msgpack.Packer().pack
        while data := await reader.read(READ_SIZE):
            unpacker.feed(data)
            writer.write(b"".join(pack(_answered(answer, *request)) for request in unpacker))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def _answered(answer: Answer, _kind: int, msgid: int, method: str, params: list[Any]) -> tuple[Any, ...]:
    """The response to one request."""
    try:
        return 1, msgid, None, answer(method, params)
    except RequestError as error:
        return 1, msgid, (CALLER_AT_FAULT, str(error), {"code": str(error)}), None
