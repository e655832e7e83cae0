"""The herald actor: tells those who watch what has changed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pykka

from sessiond.actors.deep_watching import DeepWatch
from sessiond.actors.errors import LimitExceeded, NotFound
from sessiond.actors.events import WatchDropped
from sessiond.actors.passive import PassiveDirectory
from sessiond.actors.results import Watched
from sessiond.actors.selection import STEP_BUDGET, Selection
from sessiond.actors.service import ServiceActor
from sessiond.actors.watching import TELLING_COST, Watch, check, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sessiond.actors.audience import Audience
    from sessiond.actors.changelog import SessionChange
    from sessiond.actors.context import Context, Listed
    from sessiond.actors.params import WatchQuery
    from sessiond.actors.record import Session
    from sessiond.actors.store import Live

__all__ = ["MAX_WATCHES", "HeraldActor"]

MAX_WATCHES = 1000
"""In all: each looks at every change."""
TICK = 1.0
"""Seconds between looks for watchers that take nothing, and for the end of what nobody needs any more."""


class _Pump:
    """Told by the herald to itself while there is something to tell."""


class _Tick:
    """The herald's own timer."""


class _Watcher:
    """A watch, whom it tells, and since when that one takes nothing."""

    __slots__ = ("audience", "is_reading", "stalled_at", "watch")

    def __init__(self, watch: Watch[Listed], audience: Audience) -> None:
        self.watch = watch
        self.audience = audience
        self.stalled_at: float | None = None
        self.is_reading = False
        """Whether what its snapshot goes on with is being read."""

    @property
    def can_go_on(self) -> bool:
        return self.watch.is_behind and self.audience.is_ready


class HeraldActor(ServiceActor):
    """Looks at the changes for each watch in rotation, some in a turn.

    A watcher that takes nothing holds a place in the log, and is passed over. It is told and dropped once it is too far
    behind; it may watch anew, from where it was.
    """

    name = "herald"
    _share = 1

    def __init__(self, context: Context) -> None:
        """Tell of what happens in these books."""
        super().__init__(context)
        self._changes = context.changes
        self._settings = context.watching
        self._watchers: dict[int, _Watcher] = {}
        self._last_watch = 0
        self._rota: deque[_Watcher] = deque()
        """Who is still to be told of what had happened by ``_seen``."""
        self._seen = 0
        self._is_pumping = False
        self._is_ticking = False
        self._deserted_at = 0.0
        """When the last watcher left, on the monotonic clock."""

    # Called in turns, by whoever knows this actor itself

    def watch(self, query: WatchQuery, audience: Audience) -> Watched:
        """Tell ``audience`` from now on; nothing before this turn is over.

        Raises:
            InvalidRequest: filters that contradict each other, or that no watch can have.
            LimitExceeded: there are as many watches as may be.
        """
        check(query)
        if len(self._watchers) >= MAX_WATCHES:
            raise LimitExceeded("As many watches as may be", limit="watches", maximum=MAX_WATCHES)
        self._last_watch += 1
        show: Callable[[SessionChange], Session] = packed(self._changes) if audience.encodes else _session
        watch = self._begun(query, show)
        self._record()
        goes_on = query.since is not None and self._can_go_on(query.since, query.instance)
        position = query.since if goes_on and query.since is not None else self._changes.last
        watch.begin(position, snapshot=query.snapshot and not goes_on)
        self._watchers[watch.number] = _Watcher(watch, audience)
        self._context.tally.watchers = len(self._watchers)
        self.wake()
        return Watched(watch.number, position, self._context.instance, query.since is not None and not goes_on)

    def _begun(self, query: WatchQuery, show: Callable[[SessionChange], Session]) -> Watch[Listed]:
        directory, number = self._context.directory, self._last_watch
        if isinstance(directory, PassiveDirectory):
            return DeepWatch(number, query, directory, self._changes, _view, show)
        return Watch(number, query, Selection(query, directory), self._changes, _view, show)

    def unwatch(self, number: int, audience: Audience | None = None) -> None:
        """End a watch, of that audience if one is given.

        Raises:
            NotFound: there is none.
        """
        watcher = self._watchers.get(number)
        if watcher is None or (audience is not None and watcher.audience is not audience):
            raise NotFound("No such watch", watch=number)
        self._leave(watcher)

    def wake(self) -> None:
        """There is something to tell, or somebody who takes it."""
        if not self._is_pumping:
            self._is_pumping = True
            self.actor_ref.tell(_Pump())

    # As an actor

    def resume(self) -> None:
        """See ``ServiceActor``."""
        self._is_pumping = False
        if self._context.recording is not None:
            self._wind()
            self.wake()

    def on_receive(self, message: object) -> object:
        """See ``pykka.Actor``."""
        if isinstance(message, _Pump):
            self._pump()
        elif isinstance(message, _Tick):
            self._tick()
        else:
            return super().on_receive(message)
        return None

    # Telling

    def _pump(self) -> None:
        self._is_pumping = False
        if not self._rota:
            self._rota.extend(self._watchers.values())
            self._seen = self._changes.last
        budget = STEP_BUDGET
        told: list[_Watcher] = []
        while self._rota and budget > 0:
            watcher = self._rota.popleft()
            if watcher.watch.number in self._watchers:
                budget -= self._serve(watcher, budget, told)
        for watcher in told:
            watcher.audience.flush()
            if watcher.can_go_on:
                self._rota.append(watcher)
        if self._rota or self._changes.last > self._seen:
            self.wake()
        elif self._watchers:
            self._changes.awaited = self.wake

    def _serve(self, watcher: _Watcher, budget: int, told: list[_Watcher]) -> int:
        """Tell a watcher as much as it takes and the budget allows; what of the budget that was."""
        watch, audience = watcher.watch, watcher.audience
        if watch.is_lost:
            self._drop(watcher, "behind")
        elif not audience.is_ready:
            self._pass_over(watcher)
        elif watch.is_behind:
            return self._tell(watcher, budget, told)
        return 1

    def _tell(self, watcher: _Watcher, budget: int, told: list[_Watcher]) -> int:
        watch, audience = watcher.watch, watcher.audience
        watcher.stalled_at = None
        began, was_complete = watch.position, watch.is_complete
        count = 0
        try:
            for event in watch.events(budget):
                audience.tell(event)
                count += 1
                if not audience.is_ready:
                    break
        except pykka.ActorDeadError:
            self._leave(watcher)
        except BaseException as error:  # noqa: BLE001  (of one watcher only; the others are still to be told)
            self._crashed(error)
            if watcher.watch.number in self._watchers:  # it may have ended its watch before it crashed
                self._drop(watcher, "crashed")
        else:
            told.append(watcher)
            self._read(watcher)
        self._context.tally.notifications += count
        return (watch.position - began) + count * TELLING_COST if was_complete else budget

    def _read(self, watcher: _Watcher) -> None:
        """Have that be read which the snapshot of a watcher goes on with."""
        watch, residence = watcher.watch, self._context.residence
        if residence is None or not isinstance(watch, DeepWatch) or not watch.wanted or watcher.is_reading:
            return
        watcher.is_reading = True

        def came(lives: Mapping[int, Live] | None, error: BaseException | None) -> None:
            watcher.is_reading = False
            if watch.number not in self._watchers:
                return
            if error is None and lives is not None:
                watch.give({seq: residence.show(live) for seq, live in lives.items()})
                self.wake()
            else:
                self._drop(watcher, "crashed")

        residence.read(watch.wanted).then(came)

    def _pass_over(self, watcher: _Watcher) -> None:
        if watcher.watch.backlog() > self._settings.backlog:
            self._drop(watcher, "behind")
        elif watcher.stalled_at is None and watcher.watch.is_behind:
            watcher.stalled_at = self._context.clock.read().monotonic

    # Coming and going

    def _can_go_on(self, since: int, instance: str | None) -> bool:
        return instance == self._context.instance and self._changes.has_all_since(since)

    def _record(self) -> None:
        if self._context.recording is None:
            self._changes.open()
            self._context.recording = self._changes
        self._wind()

    def _drop(self, watcher: _Watcher, reason: str) -> None:
        self._leave(watcher)
        self._context.tally.watchers_dropped[reason] += 1
        watch = watcher.watch
        try:
            watcher.audience.tell(WatchDropped(watch.number, watch.position if watch.is_complete else None, reason))
            watcher.audience.flush()
        except Exception as error:  # noqa: BLE001  (it is being dropped because it does not work, perhaps)
            self._crashed(error)

    def _leave(self, watcher: _Watcher) -> None:
        del self._watchers[watcher.watch.number]
        self._context.tally.watchers = len(self._watchers)
        if not self._watchers:
            self._changes.awaited = None
            self._deserted_at = self._context.clock.read().monotonic

    def _tick(self) -> None:
        self._is_ticking = False
        now = self._context.clock.read().monotonic
        for watcher in list(self._watchers.values()):
            self._look(watcher, now)
        if self._watchers or now - self._deserted_at < self._settings.keep:
            self._wind()
        else:
            self._context.recording = None
            self._changes.close()

    def _look(self, watcher: _Watcher, now: float) -> None:
        if watcher.can_go_on:
            self.wake()
        elif watcher.stalled_at is not None and now - watcher.stalled_at >= self._settings.patience:
            self._drop(watcher, "stalled")

    def _wind(self) -> None:
        if not self._is_ticking:
            self._is_ticking = True
            self._tell_later(TICK, _Tick())


def _view(known: Listed) -> Session:
    return known.get()


def _session(change: SessionChange) -> Session:
    return change.session
