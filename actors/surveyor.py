"""The surveyor actor: lists and counts that take longer than a turn should."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from sessiond.actors.errors import SessiondError, Unavailable
from sessiond.actors.future import Pending
from sessiond.actors.service import ServiceActor

if TYPE_CHECKING:
    from sessiond.actors.context import Context

__all__ = ["SurveyorActor", "WaitingWork", "Work"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Work(Protocol[R_co]):
    """Something that is done in steps, each short enough to hold nobody up."""

    def step(self) -> R_co | None:
        """Do a little more; what came of it if that was the end of it, else None."""
        ...


class WaitingWork(Protocol[R_co]):
    """The same, if it may have to wait in between."""

    def step(self) -> R_co | Pending[Any] | None:
        """See ``Work``; pending if the next step is to be taken once that is complete, however it comes out."""
        ...


class _GoOn:
    """Told by the surveyor to itself, once for every step that is left to do."""


class SurveyorActor(ServiceActor):
    """Does one step of one piece of work in a turn, all pieces in rotation.

    It has a mailbox of its own, so that work which takes seconds stands in the way of no create.
    """

    name = "surveyor"
    _share = 1

    def __init__(self, context: Context) -> None:
        """Do what there is to do about these books."""
        super().__init__(context)
        self._works: deque[tuple[WaitingWork[Any], Pending[Any]]] = deque()
        self._waiting: set[Pending[Any]] = set()
        """The answers to works that wait for something."""

    def proceed(self, work: WaitingWork[R], awaited: Pending[Any] | None = None) -> R:
        """Go on with ``work``, once ``awaited`` has come. Called in a turn; what it returns is pending."""
        pending: Pending[R] = Pending()
        self._put_off(work, pending, awaited)
        return cast("R", pending)

    def on_receive(self, message: object) -> object:
        """See ``pykka.Actor``."""
        if not isinstance(message, _GoOn):
            return super().on_receive(message)
        work, pending = self._works.popleft()
        if pending.is_abandoned:
            return None
        try:
            result = work.step()
        except SessiondError as error:
            pending.fail(error.bare())
        except BaseException as error:  # noqa: BLE001  (the request's crash, not the surveyor's)
            pending.fail(self._crashed(error))
        else:
            if result is None or isinstance(result, Pending):
                self._put_off(work, pending, result)
            else:
                pending.set(result)
        return None

    def on_stop(self) -> None:
        """The service stops: whoever waits for work that is not done is told so."""
        waiting, self._waiting = self._waiting, set()
        for pending in (*waiting, *(pending for _, pending in self._works)):
            pending.fail(Unavailable("The service has stopped"))

    def _put_off(self, work: WaitingWork[Any], pending: Pending[Any], awaited: Pending[Any] | None) -> None:
        if awaited is None:
            self.actor_ref.tell(_GoOn())
            self._works.append((work, pending))
        else:
            self._waiting.add(pending)
            awaited.then(lambda _value, _error: self._take_up(work, pending))

    def _take_up(self, work: WaitingWork[Any], pending: Pending[Any]) -> None:
        """What was awaited has come, or will not; maybe after the service has stopped."""
        if pending in self._waiting:
            self._waiting.remove(pending)
            self._put_off(work, pending, None)
