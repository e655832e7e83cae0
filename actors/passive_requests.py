"""Creates that may come twice, also those of sessions that are not in memory."""

from __future__ import annotations

from sessiond.actors.compact import CompactIndex, digest
from sessiond.actors.params import NewSession
from sessiond.actors.requests import RequestKey, Requests

__all__ = ["PassiveRequests"]


class PassiveRequests(Requests):
    """Remembers the requests of passive sessions by digest; which they were, with which parameters, is in the store.

    So a create asks for ``candidates`` first: once these are in memory, ``find`` tells.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passive = CompactIndex()

    def __len__(self) -> int:
        return super().__len__() + len(self._passive)

    def candidates(self, new: NewSession) -> list[int]:
        """The passive sessions that ``new``, which has a ``request_id``, may have created; hardly ever any."""
        assert new.request_id is not None
        return self._passive.find(digest(RequestKey(new.gateway, new.request_id)))

    def passivate(self, key: RequestKey, seq: int) -> tuple[str, bytes]:
        """The session that ``key`` created leaves memory; what ``revive`` is to be given."""
        self._passive.add(digest(key), seq)
        return self._known.pop(key)

    def recall_passive(self, key: RequestKey, seq: int) -> None:
        """A session of before this run, which is not in memory, was created by ``key``."""
        self._passive.add(digest(key), seq)

    def revive(self, key: RequestKey, seq: int, known: tuple[str, bytes]) -> None:
        """It is in memory again; ``known`` is its id, and the digest of the parameters."""
        self._passive.remove(digest(key), seq)
        self._known[key] = known
