"""What the actors of one service share. Safe without locks, because a dispatcher runs one turn at a time."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from sessiond.actors.changelog import ChangeLog
from sessiond.actors.clock import Clock, Instant, TurnClock
from sessiond.actors.consequences import AtOnce, Consequences
from sessiond.actors.deadlines import Timeouts
from sessiond.actors.directory import Directory
from sessiond.actors.dispatcher import Dispatcher
from sessiond.actors.incarnation import CLIENT, Authors, Incarnation, Incarnations
from sessiond.actors.journal import Journal
from sessiond.actors.limits import Admission, Limit, indexes
from sessiond.actors.passive import PassiveDirectory
from sessiond.actors.passive_requests import PassiveRequests
from sessiond.actors.requests import Requests
from sessiond.actors.retention import EndedSession, Retention
from sessiond.actors.settings import Commanding, GatewaySettings, Residing, Settings, WatchSettings
from sessiond.actors.standing import Standing
from sessiond.actors.store import Records, Store
from sessiond.actors.supervision import CrashLog, LogRate, RestartWindow
from sessiond.actors.sync import Syncs
from sessiond.actors.tally import Tally
from sessiond.actors.wheel import Wheel

if TYPE_CHECKING:
    from sessiond.actors.commander import CommanderActor
    from sessiond.actors.residence import Residence
    from sessiond.actors.session import SessionActor

__all__ = ["TICK", "Context", "Known", "Listed"]

Known: TypeAlias = "SessionActor | EndedSession"
"""What requests for a session meet: its actor, or what is left of it."""
Listed: TypeAlias = "Known | Standing"
"""What the directory lists of a session: the same, or while a store keeps it what that has acknowledged."""

R = TypeVar("R")

_USUAL = GatewaySettings()
_KEPT = WatchSettings()
_COMMANDING = Commanding()

SESSION_RESTARTS = 3
SERVICE_RESTARTS = 5
RESTART_SECONDS = 60.0
"""So many restarts within so many seconds; one crash more and a session is ended, the service given up."""
TICK = 0.1
"""Seconds between looks of the reaper; a deadline is met within two of them when the loop is not overloaded."""


@dataclasses.dataclass(slots=True, eq=False)
class Context:
    """One service's clock, books and rules. Only actors touch it, each in its own turn."""

    settings: Settings
    gateways: GatewaySettings
    commanding: Commanding
    dispatcher: Dispatcher
    clock: TurnClock
    directory: Directory[Listed]
    admission: Admission
    requests: Requests
    retention: Retention
    wheel: Wheel
    tally: Tally
    authors: Authors
    incarnations: Incarnations
    syncs: Syncs
    crash_log: CrashLog
    session_restarts: RestartWindow
    service_restarts: RestartWindow
    instance: str
    """New at each start; tells clients that what they knew of an earlier one is gone."""
    started: Instant
    escalate: Callable[[str], None]
    """What to do when an actor of the service itself (named) cannot be kept running."""
    watching: WatchSettings
    changes: ChangeLog
    """What watchers are told."""
    consequences: Consequences = dataclasses.field(init=False)
    """What is to be told of every change of a session."""
    timeouts: Timeouts = dataclasses.field(init=False)
    """Those of every session that has none of its own."""
    session: Callable[[int], Known | None] = dataclasses.field(init=False)
    """What requests for the session of a number meet, None if there is none."""
    addressed: Callable[[str | None, str], tuple[list[Known], Known | None]] = dataclasses.field(init=False)
    """The sessions of an address, as requests for them see it: see ``Directory.addressed``."""
    store: Store | None = None
    """What keeps the sessions; None if nothing does."""
    journal: Journal | None = None
    """What has not been acknowledged by the store; None without one."""
    residing: Residing = dataclasses.field(default_factory=Residing)
    """How long sessions that are kept stay in memory."""
    residence: Residence | None = None
    """Which sessions are in memory; None where all are."""
    recording: ChangeLog | None = None
    """The same while changes are to be told to it; None while nobody watches."""
    commander: CommanderActor | None = None
    """Who tells gateways what to do; None before it is there."""
    gateway_log: LogRate = dataclasses.field(default_factory=LogRate)
    """How much of what happens to gateways is worth a line in the log."""
    requester: Incarnation | None = None
    """The incarnation whose request is being carried out, None for whoever has not registered as a gateway."""
    author: int = CLIENT
    """The requester's number in histories: kept beside it, for the quickest of looks."""
    records: Records | None = None
    """The records of calls that have ended; None if nothing keeps any."""

    def __post_init__(self) -> None:
        """Have the consequences of changes follow at once, so that requests meet what the directory lists."""
        self.consequences = AtOnce(self)
        self.timeouts = self.settings.timeouts
        self.session = cast("Callable[[int], Known | None]", self.directory.at)
        self.addressed = cast("Callable[[str | None, str], tuple[list[Known], Known | None]]", self.directory.addressed)

    def keep_in(self, store: Store, *, is_relaxed: bool, residing: Residing | None = None) -> Journal:
        """Have ``store`` keep the sessions, of which there are none yet; before the registry starts."""
        self.residing = residing or self.residing
        journal = Journal(self, store, is_relaxed=is_relaxed)
        self.store, self.journal, self.consequences = store, journal, journal
        self.session, self.addressed = journal.session, journal.addressed
        return journal

    def ask_as(self, requester: Incarnation | None) -> None:
        """Carry out the requests that follow as those of ``requester``."""
        self.requester = requester
        self.author = CLIENT if requester is None else requester.author

    def acting(self, requester: Incarnation, work: Callable[[], R]) -> R:
        """What comes of ``work``, done as a request of ``requester``."""
        before = self.requester
        self.ask_as(requester)
        try:
            return work()
        finally:
            self.ask_as(before)

    @classmethod
    def create(
        cls,
        settings: Settings,
        dispatcher: Dispatcher,
        clock: Clock,
        escalate: Callable[[str], None],
        limits: Iterable[Limit] = (),
        gateways: GatewaySettings = _USUAL,
        watching: WatchSettings = _KEPT,
        commanding: Commanding = _COMMANDING,
        *,
        is_kept: bool = False,
    ) -> Context:
        """The books of a service that knows no session yet; no two limits have the same name.

        ``is_kept`` says that ``keep_in`` follows.
        """
        instance = secrets.token_hex(8)
        limits = tuple(limits)
        keys = indexes(settings.metadata_indexes, limits)
        directory: Directory[Listed] = PassiveDirectory(*keys) if is_kept else Directory(*keys)
        return cls(
            settings,
            gateways,
            commanding,
            dispatcher,
            TurnClock(clock),
            directory,
            Admission(limits, directory),
            PassiveRequests() if is_kept else Requests(),
            Retention(settings.retention, settings.max_retained),
            Wheel(TICK),
            Tally(settings.types, settings.reasons),
            Authors(),
            Incarnations(directory.suspects),
            Syncs(instance),
            CrashLog(),
            RestartWindow(SESSION_RESTARTS, RESTART_SECONDS),
            RestartWindow(SERVICE_RESTARTS, RESTART_SECONDS),
            instance,
            clock.read(),
            escalate,
            watching,
            ChangeLog(watching.history),
        )
