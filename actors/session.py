"""The session actor: one call as one gateway sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack, cast

import msgspec
from pykka import ActorProxy
from pykka.messages import _ActorStop
from pykka.typing import ActorMemberMixin, proxy_method

from sessiond.actors import changes as decide
from sessiond.actors.actor import EventRef
from sessiond.actors.arguments import EndArguments, UpdateArguments
from sessiond.actors.context import TICK
from sessiond.actors.deadlines import Deadline, Timeouts, held_deadline, next_deadline
from sessiond.actors.errors import Internal, InvalidRequest, InvalidTransition, VersionConflict
from sessiond.actors.guard import GuardedActor, run
from sessiond.actors.history import CLAIMED, FIELDS, METADATA, STATE, named, noted, read
from sessiond.actors.incarnation import ADMIN, SERVICE
from sessiond.actors.lifecycle import conclude, end_by_service, forward, restart
from sessiond.actors.params import (
    MAX_EPOCH,
    Changes,
    EndOptions,
    checked,
    checked_metadata,
    checked_reason,
)
from sessiond.actors.results import Ended, History, Updated
from sessiond.actors.standing import Standing, State
from sessiond.actors.states import CHANGE, ENDED, REFUSED, STALE, TRANSITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sessiond.actors.clock import Instant
    from sessiond.actors.context import Context
    from sessiond.actors.dispatcher import Dispatcher
    from sessiond.actors.incarnation import Incarnation
    from sessiond.actors.record import Scalar, Session
    from sessiond.actors.requests import RequestKey

__all__ = ["EndIfLost", "EndIfOverdue", "SessionActor", "SessionProxy", "SessionRef"]

R = TypeVar("R")

_NO_OPTIONS = EndOptions()

HORIZON = 3600.0
"""Seconds. The reaper looks at every session this often at least, so that nothing stays filed for much longer than it
is of use, however far off and however often changed a deadline is."""


class EndIfOverdue:
    """The reaper's message: end if a deadline is past. Goes ahead of what waits, see ``SessionActor.on_receive``."""


class EndIfLost:
    """The reaper's message: end if the incarnation that holds the session has been lost for too long."""


class SessionActor(GuardedActor):
    """Keeps one session.

    The methods without an underscore are its messages. Those that take keyword options check them; ``amend``,
    ``annotate`` and ``finish`` are the same with arguments that have been checked, for callers that decoded them from
    the wire.

    The record is replaced, never changed: a turn that fails leaves the last good one.
    """

    _capacity: ClassVar[int] = 1000
    _control: ClassVar[tuple[type, ...]] = (_ActorStop, EndIfOverdue, EndIfLost)
    _filed: float = math.inf
    """The wheel's tick under which the reaper will look at this session."""
    standing: Standing | None = None
    """What of it is acknowledged by the store; None where there is no store."""

    def __init__(
        self,
        context: Context,
        seq: int,
        record: Session,
        timeouts: Timeouts,
        origin: Instant,
        touched: Instant,
        request: RequestKey | None,
        incarnation: Incarnation | None,
        history: bytes,
    ) -> None:
        """Take a record over. Only the registry starts sessions.

        Args:
            context: what the actors of this service share.
            seq: the number of this session in the order of creation.
            record: the present record.
            timeouts: this session's own, or everybody's.
            origin: the moment of creation, or of the answer once it is answered.
            touched: the last activity.
            request: what the session was created by, if that can be repeated.
            incarnation: who holds the session, None if its gateway never registered.
            history: what has happened so far.
        """
        self._ref = None  # here too, since Python finds what an instance has quicker than what its class has
        self._context = context  # Pykka's fields are made when they are asked for: no need to call EventActor's
        self.seq = seq
        self.record = record
        self.timeouts = timeouts
        self._origin = origin
        self.touched = touched
        self.request = request
        self.incarnation = incarnation
        self.timeline = history
        self._file(context.clock.read())

    # Messages

    def get(self) -> Session:
        """The session as it is now."""
        deadline = self.deadline()
        expires_at = None if deadline is None else deadline.start.wall + deadline.seconds
        return decide.shown(self.record, self.touched.wall, expires_at, suspect=self.is_suspect)

    def history(self) -> History:
        """What has happened to the session."""
        return History(*read(self.timeline, self._context.authors.__getitem__))

    def touch(self) -> Updated:
        """Activity without a change."""
        self.touched = self._context.clock.read()
        if self.incarnation is not self._context.requester:
            self._be_claimed()
        return Updated(self.record.version)

    def update_state(self, state: str, if_version: int | None = None, at: float | None = None) -> Updated:
        """Go to ``state``, since ``at`` (seconds since the epoch).

        Raises:
            InvalidRequest: no such state, or an option of the wrong kind.
            VersionConflict: the session is not at ``if_version``.
            InvalidTransition: there is no way from the present state to that one.
        """
        record = self.record
        try:
            verdict = TRANSITIONS[record.state][state]
        except (KeyError, TypeError):
            raise InvalidRequest(f"state: {state!r:.80} is no state", field="state") from None
        if at is not None:
            _check_epoch("at", at)
        if state == ENDED:
            return Updated(self.finish(None, EndOptions(if_version, at=at)).version)
        if if_version is not None:
            self._require(if_version)
        if verdict is REFUSED:
            raise InvalidTransition(
                f"A session that is {record.state} cannot become {state}", state=record.state, wanted=state
            )
        now = self.touched = self._context.clock.read()
        if self.incarnation is not self._context.requester:
            self._be_claimed()
            record = self.record
        if verdict is not CHANGE:
            return Updated(record.version, verdict is STALE)
        new = self.record = decide.moved(record, state, at, now)
        since = now.wall if at is None else decide.moment(record, at, now)
        self.timeline = noted(self.timeline, STATE[state], self._context.author, since)
        if record.answered_at is not new.answered_at:
            self._answered(new, now)
        self._context.consequences.moved(self, record)
        return Updated(new.version)

    def update(self, /, *, if_version: int | None = None, **changes: Unpack[UpdateArguments]) -> Updated:
        """Change a field of ``changes.AMENDABLE`` or a timeout; None clears, or goes back to the default.

        Raises:
            InvalidRequest: an unknown key or a value of the wrong kind.
            VersionConflict: the session is not at ``if_version``.
        """
        return self.amend(checked(changes, Changes), if_version)

    def amend(self, changes: Changes, if_version: int | None = None) -> Updated:
        """``update`` with checked arguments."""
        if if_version is not None:
            self._require(if_version)
        if changes.parent == self.record.id:
            raise InvalidRequest("parent: the session itself", field="parent")
        now = self._context.clock.read()
        if self.incarnation is not self._context.requester:
            self._be_claimed()
        old = self.record
        timeouts = self._overridden(changes)
        fields = decide.amendments(old, changes)
        self.touched = now
        if fields or timeouts != self.timeouts:
            names = (*fields, *decide.differing(self.timeouts, timeouts))
            self.record = decide.amended(old, fields, now)
            self.timeouts = timeouts
            self.timeline = noted(self.timeline, FIELDS, self._context.author, now.wall, named(names))
            self._context.consequences.changed(self, old)
        self._file(now)
        return Updated(self.record.version)

    def update_metadata(self, metadata: Mapping[str, Scalar | None], *, if_version: int | None = None) -> Updated:
        """Merge ``metadata`` in by key; None removes a key.

        Raises:
            InvalidRequest: a value of the wrong kind, or too much.
            VersionConflict: the session is not at ``if_version``.
        """
        return self.annotate(checked_metadata(metadata), if_version)

    def annotate(self, metadata: dict[str, Scalar | None], if_version: int | None = None) -> Updated:
        """``update_metadata`` with checked arguments."""
        if if_version is not None:
            self._require(if_version)
        now = self._context.clock.read()
        if self.incarnation is not self._context.requester:
            self._be_claimed()
        old = self.record
        new = decide.annotated(old, metadata, now)
        self.touched = now
        if new is not old:
            self.record = new
            self.timeline = noted(self.timeline, METADATA, self._context.author, now.wall, named(metadata))
            self._context.consequences.changed(self, old)
        return Updated(new.version)

    def end(self, /, reason: str | None = None, **options: Unpack[EndArguments]) -> Ended:
        """End the session, for ``reason`` or the default of its state.

        ``options`` are ``if_version``, ``ended_by``, ``sip_code``, ``q850_cause``, ``at`` and ``answered_at``.

        Raises:
            InvalidRequest: an unknown option, one of the wrong kind, or a reason that only the service gives.
            VersionConflict: the session is not at ``if_version``.
        """
        return self.finish(checked_reason(reason), checked(options, EndOptions))

    def finish(self, reason: str | None, options: EndOptions = _NO_OPTIONS) -> Ended:
        """``end`` with checked arguments."""
        if options.if_version is not None:
            self._require(options.if_version)
        now = self._context.clock.read()
        ended_by = options.ended_by or "gateway"
        final = decide.finished(self.record, reason, ended_by, options, now, now.wall)
        return conclude(self, final, now, self._context.author)

    # Deadlines

    def deadline(self) -> Deadline | None:
        """The earliest deadline now running, None if none is."""
        incarnation = self.incarnation
        if incarnation is None:
            return next_deadline(self.record.state, self.timeouts, self._origin, self.touched)
        return held_deadline(
            self.record.state, self.timeouts, self._origin, self.touched, incarnation.found, incarnation.loss
        )

    def end_if_overdue(self) -> None:
        """End for the reason of the deadline that is past; if none is any more, file the next look of the reaper."""
        deadline, context = self.deadline(), self._context
        is_overdue = deadline is not None and deadline.monotonic <= context.clock.read().monotonic
        if deadline is not None and is_overdue and context.consequences.is_available:
            end_by_service(self, deadline.reason, SERVICE)
        else:
            self._file_again()

    def end_if_lost(self) -> None:
        """End if the incarnation that holds the session has been lost for too long."""
        if self.incarnation is not None and self.incarnation.gives_up(
            self.seq, self.touched, self._context.clock.read()
        ):
            end_by_service(self, "gateway_lost", SERVICE)

    def look(self, now: Instant) -> bool:
        """Whether a deadline is past at this look of the reaper; if none is, file the next look.

        An entry whose place was taken by an earlier one finds the session filed for later, and is dropped.
        """
        if self._context.wheel.tick_at(now.monotonic) < self._filed:
            return False
        deadline = self.deadline()
        if deadline is not None and deadline.monotonic <= now.monotonic:
            return True
        self._file_again()
        return False

    def _handle_receive(self, message: object) -> object:
        journal = self._context.journal
        if journal is None:
            return super()._handle_receive(message)
        return journal.turn(self, lambda _: super(SessionActor, self)._handle_receive(message))

    def on_receive(self, message: object) -> object:
        """The reaper's messages: whatever waits already may be activity, or the answer; it looks again after it."""
        if isinstance(message, EndIfLost):
            if self.actor_inbox.empty():
                self.end_if_lost()
        elif not isinstance(message, EndIfOverdue):
            return super().on_receive(message)
        elif self.actor_inbox.empty():
            self.end_if_overdue()
        else:
            self._file_again()
        return None

    # For whoever keeps it

    def state(self) -> State:
        """What a change may change."""
        return State(self.record, self.timeouts, self._origin, self.incarnation, self.timeline)

    def restore(self, state: State) -> None:
        """Be again as it was."""
        self.record, self.timeouts, self._origin = state.record, state.timeouts, state.origin
        self.incarnation, self.timeline = state.incarnation, state.timeline
        self._file(self._context.clock.read())

    def return_to(self, state: State) -> None:
        """The same after an end. Whoever holds its ref finds it dead all the same."""
        self._ref, self._filed = None, math.inf
        self.restore(state)

    def again(self, state: State) -> SessionActor:
        """A fresh actor of the same session."""
        return self.__class__(
            self._context,
            self.seq,
            state.record,
            state.timeouts,
            state.origin,
            self.touched,
            self.request,
            state.incarnation,
            state.timeline,
        )

    def run_turn(self, operation: Callable[[Any], R]) -> R:
        """See ``Performer``."""
        journal = self._context.journal
        return run(self, operation) if journal is None else journal.turn(self, operation)

    # Inside

    def _answered(self, new: Session, now: Instant) -> None:
        """The call was answered: the timeouts of an answered call run from there."""
        answered_at = cast("float", new.answered_at)
        self._origin = now if answered_at == now.wall else now.earlier(answered_at)
        self._file(now)

    @property
    def is_suspect(self) -> bool:
        """Whether the incarnation that holds it is lost."""
        return self.incarnation is not None and self.incarnation.loss is not None

    def _be_claimed(self) -> None:
        """Whoever makes this request is not who holds the session: its gateway, come back, may be."""
        requester, holder = self._context.requester, self.incarnation
        if requester is None or requester.gateway != self.record.gateway:
            return
        if holder is None or holder.loss is not None:
            self.claim(requester)

    def claim(self, incarnation: Incarnation) -> None:
        """Let ``incarnation``, of the session's own gateway, hold the session from now on."""
        if self.incarnation is incarnation:
            return
        holder, self.incarnation = self.incarnation, incarnation
        old = self.record
        self.record = decide.claimed(old, incarnation.epoch)
        now = self._context.clock.read()
        self.timeline = noted(self.timeline, CLAIMED, incarnation.author, now.wall)
        self._file(now)
        self._context.consequences.claimed(self, old, holder)

    def confirm(self, incarnation: Incarnation) -> None:
        """Its gateway's ``incarnation`` has said that it has the call: it holds the session, and that is activity."""
        self.touched = self._context.clock.read()
        self.claim(incarnation)

    def is_missed(self, since: Instant, holders: Collection[Incarnation] | None) -> bool:
        """Whether nothing was heard of it ``since``, and nobody but ``holders`` holds it, if these are given."""
        if self.touched.monotonic >= since.monotonic:
            return False
        return holders is None or self.incarnation is None or self.incarnation in holders

    def _require(self, if_version: int) -> None:
        if if_version.__class__ is not int or if_version < 1:
            raise InvalidRequest("if_version: expected a positive int", field="if_version")
        if if_version != self.record.version:
            raise VersionConflict(
                f"The session is at version {self.record.version}, not {if_version}",
                version=self.record.version,
                state=self.record.state,
            )

    def _overridden(self, changes: Changes) -> Timeouts:
        given = {
            name: getattr(self._context.settings, name) if value is None else value
            for name in Timeouts.__struct_fields__
            if (value := getattr(changes, name)) is not msgspec.UNSET
        }
        return msgspec.structs.replace(self.timeouts, **given) if given else self.timeouts

    def _file(self, now: Instant) -> None:
        """See to it that the reaper looks at this session in time: at most a tick late; early does no harm."""
        touched = self.touched
        if self.incarnation is not None and self.incarnation.loss is not None:
            touched = now  # it is not idle before its gateway is found, which cannot be earlier
        deadline = next_deadline(self.record.state, self.timeouts, self._origin, touched)
        if deadline is None:
            return
        due, latest = deadline.start.monotonic + deadline.seconds, now.monotonic + HORIZON
        if due > latest:  # noqa: PLR1730  (half the time of min())
            due = latest
        if due < (self._filed - 1) * TICK:
            self._filed = self._context.wheel.add(self.seq, due)

    def _file_again(self) -> None:
        """The same when the reaper has just looked, and holds no entry of this session any more."""
        self._filed = math.inf
        self._file(self._context.clock.read())

    # As an actor

    @property
    def _actor_ref(self) -> EventRef[Any]:  # type: ignore[override]  # see EventActor
        if self._ref is not None:
            return self._ref
        ref = super()._actor_ref
        ref.actor_inbox.bind(self, setup=False)
        return ref

    def _home(self) -> Dispatcher:
        return self._context.dispatcher

    def _stop(self) -> None:
        """Somebody stopped the actor by its ref: an administrator's end."""
        if self._context.directory.by_id.get(self.record.id) is self:
            end_by_service(self, "admin", ADMIN)
        self.actor_stopped.set()

    def _release(self) -> None:
        """The service stops: the session does not end, but whoever holds its ref finds it dead."""
        if self._ref is not None:
            self._ref.actor_stopped.set()
            self._ref.actor_inbox.close()

    def _crashed(self, error: BaseException) -> Internal:
        return restart(self, error)

    def _actor_loop_teardown(self) -> None:
        """What waited for this actor goes to what has taken its place."""
        while not self.actor_inbox.empty():
            forward(self, self.actor_inbox.get())


def _check_epoch(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_EPOCH:
        raise InvalidRequest(f"{field}: expected seconds since the epoch", field=field)


class SessionProxy(ActorMemberMixin, ActorProxy[SessionActor]):
    """The typed proxy of a session: every method returns a future."""

    get = proxy_method(SessionActor.get)
    history = proxy_method(SessionActor.history)
    touch = proxy_method(SessionActor.touch)
    update = proxy_method(SessionActor.update)
    update_state = proxy_method(SessionActor.update_state)
    update_metadata = proxy_method(SessionActor.update_metadata)
    end = proxy_method(SessionActor.end)


class SessionRef(EventRef[SessionActor]):
    """The ref of a session. It dies with the actor: after a restart or the end, ask the registry by id."""

    def proxy(self) -> SessionProxy:
        """Wrap the ref in a typed proxy; see ``pykka.ActorRef.proxy``."""
        return cast("SessionProxy", super().proxy())


SessionActor._ref_class = SessionRef  # noqa: SLF001
