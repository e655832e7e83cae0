"""Requests of the service to a client: what was asked on one connection, and who waits for the answers. No I/O."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sessiond.transport.codec import MAX_MSGID, REQUEST, Response, encode

__all__ = ["Asking"]


class _Waiting(NamedTuple):
    answered: Callable[[Any, Any], object]
    lost: Callable[[], object]


class Asking:
    """The requests under way on one connection. Their msgids have nothing to do with those of the client."""

    def __init__(self) -> None:
        self._msgids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(
        self,
        method: str,
        arguments: Mapping[str, object],
        answered: Callable[[Any, Any], object],
        lost: Callable[[], object],
    ) -> tuple[bytes, Callable[[], None]]:
        """The frame of a request, and what to call once nobody waits for the answer any more.

        Until then ``answered`` is told of the error and the result of the answer, or ``lost`` is called.
        """
        msgid = next(self._msgids) & MAX_MSGID
        self._waiting[msgid] = _Waiting(answered, lost)
        return encode((REQUEST, msgid, method, (arguments,))), functools.partial(self._forget, msgid)

    def take(self, response: Response) -> None:
        """An answer has come. One that nobody waits for, or that came before, means nothing."""
        waiting = self._waiting.pop(response.msgid, None)
        if waiting is not None:
            waiting.answered(response.error, response.result)

    def lose(self) -> None:
        """The connection is lost: no answer will come."""
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.lost()

    def _forget(self, msgid: int) -> None:
        self._waiting.pop(msgid, None)
