"""From a frame to its answer: decoding, the method table, errors and pending answers. No sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pykka

from sessiond.actors.errors import Internal, InvalidRequest, SessiondError, Unavailable, UnknownMethod
from sessiond.actors.future import Held, Pending
from sessiond.transport.codec import (
    RESPONSE,
    Call,
    NotAFrameError,
    Notification,
    Response,
    decode,
    decode_call,
    encode,
    encode_call,
    encode_error,
    inspect,
)
from sessiond.transport.method import SMALL
from sessiond.transport.methods import METHODS
from sessiond.transport.observed import MethodTally, Observed
from sessiond.transport.round import Round

if TYPE_CHECKING:
    from sessiond.actors.registry import RegistryActor
    from sessiond.transport.peer import Peer
    from sessiond.transport.round import Late

__all__ = ["MAX_SETTLING", "Responder"]

BIG_ANSWER = 4096
"""A bigger answer is written at once, so that a client that asks for many and does not read them stops the work on
its requests and not only the sending."""
ANSWERS_PER_WRITE = 32
"""So many are written together. A client that has sent more works on the first while the rest are being answered; with
64 requests under way that makes 1.2 times as many in a second."""
MAX_SETTLING = 1024
"""So many answers of one connection wait for the store before no more of its requests are looked at."""
SLOW = BIG_ANSWER + 1
"""In the place of the size of an answer that is pending, or was much work: the limits and the clock are due."""


class _Waiting(msgspec.Struct, gc=False):
    """An answer that waits for the store; light, since hundreds may wait, and nothing for the collector."""

    responder: Responder
    msgid: int | None
    tally: MethodTally
    arrived: float
    answer: bytes
    code: str | None
    """Of the error that the answer tells."""
    error: BaseException | None
    """That error. Whoever is told another one gets another answer."""

    def __call__(self, _result: object, error: BaseException | None) -> None:
        """See ``Pending.then``."""
        responder = self.responder
        responder.settling -= 1
        if error is self.error or error is None:
            responder.tell(self.tally, self.arrived, self.answer, self.code)
        else:
            responder.fail(self.msgid, self.tally, self.arrived, error)


class Responder:
    """Answers the requests of one connection and collects the answers.

    Each request is answered by a turn of its session, or of the registry, run at once; so requests on one session are
    carried out in the order they came. A turn may leave its answer pending; requests on other sessions overtake it.
    """

    def __init__(
        self,
        registry: RegistryActor,
        observed: Observed,
        loop_round: Round,
        crashed: Callable[[BaseException], Internal],
        writer: Late,
        peer: Callable[[], Peer],
    ) -> None:
        """Answer from ``registry``.

        Args:
            registry: whose dispatcher's turn the caller of ``answer`` holds.
            observed: counts the requests.
            loop_round: whoever has requests answered has begun it.
            crashed: told of exceptions that are nobody's error.
            writer: writes the answers; told at the end of a round if some of them had been pending.
            peer: gives the client of the connection, for the methods that need it.
        """
        self._registry = registry
        self._round = loop_round
        self._crashed = crashed
        self._writer = writer
        self._peer = peer
        self._tallies = observed.methods
        self._routes = {
            name: (method.decode, method.run, observed.methods[name])
            for name, method in METHODS.items()
            if method.is_quick
        }
        self.answers: list[bytes] = []
        """Answers to be written, in order; whoever writes them clears the list."""
        self.pending: set[Pending[Any]] = set()
        """The answers that are still to come; only to be read."""
        self.patient: set[Pending[Any]] = set()
        """Likewise those that wait for a gateway, which cost nothing but time."""
        self.settling = 0
        """How many answers are known, and wait for the store to keep what they tell."""

    def answer_all(self, requests: Iterator[Call | bytes]) -> bool:
        """Answer requests, decoded or as whole frames, one after another; whether none is left.

        Stops when there is enough to write, or after a request that was more work than most: the caller then looks at
        the clock and at its limits.

        Raises:
            NotAFrameError: one is neither a request nor anything else that this protocol knows.
        """
        for count, each in enumerate(requests, 1):
            size = self.answer_call(each) if isinstance(each, Call) else self._answer_frame(each)
            if size > BIG_ANSWER or count == ANSWERS_PER_WRITE:
                return False
        return True

    def _answer_frame(self, frame: bytes) -> int:
        try:
            call = decode_call(frame)
        except Exception:  # noqa: BLE001  (whatever it is, it is looked at again with care)
            return self._answer_odd(frame)
        return self.answer_call(call)

    def answer_call(self, call: Call) -> int:
        """Answer a request; the size of the answer, or ``SLOW``. The path of almost every request.

        Raises:
            NotAFrameError: its parameters are none.
        """
        try:
            decode_params, run, tally = self._routes[call.method]
            params = decode_params(call.params)
        except Exception:  # noqa: BLE001
            return self._answer_odd(encode_call(call))
        if len(call.params) > SMALL:
            return self._answer_odd(encode_call(call))
        try:
            result: Any = run(self._registry, params)
            kind = result.__class__  # quicker than ``isinstance``
            if kind is Held:
                return self._hold(result, call.msgid, tally)
            if kind is Pending:
                return self._defer(result, call.msgid, tally)
            answer = encode((RESPONSE, call.msgid, None, result))
        except BaseException as error:  # noqa: BLE001  (a fault of ours is the answer to this request and no more)
            return self._collect(tally, *self._failure(call.msgid, error))
        self.answers.append(answer)
        if not tally.answered:
            self._round.answered.append(tally)
        tally.answered += 1
        return len(answer)

    # With care: whatever is not a plain request with proper parameters

    def _answer_odd(self, frame: bytes) -> int:
        call = decode(frame)
        if call is None or isinstance(call, Response):
            if call is not None:
                self._peer().answered(call)
            return SLOW
        tally = self._tallies[call.method if call.method in METHODS else Observed.UNKNOWN]
        try:
            result = self._call(call, frame)
        except NotAFrameError:
            raise
        except BaseException as error:  # noqa: BLE001
            return self._collect(tally, *self._failure(call.msgid, error))
        if isinstance(result, Held):
            return self._hold(result, call.msgid, tally)
        if isinstance(result, Pending):
            return self._defer(result, call.msgid, tally, is_patient=METHODS[call.method].is_patient)
        self._collect(tally, *self._success(call.msgid, result))
        return SLOW

    def _call(self, call: Call | Notification, frame: bytes) -> object:
        method = METHODS.get(call.method)
        if method is not None:
            try:
                params = method.examine(call.params, frame)
            except InvalidRequest:
                method.refused(self._registry)
                raise
            return method.answer(self._registry, params, self._peer)
        if not isinstance(inspect(frame)[-1], list):
            raise NotAFrameError("the parameters are no array")
        raise UnknownMethod(f"No method {call.method[:80]!r}", method=call.method[:80])

    def _success(self, msgid: int | None, result: object) -> tuple[bytes, str | None]:
        """The answer, empty if none is wanted, and its error code: it may fail to be encoded."""
        try:
            return b"" if msgid is None else encode((RESPONSE, msgid, None, result)), None
        except Exception as error:  # noqa: BLE001
            return self._failure(msgid, error)

    def _failure(self, msgid: int | None, error: BaseException) -> tuple[bytes, str]:
        """The answer, empty if none is wanted, and its error code."""
        known = error if isinstance(error, SessiondError) else self._crashed(error)
        return b"" if msgid is None else encode_error(msgid, known), known.code

    def _collect(self, tally: MethodTally, answer: bytes, code: str | None) -> int:
        """Take in the answer to a request of this round; its size."""
        if not tally.answered:
            self._round.answered.append(tally)
        tally.answered += 1
        if code is not None:
            self._round.failed.append((tally, code))
        if answer:
            self.answers.append(answer)
        return len(answer)

    # Pending answers

    def abandon(self) -> None:
        """The client is gone: nobody needs to work on its answers."""
        for pending in (*self.pending, *self.patient):
            pending.is_abandoned = True

    def _defer(self, pending: Pending[Any], msgid: int | None, tally: MethodTally, *, is_patient: bool = False) -> int:
        """Answer once ``pending`` is complete."""
        among = self.patient if is_patient else self.pending
        arrived = self._round.arrived

        def complete(result: object, error: BaseException | None) -> None:
            among.discard(pending)
            if isinstance(error, pykka.ActorDeadError):  # the actor stopped before it came to this request
                error = Unavailable("The service is stopping")
            told = self._success(msgid, result) if error is None else self._failure(msgid, error)
            self.tell(tally, arrived, *told)

        among.add(pending)
        pending.then(complete)
        return SLOW

    def _hold(self, held: Held[Any], msgid: int | None, tally: MethodTally) -> int:
        """Answer once ``held`` is kept. The work is done, so that this is not ``SLOW``."""
        self.settling += 1
        error = held.error
        answer, code = self._success(msgid, held.value) if error is None else self._failure(msgid, error)
        held.then(_Waiting(self, msgid, tally, self._round.arrived, answer, code, error))
        return 0 if self.settling < MAX_SETTLING else SLOW

    def tell(self, tally: MethodTally, arrived: float, answer: bytes, code: str | None) -> None:
        """Collect the answer to a request that arrived at that time, on the monotonic clock."""
        loop_round = self._round
        if not loop_round.is_open:
            loop_round.begin_late()
        loop_round.waited.append((tally, arrived))
        if code is not None:
            loop_round.failed.append((tally, code))
        if answer:
            self.answers.append(answer)
        loop_round.late[self._writer] = None

    def fail(self, msgid: int | None, tally: MethodTally, arrived: float, error: BaseException) -> None:
        """The same of an error."""
        self.tell(tally, arrived, *self._failure(msgid, error))
