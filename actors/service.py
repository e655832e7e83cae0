"""The actors that the service itself is made of: restarted with backoff when they fail, given up if that fails too."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sessiond.actors.errors import Internal
from sessiond.actors.guard import GuardedActor

if TYPE_CHECKING:
    from sessiond.actors.context import Context
    from sessiond.actors.dispatcher import Dispatcher

__all__ = ["Resume", "ServiceActor"]

FIRST_BACKOFF = 0.1
"""Seconds before the first restart; each further one within the window waits twice as long."""


class Resume:
    """Told to a service actor that failed, once it has waited long enough."""


class ServiceActor(GuardedActor):
    """A long-lived actor: the registry, the reaper, the front end.

    It is restarted in place: the ref stays good, and what it keeps is in the context or re-made by ``resume``. A crash
    in a request is the answer to that request and no more, or clients could bring the service down; a crash in the
    actor's own work restarts it.
    """

    name: ClassVar[str]
    """Its name in logs and metrics."""

    def __init__(self, context: Context) -> None:
        """Serve with these books."""
        super().__init__()
        self._context = context

    @property
    def full_name(self) -> str:
        """What tells it apart from all others of its kind."""
        return self.name

    def resume(self) -> None:
        """Take up the actor's own work, at the start and after a crash in it."""

    def on_start(self) -> None:
        """See ``pykka.Actor``."""
        self.resume()

    def on_receive(self, message: object) -> object:
        """See ``pykka.Actor``."""
        if isinstance(message, Resume):
            self.resume()
            return None
        return super().on_receive(message)

    def _home(self) -> Dispatcher:
        return self._context.dispatcher

    def _kind(self) -> str:
        return self.name

    def _crashed(self, error: BaseException) -> Internal:
        self._context.crash_log.log(self.full_name, error, self._context.clock.read().monotonic)
        return Internal("The request crashed")

    def _failed(self, error: BaseException) -> Internal:
        told = self._crashed(error)
        restart = self._context.service_restarts.crashed(self.full_name, self._context.clock.read().monotonic)
        if restart is None:
            self._context.escalate(self.name)
            return told
        self._context.tally.count_restart(self.name)
        self._tell_later(FIRST_BACKOFF * 2 ** (restart - 1), Resume())
        return told

    def _tell_later(self, seconds: float, message: object) -> None:
        """Tell this actor ``message`` in ``seconds``, if it is still there then."""
        ref = self.actor_ref
        self._context.dispatcher.call_later(seconds, lambda: ref.tell(message) if ref.is_alive() else None)
