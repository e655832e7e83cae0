"""Commands to Kamailio, through its FIFO for JSON-RPC: an answer there may have any size, one in a datagram may not."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Rpc", "RpcError"]

CHUNK = 65_536


class RpcError(Exception):
    """Kamailio has answered with an error, or not at all."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        """As in HTTP, 404 for a dialog that is not there; None if there was no answer."""


class Rpc:
    """A way to one Kamailio. Any number of threads may use it, one command at a time, as Kamailio carries them out."""

    def __init__(self, folder: Path, timeout: float = 5.0) -> None:
        """Use the FIFO in ``folder``, where the answers come too; wait for each ``timeout`` seconds at most."""
        self._folder = folder
        self._timeout = timeout
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def call(self, method: str, *params: str | int) -> Any:
        """The result of a command, such as ``call("dlg.end_dlg", 342, 56)``.

        Raises:
            RpcError: it failed, or Kamailio is not there.
        """
        with self._lock, self._reply_fifo() as (name, reply):
            request = {"jsonrpc": "2.0", "method": method, "params": params, "reply_name": name, "id": 1}
            self._send(json.dumps(request).encode())
            answer = json.loads(self._read(reply))
        if "error" in answer:
            raise RpcError(answer["error"]["message"], answer["error"]["code"])
        return answer["result"]

    @contextlib.contextmanager
    def _reply_fifo(self) -> Iterator[tuple[str, int]]:
        """The name of a FIFO of our own, in which Kamailio allows no dot, and its open end."""
        name = f"reply-{os.getpid()}-{next(self._ids)}"
        path = self._folder / name
        os.mkfifo(path, 0o600)
        try:
            reply = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                yield name, reply
            finally:
                os.close(reply)
        finally:
            path.unlink()

    def _send(self, request: bytes) -> None:
        try:
            # Without waiting: nobody reads the FIFO of a Kamailio that was killed.
            fifo = os.open(self._folder / "rpc.fifo", os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            raise RpcError(f"Kamailio is not there: {error}") from error
        try:
            os.write(fifo, request)
        finally:
            os.close(fifo)

    def _read(self, reply: int) -> bytes:
        deadline = time.monotonic() + self._timeout
        pieces: list[bytes] = []
        while select.select([reply], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if not (piece := os.read(reply, CHUNK)):
                return b"".join(pieces)
            pieces.append(piece)
        raise RpcError(f"Kamailio has not answered within {self._timeout} s")
