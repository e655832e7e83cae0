"""What a method of the wire is: how its parameters are decoded, and how a turn is taken with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from sessiond.actors import params as p
from sessiond.actors.context import Known
from sessiond.actors.errors import InvalidRequest, SessiondError
from sessiond.actors.guard import Performer, perform
from sessiond.actors.registry import RegistryActor
from sessiond.actors.shards import SHARD_MASK
from sessiond.transport.codec import NotAFrameError, inspect

if TYPE_CHECKING:
    from sessiond.transport.peer import Peer

__all__ = ["SMALL", "Method", "Positional", "on_registry", "on_session"]

SMALL = p.MAX_STRING_BYTES
"""No string of parameters of at most so many bytes can be too long, nor all of their metadata together."""


class Positional(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False, frozen=True):
    """The positional parameters of a method; the fields' names are those that errors name."""


P = TypeVar("P", bound=Positional)


class Method(Generic[P]):
    """One method of the wire."""

    def __init__(
        self,
        kind: type[P],
        run: Callable[..., object],
        *,
        is_slow: bool = False,
        needs_peer: bool = False,
        is_patient: bool = False,
        refused: Callable[[RegistryActor], None] = lambda _: None,
    ) -> None:
        """Decode parameters as ``kind`` and answer with ``run``, which may return a pending answer.

        Args:
            kind: the type of the parameters.
            run: called with the registry and the parameters.
            is_slow: even what is done at once may take a good part of a millisecond.
            is_patient: a pending answer waits for a gateway and costs nothing but time; the limit of pending answers
                is not for these, or a gateway that gives commands would have its own answers to them left unread.
            needs_peer: it matters on which connection the request came; ``run`` gets the ``Peer`` as well.
            refused: called when the parameters are wrong, so that there is nothing to run.
        """
        self.is_patient = is_patient
        self.is_quick = not is_slow and not needs_peer and not is_patient
        """Whether a request may be answered in the quickest way there is."""
        self._needs_peer = needs_peer
        self._arguments = kind.__struct_fields__
        self.decode = msgspec.msgpack.Decoder(kind).decode
        """The fast way, good for at most ``SMALL`` bytes; raises anything for what ``examine`` is to see."""
        self.run = run
        self.refused = refused

    def answer(self, registry: RegistryActor, params: P, peer: Callable[[], Peer]) -> object:
        """``run``, for a request from ``peer``."""
        return self.run(registry, params, peer()) if self._needs_peer else self.run(registry, params)

    def examine(self, params: msgspec.Raw, frame: bytes) -> P:
        """The parameters of the call in ``frame``, whatever is wrong with it.

        Raises:
            InvalidRequest: they are wrong; ``field`` says which.
            NotAFrameError: the frame is no frame at all.
        """
        try:
            decoded = self.decode(params)
        except Exception as error:  # noqa: BLE001  (``inspect`` says whether this is a frame at all)
            message = inspect(frame)
            if not isinstance(message[-1], list):
                raise NotAFrameError("the parameters are no array") from None
            if isinstance(error, msgspec.ValidationError):
                raise p.invalid(error, self._arguments) from None
            raise InvalidRequest("params: cannot be decoded", field="params") from None
        if len(frame) > SMALL:
            p.check_sizes(_fields(decoded))
        return decoded


def _fields(decoded: Positional) -> dict[str, Any]:
    """The parameters and the fields inside them by name, for the check of sizes."""
    fields: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(decoded).items():
        fields.update(msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else {name: value})
    return fields


def _take_turn(registry: RegistryActor, actor: Performer, operation: Callable[[Any, Any], object], call: Any) -> object:
    """A turn of ``actor``, maybe later: by then the requests of others may be carried out."""
    context = registry.context
    requester = context.requester
    if requester is None:
        return perform(actor, lambda itself: operation(itself, call))
    return perform(actor, lambda itself: context.acting(requester, lambda: operation(itself, call)))


def on_session(operation: Callable[[Known, Any], object]) -> Callable[[RegistryActor, Any], object]:
    """The method that runs ``operation`` as a turn of the session that the call names."""

    def run(registry: RegistryActor, call: Any) -> object:
        session = registry.sessions[hash(call.id) & SHARD_MASK].get(call.id) or registry.find(call.id)
        if session._ref is not None:  # noqa: SLF001
            return _take_turn(registry, session, operation, call)
        if registry.context.journal is not None:
            return session.run_turn(lambda itself: operation(itself, call))
        try:  # what ``perform`` does then, two calls nearer: it is the way of almost every request
            return operation(session, call)
        except SessiondError:
            raise
        except BaseException as error:  # noqa: BLE001
            raise session._crashed(error) from None  # noqa: SLF001

    return run


def on_registry(operation: Callable[[RegistryActor, Any], object]) -> Callable[[RegistryActor, Any], object]:
    """The method that runs ``operation`` as a turn of the registry."""

    def run(registry: RegistryActor, call: Any) -> object:
        if not registry.mailbox.is_idle:
            return _take_turn(registry, registry, operation, call)
        try:  # as above
            return operation(registry, call)
        except SessiondError:
            raise
        except BaseException as error:  # noqa: BLE001
            raise registry._crashed(error) from None  # noqa: SLF001

    return run
