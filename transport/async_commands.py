"""What the service asks of a gateway: carried out by handlers, and answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from sessiond.actors.errors import Internal, InvalidRequest, Overloaded, SessiondError, UnknownMethod
from sessiond.transport.codec import Call, encode_error, encode_result

__all__ = ["MAX_COMMANDS", "Commands", "Handler"]

Handler: TypeAlias = Callable[[dict[str, Any]], Awaitable[Any]]
"""Carries out a command with its arguments. Its result is the answer, or the error of ``sessiond.errors`` it raises."""

MAX_COMMANDS = 256
"""Commands that are carried out at once; the service is told to come back later with more."""

logger = logging.getLogger("sessiond.commands")

_decode = msgspec.msgpack.Decoder(tuple[dict[str, Any]]).decode
_Key: TypeAlias = tuple[str, bytes]


class Commands:
    """The commands that a gateway carries out.

    The service asks again for what it gets no answer to. Such a repeat is not carried out beside the first: both get
    the one answer.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        """Carry out each command by the handler of its name."""
        self._handlers = handlers
        self._running: dict[_Key, asyncio.Task[Any]] = {}

    def carry_out(self, call: Call, send: Callable[[bytes], None]) -> None:
        """Begin what ``call`` asks for, and ``send`` the answer when it is there."""
        key = (call.method, bytes(call.params))
        task = self._running.get(key)
        if task is None:
            try:
                task = self._start(key, call)
            except SessiondError as error:
                send(encode_error(call.msgid, error))
                return
        task.add_done_callback(lambda done: self._answer(done, call, send))

    def cancel(self) -> None:
        """Leave off everything."""
        for task in list(self._running.values()):
            task.cancel()

    def _start(self, key: _Key, call: Call) -> asyncio.Task[Any]:
        handler = self._handlers.get(call.method)
        if handler is None:
            raise UnknownMethod(f"This gateway does not know {call.method}", method=call.method)
        if len(self._running) >= MAX_COMMANDS:
            raise Overloaded(f"{MAX_COMMANDS} commands are being carried out")
        try:
            [arguments] = _decode(call.params)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"params: {error}", field="params") from None
        task = self._running[key] = asyncio.ensure_future(_carry_out(handler, arguments))
        task.add_done_callback(lambda _: self._running.pop(key))
        return task

    @staticmethod
    def _answer(task: asyncio.Task[Any], call: Call, send: Callable[[bytes], None]) -> None:
        if task.cancelled():
            return
        try:
            answer = encode_result(call.msgid, task.result())
        except SessiondError as refused:
            answer = encode_error(call.msgid, refused)
        except Exception:  # whatever a handler does, the service is told that it failed
            logger.exception("%s failed", call.method)
            answer = encode_error(call.msgid, Internal(f"{call.method} failed"))
        send(answer)


async def _carry_out(handler: Handler, arguments: dict[str, Any]) -> Any:
    return await handler(arguments)
