"""A session manager for tests: its clock stands still, and its timers run when the test says so."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from links import StillLink
from manual_clock import ManualClock
from pykka import ActorRef, Future
from pykka.messages import ProxyCall
from runtimes import PATIENCE, settle

from sessiond.actors.context import Context
from sessiond.actors.dispatcher import ThreadDispatcher
from sessiond.actors.errors import Unavailable
from sessiond.actors.guard import Turn
from sessiond.actors.limits import Limit
from sessiond.actors.params import Registration, checked
from sessiond.actors.record import Session
from sessiond.actors.registry import RegistryActor
from sessiond.actors.residence import LEAVE
from sessiond.actors.results import Registered
from sessiond.actors.session import SessionActor, SessionRef
from sessiond.actors.settings import Commanding, GatewaySettings, Residing, Settings, WatchSettings
from sessiond.stores.settings import StoreSettings
from sessiond.stores.sqlite import SqliteStore

__all__ = ["ManualTimers", "Service", "send", "service"]


class ManualTimers(ThreadDispatcher):
    """Runs turns as ever, but a timer only when ``fire`` is called."""

    def __init__(self) -> None:
        super().__init__("test")
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.timers.append((seconds, callback))

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    def fire(self) -> list[float]:
        """Run all timers that are set; how many seconds each would have waited."""
        timers, self.timers = self.timers, []
        for _, callback in timers:
            callback()
        return [seconds for seconds, _ in timers]


_USUAL = GatewaySettings()
_KEPT = WatchSettings()
_COMMANDING = Commanding()
_NOTHING = StoreSettings()
is_restless: ContextVar[bool] = ContextVar("is_restless", default=False)
"""Whether sessions leave memory before each request."""
kept_in: ContextVar[Callable[[], StoreSettings]] = ContextVar("kept_in", default=StoreSettings)
"""Gives the store of the next service that says nothing of one: so the same tests run against every store."""


class Service:
    """Has the registry's methods, and gives their results instead of futures."""

    def __init__(
        self,
        settings: Settings,
        session_class: type[SessionActor],
        limits: Iterable[Limit] = (),
        gateways: GatewaySettings = _USUAL,
        watching: WatchSettings = _KEPT,
        commanding: Commanding = _COMMANDING,
        store: StoreSettings = _NOTHING,
        store_class: type[SqliteStore] = SqliteStore,
        clock: ManualClock | None = None,
        residing: Residing | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.dispatcher = ManualTimers()
        self.given_up: list[str] = []
        """The actors that could not be kept running."""
        self.context = Context.create(
            settings,
            self.dispatcher,
            self.clock,
            self.given_up.append,
            limits,
            gateways=gateways,
            watching=watching,
            commanding=commanding,
            is_kept=store.kind != "memory",
        )
        self.store = None if store.kind == "memory" else store_class(store)
        if self.store is not None:
            residing = Residing(residents=0) if is_restless.get() else residing
            self.context.keep_in(self.store, is_relaxed=store.durability == "relaxed", residing=residing)
        self.registry = RegistryActor.start(self.context, session_class)
        self.ping()  # by then it has started its colleagues
        if self.store is not None:
            recovered = self.store.open()
            self.turn(lambda registry: deque(registry.recover(recovered)))
        self.surveyor, self.reaper, *_ = self.registry.local()._colleagues

    def __getattr__(self, method: str) -> Callable[..., Any]:
        self.all_leave()
        return lambda *args, **options: self.registry.ask(ProxyCall((method,), args, options), timeout=PATIENCE)

    def create(self, **fields: Any) -> str:
        """Create a session, of type ``sip`` unless ``fields`` say otherwise; its id."""
        return self.create_session(**({"type": "sip"} | fields)).id

    def get(self, session_id: str) -> Session:
        return self.get_session(session_id)

    def ref(self, session_id: str) -> SessionRef:
        return self.session_ref(session_id)

    def sweep(self) -> bool:
        """Have the reaper sweep once; whether nothing due is left."""
        return self.reaper.ask(ProxyCall(("sweep",), (), {}), timeout=PATIENCE)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the reaper do all that has come due by then."""
        self.clock.advance(seconds)
        while not self.sweep():
            pass
        self.settle()

    def live_for(self, seconds: float) -> None:
        """The same, and timers go off after that time."""
        self.clock.advance(seconds)
        self.dispatcher.fire()
        self.settle()
        self.pass_time(0)

    def all_leave(self) -> None:
        """Have every session leave memory that may, if that is how the test is run."""
        if self.context.residence is not None and is_restless.get():
            self.keep_all()
            self.turn(_all_leave)

    def keep_all(self) -> None:
        """Have everything be in the store that has been handed over, activities too."""
        self.settle()
        assert self.store is not None
        self.turn(lambda _: self.store.put("test", 0))  # this one is in haste, and takes along those before it
        while self.store.waiting:
            self.settle()

    def turn(self, operation: Callable[[RegistryActor], Any]) -> Any:
        """What comes of a turn of the registry, as connections take them."""
        return self.registry.ask(Turn(operation), timeout=PATIENCE)

    def connect(self, name: str, epoch: str | None = None, **options: Any) -> tuple[StillLink, Registered]:
        """Register an incarnation on a connection of its own; both that and the answer."""
        link = StillLink(self)
        asked = checked({"epoch": epoch, **options}, Registration)
        return link, self.turn(lambda registry: registry.register(name, asked, link))

    def stop(self) -> None:
        """End, as the process would."""
        self.registry.stop()
        self.dispatcher.stop()
        if self.store is not None:
            self.store.close()

    def settle(self) -> None:
        """Return when every turn that was due has ended, and the store has acknowledged what has changed."""
        settle(self.dispatcher)
        if self.store is not None:
            with contextlib.suppress(Unavailable):
                self.turn(lambda registry: registry.context.store.load_all([]))  # it comes after all that is being read
            settle(self.dispatcher)
        while (journal := self.context.journal) is not None and len(journal):
            self.turn(lambda _: journal.reply_after_all(None))
            settle(self.dispatcher)


def _all_leave(registry: RegistryActor) -> None:
    residence = registry.context.residence
    assert residence is not None
    for _ in range(residence.resident_count // LEAVE + 1):
        residence.leave()


def send(ref: ActorRef[Any], method: str, *args: Any, **options: Any) -> Future[Any]:
    """Call a method of an actor without waiting; the future of its result."""
    return ref.ask(ProxyCall((method,), args, options), block=False)


@contextlib.contextmanager
def service(
    session_class: type[SessionActor] = SessionActor,
    *,
    limits: Iterable[Limit] = (),
    gateways: GatewaySettings = _USUAL,
    watching: WatchSettings = _KEPT,
    commanding: Commanding = _COMMANDING,
    store: StoreSettings | None = None,
    clock: ManualClock | None = None,
    **settings: Any,
) -> Iterator[Service]:
    """Serve sessions of ``session_class`` within these limits and with these settings until the block ends."""
    kept = store or kept_in.get()()
    running = Service(Settings(**settings), session_class, limits, gateways, watching, commanding, kept, clock=clock)
    yield running
    running.stop()
