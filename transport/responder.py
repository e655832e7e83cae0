"""From a frame to its answer: decoding, the method table, errors and pending answers. No sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pykka

from sessiond.actors.errors import Internal, SessiondError, Unavailable, UnknownMethod
from sessiond.actors.future import Pending
from sessiond.transport.codec import (
    Call,
    NotAFrameError,
    Notification,
    decode,
    decode_call,
    encode_error,
    encode_result,
    inspect,
)
from sessiond.transport.methods import METHODS, SMALL
from sessiond.transport.observed import MethodTally, Observed, observe

if TYPE_CHECKING:
    from sessiond.actors.registry import RegistryActor

__all__ = ["Responder"]

BIG_ANSWER = 4096
"""A bigger answer is written at once, so that a client that asks for many and does not read them stops the work on
its requests and not only the sending."""
SLOW = BIG_ANSWER + 1
"""In the place of the size of an answer that is pending, or was much work: the limits and the clock are due."""


class Responder:
    """Answers the requests of one connection and collects the answers.

    Each request is answered by a turn of its session, or of the registry, run at once; so requests on one session are
    carried out in the order they came. A turn may leave its answer pending; requests on other sessions overtake it.
    """

    def __init__(
        self,
        registry: RegistryActor,
        observed: Observed,
        crashed: Callable[[BaseException], Internal],
        completed: Callable[[float], None],
    ) -> None:
        """Answer from ``registry``.

        Args:
            registry: whose dispatcher's turn the caller of ``answer`` holds.
            observed: counts the requests.
            crashed: told of exceptions that are nobody's error.
            completed: called when a pending answer has come and is collected, with the time of its request.
        """
        self._registry = registry
        self._crashed = crashed
        self._completed = completed
        self._tallies = observed.methods
        self._routes = {
            name: (method.decode, method.run, observed.methods[name])
            for name, method in METHODS.items()
            if not method.is_slow
        }
        self.answers: list[bytes] = []
        """Answers to be written, in order; whoever writes them clears the list."""
        self.answered: list[MethodTally] = []
        """The tallies of the requests answered meanwhile."""
        self.failed: list[tuple[MethodTally, str]] = []
        """Those of them whose answer is an error, and its code."""
        self._pending: set[Pending[Any]] = set()

    def answer_frames(self, frames: Iterator[bytes], arrived: float) -> bool:
        """Answer the requests in whole frames that came at ``arrived``, one after another; whether none is left.

        Stops after a request that was more work than most: the caller then looks at the clock and at its limits.

        Raises:
            NotAFrameError: one holds neither a request nor anything else that this protocol knows.
        """
        for frame in frames:
            try:
                call = decode_call(frame)
            except Exception:  # noqa: BLE001  (whatever it is, it is looked at again with care)
                self._answer_odd(frame, arrived)
                return False
            if self.answer_call(call, frame, arrived) > BIG_ANSWER:
                return False
        return True

    def answer_call(self, call: Call, frame: bytes, arrived: float) -> int:
        """Answer a request that has been decoded from ``frame``; the size of the answer, or ``SLOW``.

        The path of almost every request.
        """
        try:
            decode_params, run, tally = self._routes[call.method]
            params = decode_params(call.params)
        except Exception:  # noqa: BLE001
            return self._answer_odd(frame, arrived)
        if len(frame) > SMALL:
            return self._answer_odd(frame, arrived)
        try:
            result = run(self._registry, params)
            if result.__class__ is Pending:
                return self._defer(result, call.msgid, tally, arrived)
            answer = encode_result(call.msgid, result)
        except BaseException as error:  # noqa: BLE001  (a fault of ours is the answer to this request and no more)
            return self._fail(call.msgid, error, tally)
        self.answers.append(answer)
        self.answered.append(tally)
        return len(answer)

    # With care: whatever is not a plain request with proper parameters

    def _answer_odd(self, frame: bytes, arrived: float) -> int:
        call = decode(frame)
        if call is None:
            return 0
        tally = self._tallies[call.method if call.method in METHODS else Observed.UNKNOWN]
        try:
            result = self._call(call, frame)
        except NotAFrameError:
            raise
        except BaseException as error:  # noqa: BLE001
            return self._fail(call.msgid, error, tally)
        if isinstance(result, Pending):
            return self._defer(result, call.msgid, tally, arrived)
        self._succeed(call.msgid, result, tally)
        return SLOW

    def _call(self, call: Call | Notification, frame: bytes) -> object:
        method = METHODS.get(call.method)
        if method is not None:
            return method.run(self._registry, method.examine(call.params, frame))
        if not isinstance(inspect(frame)[-1], list):
            raise NotAFrameError("the parameters are no array")
        raise UnknownMethod(f"No method {call.method[:80]!r}", method=call.method[:80])

    def _succeed(self, msgid: int | None, result: object, tally: MethodTally) -> int:
        try:
            answer = None if msgid is None else encode_result(msgid, result)
        except Exception as error:  # noqa: BLE001
            return self._fail(msgid, error, tally)
        return self._collect(answer, tally)

    def _fail(self, msgid: int | None, error: BaseException, tally: MethodTally) -> int:
        known = error if isinstance(error, SessiondError) else self._crashed(error)
        self.failed.append((tally, known.code))
        return self._collect(None if msgid is None else encode_error(msgid, known), tally)

    def _collect(self, answer: bytes | None, tally: MethodTally) -> int:
        self.answered.append(tally)
        if answer is None:
            return 0
        self.answers.append(answer)
        return len(answer)

    def observe(self, seconds: float) -> None:
        """Count the requests that were answered since the last time, ``seconds`` after they came."""
        observe(self.answered, seconds)
        self.answered.clear()
        if self.failed:
            for tally, code in self.failed:
                tally.errors[code] += 1
            self.failed.clear()

    # Pending answers

    @property
    def in_flight(self) -> int:
        """Requests whose answers are pending."""
        return len(self._pending)

    def abandon(self) -> None:
        """The client is gone: nobody needs to work on its answers."""
        for pending in self._pending:
            pending.is_abandoned = True

    def _defer(self, pending: Pending[Any], msgid: int | None, tally: MethodTally, arrived: float) -> int:
        def complete(result: object, error: BaseException | None) -> None:
            self._pending.discard(pending)
            if isinstance(error, pykka.ActorDeadError):  # the actor stopped before it came to this request
                error = Unavailable("The service is stopping")
            if error is None:
                self._succeed(msgid, result, tally)
            else:
                self._fail(msgid, error, tally)
            self._completed(arrived)
            if self.answered:  # nobody flushed: the connection has closed meanwhile
                self.observe(time.monotonic() - arrived)

        self._pending.add(pending)
        pending.then(complete)
        return SLOW
