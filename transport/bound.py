"""What is different for the requests of a gateway that has registered, kept apart so that nobody else pays for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessiond.actors.future import Pending
    from sessiond.actors.incarnation import Incarnation
    from sessiond.transport.codec import Call
    from sessiond.transport.peer import Peer
    from sessiond.transport.responder import Responder
    from sessiond.transport.round import Round

__all__ = ["BoundResponder"]


class BoundResponder:
    """Stands before the responder of a connection that is bound to an incarnation of a gateway.

    Whatever is read from it renews the lease, and is carried out as the incarnation's request.
    """

    def __init__(
        self,
        responder: Responder,
        loop_round: Round,
        peer: Peer,
        ask_as: Callable[[Incarnation | None], None],
        spoke: Callable[[], object],
    ) -> None:
        """Take the place of ``responder``; the rest as in ``Context.ask_as`` and ``Link.bind``."""
        self._responder = responder
        self._round = loop_round
        self._peer = peer
        self._ask_as = ask_as
        self._spoke = spoke
        self.answers: list[bytes] = responder.answers
        """See ``Responder``, as for all that follow."""
        self.pending: set[Pending[Any]] = responder.pending
        self.patient: set[Pending[Any]] = responder.patient

    def answer_all(self, requests: Iterator[Call | bytes]) -> bool:
        """See ``Responder``."""
        self._hear()
        try:
            return self._responder.answer_all(requests)
        finally:
            self._ask_as(None)

    def answer_call(self, call: Call) -> int:
        """See ``Responder``."""
        self._hear()
        try:
            return self._responder.answer_call(call)
        finally:
            self._ask_as(None)

    @property
    def settling(self) -> int:
        """See ``Responder``."""
        return self._responder.settling

    def abandon(self) -> None:
        """See ``Responder``."""
        self._responder.abandon()

    def _hear(self) -> None:
        peer = self._peer
        peer.heard_at = self._round.arrived
        incarnation = peer.incarnation
        if incarnation is not None and incarnation.loss is not None:
            self._spoke()
        self._ask_as(incarnation)
