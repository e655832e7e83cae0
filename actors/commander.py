"""The commander actor: tells gateways what to do, again if they do not answer, and waits for those that are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sessiond.actors.command import Command
from sessiond.actors.commanding import ABSENT, CAPABILITY, FAILED, NOT_ASKED, OVERLOADED, Course, Patience, Verdict
from sessiond.actors.errors import SessiondError, Unavailable
from sessiond.actors.guard import perform
from sessiond.actors.history import COMMAND, named, noted
from sessiond.actors.incarnation import SERVICE
from sessiond.actors.lanes import AT_ONCE, Lanes, Place
from sessiond.actors.retention import EndedSession
from sessiond.actors.service import ServiceActor

if TYPE_CHECKING:
    from sessiond.actors.context import Context
    from sessiond.actors.future import Pending
    from sessiond.actors.incarnation import Incarnation, Link
    from sessiond.actors.record import Session

__all__ = ["CommanderActor"]

TICK = 0.1
"""Seconds between looks while a command is not over."""
RECHECK = 1.0
"""Seconds between looks whether another run of a gateway that is gone has claimed a session."""
LOOKS = 500
"""Commands looked at in one turn, at some 5 us each."""
SENDS = 4 * AT_ONCE
"""Commands of one gateway that are sent in one turn, or found to have nobody to go to."""


class Tick:
    """The commander's own timer."""


class Send:
    """Told by the commander to itself: there are commands to send."""


class CommanderActor(ServiceActor):
    """Sends commands over the links of gateways, and tells whoever gave them what came of it.

    Each gateway has a queue of its own, so that one which hangs holds nobody else up.
    """

    name = "commander"

    def __init__(self, context: Context) -> None:
        """Command the gateways of these books."""
        super().__init__(context)
        self.lanes: Lanes[Command[Any]] = Lanes(context.commanding.queue)
        """The commands that are not over; only to be read."""
        self._concerned: Counter[int] = Counter()
        """How many of them are about each session."""
        self._is_wound = False
        self._is_sending = False
        self._is_closed = False

    def carry_out(self, command: Command[Any]) -> Pending[Any]:
        """Have a command carried out; the answer is what it makes of the verdict. Called in a turn."""
        if self._is_closed:
            raise _stopping()
        if not self._takes_commands(command):
            self._conclude(command, Verdict(NOT_ASKED))
        elif not self.lanes.add(command):
            self._conclude(command, Verdict(OVERLOADED))
        else:
            if command.seq is not None:
                self._concerned[command.seq] += 1
            self.lanes.file(command, command.course.due)
            self._send_soon()
            self._wind()
        return command.pending

    def hang_up(self, final: Session, seq: int, holder: Incarnation) -> None:
        """Have ``holder`` hang up a call that the service has ended, in the background.

        Nothing is sent before this turn is over: whoever ends very many calls is not held up.
        """
        if not holder.takes_commands or self._is_closed:
            return
        arguments = {"id": final.id, "external_id": final.external_id, "reason": final.end_reason}
        command = Command(holder.gateway, "terminate_session", arguments, self.course(), _nobody_waits)
        command.seq, command.holder, command.author = seq, holder, SERVICE
        self.carry_out(command)

    def course(self, timeout: float | None = None, wait: float | None = None) -> Course[Link]:
        """The way of a command that begins now; seconds for each attempt and for a gateway that is gone."""
        usual = self._context.commanding
        patience = Patience(
            usual.timeout if timeout is None else timeout, usual.attempts, usual.wait if wait is None else wait
        )
        return Course(patience, self._context.clock.read().monotonic)

    def concerns(self, seq: int) -> bool:
        """Whether a command about that session is not over."""
        return seq in self._concerned

    def found(self, gateway: str) -> None:
        """A gateway is back, or has one link more. Called in a turn."""
        if self.lanes.found(gateway):
            self._send_soon()

    def close(self) -> None:
        """The service stops: no command is carried out any more."""
        self._is_closed = True
        for command in self.lanes.commands:
            self._remove(command)
            command.pending.fail(_stopping())

    # As an actor

    def resume(self) -> None:
        """See ``ServiceActor``."""
        self._is_wound = self._is_sending = False
        now = self._context.clock.read().monotonic
        for command in self.lanes.commands:
            self.lanes.file(command, now)
        if self.lanes:
            self._wind()

    def on_receive(self, message: object) -> object:
        """See ``pykka.Actor``."""
        if isinstance(message, Tick):
            self._is_wound = False
            self._look()
            if self.lanes:
                self._wind()
        elif isinstance(message, Send):
            self._is_sending = False
            self._send_ready()
        else:
            return super().on_receive(message)
        return None

    def _wind(self) -> None:
        if not self._is_wound:
            self._is_wound = True
            self._tell_later(TICK, Tick())

    def _send_soon(self) -> None:
        if not self._is_sending and self.lanes:
            self._is_sending = True
            self.actor_ref.tell(Send())

    # Whom to ask

    def _takes_commands(self, command: Command[Any]) -> bool:
        """Whether the gateway of a command has ever said, as long as it is known, that it takes any."""
        return any(each.takes_commands for each in self._asked_of(command))

    def _asked_of(self, command: Command[Any]) -> Sequence[Incarnation]:
        """Those of whom one is to carry out a command: who holds its session, or else whoever is there."""
        if command.seq is not None:
            session = self._context.session(command.seq)
            if session is not None and not isinstance(session, EndedSession):
                command.holder = session.incarnation
        if command.holder is not None:
            return (command.holder,)
        return self._context.incarnations.of.get(command.gateway, ())

    def _links(self, command: Command[Any]) -> list[Link]:
        """Those over which a command can be sent now, each command's beginning with another one."""
        live = (each for each in self._asked_of(command) if each.loss is None)
        links = [link for each in live for link in each.links if CAPABILITY in link.capabilities]
        first = command.number % len(links) if links else 0
        return links[first:] + links[:first]

    # The work

    def _look(self) -> None:
        now = self._context.clock.read().monotonic
        for command in self.lanes.due(now, LOOKS):
            verdict = command.course.look(now)
            if verdict is None and command.place is Place.READY:
                verdict = command.course.held_up(now, OVERLOADED)
            if verdict is not None:
                self._conclude(command, verdict)
            elif command.place is Place.READY or command.course.is_asked:
                self.lanes.file(command, command.course.due)
            else:
                self._send(command)
        self._send_ready()

    def _send_ready(self) -> None:
        for gateway in self.lanes.gateways:
            for _ in range(SENDS):
                command = self.lanes.ready(gateway)
                if command is None:
                    break
                self._send(command)
            else:
                self._send_soon()

    def _send(self, command: Command[Any]) -> None:
        """Make the next attempt, or wait for somebody with whom to make it."""
        now = self._context.clock.read().monotonic
        course = command.course
        link = None if self._is_moot(command) else course.choose(self._links(command))
        if link is not None:
            self.lanes.put(command, Place.ASKED)
            course.asked(link, now)
            self.lanes.file(command, course.due)
            try:
                command.ask(link, self._take)
            except BaseException as error:  # noqa: BLE001  (the command's crash, not the commander's)
                self._break_off(command, self._crashed(error))
        elif (verdict := course.held_up(now, ABSENT)) is not None or self._is_moot(command):
            self._conclude(command, verdict or Verdict(ABSENT))
        else:
            self.lanes.put(command, Place.ABSENT)
            self.lanes.file(command, min(course.due, now + RECHECK))

    def _is_moot(self, command: Command[Any]) -> bool:
        """Whether a command is about a live session that has ended meanwhile."""
        if not command.needs_life:
            return False
        session = self._context.session(command.seq)  # type: ignore[arg-type]  # then it has one
        return session is None or isinstance(session, EndedSession)

    def _take(self, command: Command[Any], judge: Callable[[Sequence[Link]], Verdict | None]) -> None:
        """Something came of an attempt; ``judge``, given the links there are, says whether that is the end of it."""

        def take(itself: CommanderActor) -> None:
            if command.place is Place.OVER:
                return
            verdict = judge(itself._links(command))
            if verdict is not None:
                itself._conclude(command, verdict)
                itself._send_soon()
            elif not command.course.is_asked:
                itself._send(command)

        try:
            perform(self, take)
        except SessiondError as crash:
            self._break_off(command, crash)

    # Ends

    def _conclude(self, command: Command[Any], verdict: Verdict) -> None:
        if command.place is not Place.NEW:
            self._remove(command)
        self._context.tally.count_command(command.method, verdict.outcome)
        self._note(command, verdict.outcome)
        try:
            result = command.read(verdict)
        except SessiondError as error:
            command.pending.fail(error.bare())
        except BaseException as error:  # noqa: BLE001  (the request's crash, not the commander's)
            command.pending.fail(self._crashed(error))
        else:
            command.pending.set(result)

    def _break_off(self, command: Command[Any], crash: SessiondError) -> None:
        if command.place is not Place.OVER:
            self._conclude(command, Verdict(FAILED, None, {"code": crash.code, "text": crash.text}))

    def _remove(self, command: Command[Any]) -> None:
        self.lanes.remove(command)
        if command.seq is not None:
            self._concerned[command.seq] -= 1
            if not self._concerned[command.seq]:
                del self._concerned[command.seq]
        command.forget()

    def _note(self, command: Command[Any], outcome: str) -> None:
        """Have the history of the session tell of it, as long as the session is known."""
        session = None if command.seq is None else self._context.session(command.seq)
        if session is not None:
            at = self._context.clock.read().wall
            reason = command.arguments.get("reason")
            told = (command.method, outcome, reason) if isinstance(reason, str) else (command.method, outcome)
            session.timeline = noted(session.timeline, COMMAND, command.author, at, named(told))
            if not isinstance(session, EndedSession):
                self._context.consequences.noted(session)


def _nobody_waits(_verdict: Verdict) -> None:
    """What comes of it is in the metrics, and in the history of the session."""


def _stopping() -> Unavailable:
    return Unavailable("The service is stopping")
