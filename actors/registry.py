"""The registry actor: starts, finds, lists and supervises sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, Unpack, cast

import msgspec
from pykka import ActorProxy
from pykka.typing import ActorMemberMixin, proxy_method

from sessiond._version import __version__
from sessiond.actors.actor import EventRef
from sessiond.actors.administrator import AdministratorActor
from sessiond.actors.arguments import (
    CreateArguments,
    EndArguments,
    Target,
    UpdateArguments,
)
from sessiond.actors.changes import begun
from sessiond.actors.deadlines import Timeouts
from sessiond.actors.errors import Conflict, InvalidRequest, LimitExceeded, NotFound
from sessiond.actors.gateway_registry import GatewayRegistry
from sessiond.actors.guard import perform
from sessiond.actors.herald import HeraldActor
from sessiond.actors.history import begun as begun_history
from sessiond.actors.history import read
from sessiond.actors.ids import IdSource
from sessiond.actors.journal import CHANGES, SEQ
from sessiond.actors.keeper import KeeperActor
from sessiond.actors.limits import MAX_SESSIONS
from sessiond.actors.params import (
    Address,
    Changes,
    EndOptions,
    IfVersion,
    NewSession,
    NewState,
    checked,
    checked_metadata,
    checked_reason,
    checked_target,
)
from sessiond.actors.query_registry import QueryRegistry
from sessiond.actors.reaper import ReaperActor
from sessiond.actors.record_registry import RecordRegistry
from sessiond.actors.recovery import Recovery
from sessiond.actors.requests import RequestKey
from sessiond.actors.residence import Residence, Sleeper
from sessiond.actors.results import Created, Ended, History, Updated
from sessiond.actors.retention import EndedSession
from sessiond.actors.reviving import MAX_OVERRIDES, Reviver
from sessiond.actors.session import SessionActor, SessionRef
from sessiond.actors.sharing import SharedValues
from sessiond.actors.states import ANSWERED
from sessiond.actors.surveyor import SurveyorActor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sessiond.actors.context import Context, Known
    from sessiond.actors.record import Scalar, Session
    from sessiond.actors.store import Recovered

__all__ = ["RegistryActor", "RegistryProxy", "RegistryRef"]


R = TypeVar("R")


class RegistryActor(QueryRegistry, GatewayRegistry, RecordRegistry, AdministratorActor):
    """The way to every session. Its methods are the wire's, with the same names.

    ``target`` is a session's id, or ``{"gateway": ..., "external_id": ...}``, which means the live session of that
    address or else the newest retained one. Every method that takes one raises ``NotFound`` if there is none, and
    ``Conflict``, with the ids, if several live ones fit. Arguments of the wrong kind raise ``InvalidRequest``.
    """

    name = "registry"

    def __init__(self, context: Context, session_class: type[SessionActor] = SessionActor) -> None:
        """Keep sessions of ``session_class`` in the books of ``context``."""
        super().__init__(context)
        self._session_class = session_class
        self._reviver = Reviver(context, session_class)
        if context.store is not None:
            context.residence = Residence(context, context.store, self._reviver, context.residing)
        self.sessions: Sequence[Mapping[str | Address, Known]] = context.directory.by_id.parts  # type: ignore[assignment]
        """Every session by its id, for the quickest of looks (see ``Shards``); ``find`` knows addresses and errors."""
        self._most = context.settings.max_sessions
        self._has_limits = bool(context.admission.limits)
        self._ids = IdSource()
        self._overrides: dict[tuple[float, float, float], Timeouts] = {}
        """One copy of each set of timeouts that sessions lately had instead of the defaults."""
        self._shared = SharedValues()

    def on_start(self) -> None:
        """Start the actors that work with this one; they stop with it."""
        self.mailbox = self.actor_inbox
        surveyor = SurveyorActor.start(self._context)
        self._surveyor = surveyor.local()
        herald = HeraldActor.start(self._context)
        self.herald = herald.local()
        keeper = KeeperActor.start(self._context)
        self._keeper = keeper.local()
        self._colleagues: tuple[EventRef[Any], ...] = (
            surveyor,
            ReaperActor.start(self._context),
            herald,
            *self._start_colleagues(),
            keeper,
        )

    def recover(self, recovered: Recovered) -> Iterator[int]:
        """Take in what the store has kept, in steps, and have it keep what happens from then on.

        Called once, in turns; yields how many live sessions there are by now.

        Raises:
            StoreError: what the store has is no session.
        """
        journal, store = self._context.journal, self._context.store
        assert journal is not None
        assert store is not None
        assert self._context.residence is not None
        recovery = Recovery(self._context, self._reviver, self._context.residence)
        yield from recovery.steps(recovered)
        store.start(journal, self._keeper.post, self._context.dispatcher.call_soon)
        seq, changes = recovered.values.get(SEQ, 0), recovered.values.get(CHANGES, 0)
        journal.begin(max(seq, recovery.last_seq), changes)
        self._start_gateways()

    def post(self, work: Callable[[], None]) -> None:
        """Have ``work`` done in a turn, soon. From any thread."""
        self._keeper.post(work)

    # The methods of the contract

    def create_session(self, /, **fields: Unpack[CreateArguments]) -> Created:
        """Create a session from the fields of ``params.NewSession``; only ``type`` is required.

        Raises:
            Conflict: the ``request_id`` came before with other parameters.
            LimitExceeded: as many sessions live as may, in all or by one of the configured limits.
        """
        return self.create(checked(fields, NewSession))

    def get_session(self, target: Target) -> Session:
        """The session as it is now, or as it ended."""
        session = self.find(checked_target(target))
        return perform(session, lambda actor: actor.get())

    def update_session(
        self, target: Target, /, *, if_version: int | None = None, **changes: Unpack[UpdateArguments]
    ) -> Updated:
        """See ``SessionActor.update``."""
        checked_changes = checked(changes, Changes)
        version = checked({"if_version": if_version}, IfVersion).if_version
        session = self.find(checked_target(target))
        return perform(session, lambda actor: actor.amend(checked_changes, version))

    def update_session_state(
        self, target: Target, state: str, *, if_version: int | None = None, at: float | None = None
    ) -> Updated:
        """See ``SessionActor.update_state``."""
        new = checked({"state": state, "if_version": if_version, "at": at}, NewState)
        session = self.find(checked_target(target))
        return perform(session, lambda actor: actor.update_state(new.state, new.if_version, new.at))

    def update_session_metadata(
        self, target: Target, metadata: Mapping[str, Scalar | None], *, if_version: int | None = None
    ) -> Updated:
        """See ``SessionActor.update_metadata``."""
        changes = checked_metadata(metadata)
        version = checked({"if_version": if_version}, IfVersion).if_version
        session = self.find(checked_target(target))
        return perform(session, lambda actor: actor.annotate(changes, version))

    def touch_session(self, target: Target) -> Updated:
        """See ``SessionActor.touch``."""
        session = self.find(checked_target(target))
        return perform(session, lambda actor: actor.touch())

    def end_session(self, target: Target, /, reason: str | None = None, **options: Unpack[EndArguments]) -> Ended:
        """See ``SessionActor.end``. Ending an ended session succeeds and changes nothing."""
        name = checked_reason(reason)
        checked_options = checked(options, EndOptions)
        session = self.find(checked_target(target))
        return perform(session, lambda actor: actor.finish(name, checked_options))

    def get_session_history(self, target: Target) -> History:
        """What has happened to a session: see ``results.History``."""
        return self.history(checked_target(target))

    def ping(self) -> str:
        """``"pong"``."""
        return "pong"

    def server_info(self) -> dict[str, Any]:
        """What runs here, since when, and within which limits."""
        now = self._context.clock.read()
        return {
            "name": "sessiond",
            "version": __version__,
            "instance": self._context.instance,
            "time": now.wall,
            "uptime": now.monotonic - self._context.started.monotonic,
            "limits": msgspec.structs.asdict(self._context.settings),
        }

    def session_ref(self, target: Target) -> SessionRef:
        """The ref of a live session's actor.

        Raises:
            SessionEnded: the session has ended.
        """
        return self.meet(checked_target(target), self._ref_of)

    def _ref_of(self, session: Known) -> SessionRef:
        if isinstance(session, EndedSession):
            return cast("SessionRef", perform(session, lambda ended: ended.refuse()))
        ref, journal = cast("SessionRef", session.actor_ref), self._context.journal
        return ref if journal is None else journal.reply(session.seq, ref)

    # The same with checked arguments

    def create(self, new: NewSession) -> Created:
        """``create_session`` with checked fields."""
        requester = self._context.requester
        if new.gateway is None and requester is not None:
            new.gateway = requester.gateway
        if new.answered_at is not None and new.state not in ANSWERED:
            raise InvalidRequest("answered_at: the session is not answered", field="answered_at")
        context = self._context
        if new.request_id is not None:
            if context.residence is not None and (passive := context.residence.created_by(new)):
                return context.residence.after(passive, lambda: self.create(new))
            if (created := self._created_before(new)) is not None:
                return created
        if context.journal is not None:
            context.journal.check()
        most = self._most - context.consequences.beginning
        if len(context.directory) >= most and context.directory.live_count >= most:
            context.tally.count_refused(MAX_SESSIONS)
            raise LimitExceeded("As many sessions live as may", limit=MAX_SESSIONS, maximum=self._most)
        if self._has_limits:
            self._admit(new)
        return self._start(new)

    def find(self, target: str | Address) -> Known:
        """The session of that id or address.

        Raises:
            NotFound: there is none.
            Conflict: several live ones have the address.
        """
        directory = self._context.directory
        if isinstance(target, str):
            session: Known | None = directory.by_id.get(target)  # type: ignore[assignment]  # never a standing
            if session is None:
                return self._sleeper(target) or _nobody(target)
            return session
        sleeper = self._sleeper(target)
        if sleeper is not None:
            return sleeper
        live, ended = self._context.addressed(target.gateway, target.external_id)
        if len(live) > 1:
            raise Conflict("Several live sessions have this address", ids=[session.record.id for session in live])
        session = live[0] if live else ended
        if session is None:
            raise NotFound("No session has this address", gateway=target.gateway, external_id=target.external_id)
        return session

    def meet(self, target: str | Address, work: Callable[[Known], R]) -> R:
        """What comes of ``work``, which is given the session of that id or address; it may be pending."""
        session = self.find(target)
        return session.then(work) if isinstance(session, Sleeper) else work(session)

    def history(self, target: str | Address) -> History:
        """``get_session_history`` of a checked target."""
        author = self._context.authors.__getitem__
        return perform(self.find(target), lambda known: History(*read(known.timeline, author)))

    # Inside

    def _sleeper(self, target: str | Address) -> Known | None:
        """What a request meets that may be about a session which is not in memory."""
        residence = self._context.residence
        passive = [] if residence is None else residence.targeted(target)
        if residence is None or not passive:
            return None
        return cast("Known", Sleeper(residence, passive, lambda: self.find(target)))

    def _admit(self, new: NewSession) -> None:
        context = self._context
        refusal = context.admission.admit(new, context.clock.read().monotonic)
        if refusal is not None:
            context.tally.count_refused(refusal.limit.name)
            raise refusal.error

    def _start(self, new: NewSession) -> Created:
        context = self._context
        names = context.directory.names
        new.type = names.setdefault(new.type, new.type)
        if new.gateway is not None:
            new.gateway = names.setdefault(new.gateway, new.gateway)
        if new.metadata:
            self._shared.share(new.metadata)
        now = context.clock.read()
        incarnation = context.requester
        if incarnation is None or incarnation.gateway != new.gateway:
            incarnation = context.incarnations.newest(new.gateway) if context.incarnations.of else None
        epoch = None if incarnation is None else incarnation.epoch
        record = begun(self._ids.draw(now.wall), new, epoch, now)
        since = record.created_at if record.answered_at is None else record.answered_at
        session = self._session_class(
            context,
            context.directory.next_seq(),
            record,
            self._timeouts(new),
            now if since == now.wall else now.earlier(since),
            now,
            None if new.request_id is None else RequestKey(new.gateway, new.request_id),
            incarnation,
            begun_history(record.state, context.author, record.created_at),
        )
        if new.request_id is not None:
            context.requests.remember(new, record.id)
        context.consequences.begun(session)
        created = Created(record.id, 1, record.state, True)
        return created if context.journal is None else context.journal.reply(session.seq, created)

    def _created_before(self, new: NewSession) -> Created | None:
        """The answer to a create that came again, None if it did not."""
        context, journal = self._context, self._context.journal
        try:
            known = context.requests.find(new)
        except Conflict as conflict:
            if journal is None:
                raise
            return journal.reply(context.directory.by_id[conflict.details["id"]].seq, None, conflict)
        if known is None:
            return None
        session = cast("Known", context.directory.by_id[known])
        created = Created(known, session.record.version, session.record.state, False)
        return created if journal is None else journal.reply(session.seq, created)

    def _timeouts(self, new: NewSession) -> Timeouts:
        if new.setup_timeout is None and new.idle_timeout is None and new.max_duration is None:
            return self._context.timeouts
        default = self._context.timeouts
        seconds = (
            default.setup_timeout if new.setup_timeout is None else new.setup_timeout,
            default.idle_timeout if new.idle_timeout is None else new.idle_timeout,
            default.max_duration if new.max_duration is None else new.max_duration,
        )
        timeouts = self._overrides.get(seconds)
        if timeouts is None:
            if len(self._overrides) >= MAX_OVERRIDES:
                self._overrides.clear()
            timeouts = self._overrides[seconds] = Timeouts(*seconds)
        return timeouts

    def on_stop(self) -> None:
        """The service stops: no session ends by that, but their refs die."""
        for session in self._context.directory.by_id.values():
            if isinstance(session, SessionActor):
                session._release()  # noqa: SLF001
        self.close_commands()
        self.close_records()
        if self._context.journal is not None:
            self._context.journal.close()
        if self._context.residence is not None:
            self._context.residence.close()
        for colleague in self._colleagues:
            colleague.stop(block=False)
        self._stop_gateways()


def _nobody(session_id: str) -> NoReturn:
    raise NotFound("No such session", id=session_id)


class RegistryProxy(ActorMemberMixin, ActorProxy[RegistryActor]):
    """The typed proxy of the registry: every method returns a future."""

    create_session = proxy_method(RegistryActor.create_session)
    get_session = proxy_method(RegistryActor.get_session)
    update_session = proxy_method(RegistryActor.update_session)
    update_session_state = proxy_method(RegistryActor.update_session_state)
    update_session_metadata = proxy_method(RegistryActor.update_session_metadata)
    touch_session = proxy_method(RegistryActor.touch_session)
    end_session = proxy_method(RegistryActor.end_session)
    get_session_history = proxy_method(RegistryActor.get_session_history)
    terminate_session = proxy_method(RegistryActor.terminate_session)
    modify_session = proxy_method(RegistryActor.modify_session)
    warn_session = proxy_method(RegistryActor.warn_session)
    request_sync = proxy_method(RegistryActor.request_sync)
    end_sessions = proxy_method(RegistryActor.end_sessions)
    list_sessions = proxy_method(RegistryActor.list_sessions)
    count_sessions = proxy_method(RegistryActor.count_sessions)
    explain_limit = proxy_method(RegistryActor.explain_limit)
    list_records = proxy_method(RegistryActor.list_records)
    get_record = proxy_method(RegistryActor.get_record)
    register_gateway = proxy_method(RegistryActor.register_gateway)
    heartbeat_gateway = proxy_method(RegistryActor.heartbeat_gateway)
    list_gateways = proxy_method(RegistryActor.list_gateways)
    sync_sessions = proxy_method(RegistryActor.sync_sessions)
    watch = proxy_method(RegistryActor.watch)
    unwatch = proxy_method(RegistryActor.unwatch)
    ping = proxy_method(RegistryActor.ping)
    server_info = proxy_method(RegistryActor.server_info)
    session_ref = proxy_method(RegistryActor.session_ref)


class RegistryRef(EventRef[RegistryActor]):
    """The ref of a registry."""

    def proxy(self) -> RegistryProxy:
        """Wrap the ref in a typed proxy; see ``pykka.ActorRef.proxy``."""
        return cast("RegistryProxy", super().proxy())


RegistryActor._ref_class = RegistryRef  # noqa: SLF001
