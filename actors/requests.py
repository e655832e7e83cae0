"""Creates that may come twice: which ``request_id`` made which session."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from sessiond.actors.errors import Conflict
from sessiond.actors.params import NewSession
from sessiond.actors.shards import Shards

__all__ = ["RequestKey", "Requests"]

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class RequestKey(NamedTuple):
    """What makes a request unique: the gateway that sent it and the id that it chose."""

    gateway: str | None
    request_id: str


class Requests:
    """Remembers the creates that carried a ``request_id`` for as long as their sessions are known."""

    def __init__(self) -> None:
        self._known: Shards[RequestKey, tuple[str, bytes]] = Shards()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, new: NewSession) -> str | None:
        """The id of the session that the same request created before, or None.

        Raises:
            Conflict: the request came before with other parameters; details give the session's ``id``.
        """
        assert new.request_id is not None
        known = self._known.get(RequestKey(new.gateway, new.request_id))
        if known is None:
            return None
        session_id, digest = known
        if digest != _digest(new):
            raise Conflict("This request_id created a session with other parameters", field="request_id", id=session_id)
        return session_id

    def remember(self, new: NewSession, session_id: str) -> None:
        """Note that ``new``, which has a ``request_id``, created ``session_id``."""
        assert new.request_id is not None
        self._known[RequestKey(new.gateway, new.request_id)] = (session_id, _digest(new))

    def digest(self, key: RequestKey) -> bytes:
        """That of the parameters of a request that is remembered."""
        return self._known[key][1]

    def recall(self, key: RequestKey, session_id: str, digest: bytes) -> None:
        """Note a request of before this run of the service."""
        self._known[key] = (session_id, digest)

    def forget(self, key: RequestKey) -> None:
        """The session of this request is forgotten, so its request is too."""
        del self._known[key]


def _digest(new: NewSession) -> bytes:
    return hashlib.blake2b(_encoder.encode(new), digest_size=16).digest()
