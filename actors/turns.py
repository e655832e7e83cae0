"""What a turn is, whoever takes it: an operation, whose crash is dealt with by whom it was run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sessiond.actors.errors import Internal, SessiondError

__all__ = ["Crashing", "run"]


class Crashing(Protocol):
    """Whoever can deal with a crash of its own."""

    def _crashed(self, error: BaseException) -> Internal: ...


A = TypeVar("A", bound=Crashing)
R = TypeVar("R")


def run(actor: A, operation: Callable[[A], R]) -> R:
    """A turn of ``actor`` at once, ahead of whatever waits for it.

    Raises:
        SessiondError: what the operation raised; ``Internal`` if it crashed.
    """
    try:
        return operation(actor)
    except SessiondError:
        raise
    except BaseException as error:  # noqa: BLE001  (SystemExit too is a crash of this actor only)
        raise actor._crashed(error) from None  # noqa: SLF001
