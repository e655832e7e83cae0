"""The registry's part that has to do with gateways."""

from __future__ import annotations

import abc
import functools
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from sessiond.actors.deep_missing import DeepMissing
from sessiond.actors.directory import MAX_ADDRESSED
from sessiond.actors.errors import Conflict, Internal, InvalidRequest, LimitExceeded, NotFound
from sessiond.actors.future import Pending
from sessiond.actors.gateway import GatewayActor
from sessiond.actors.gateway_list import page
from sessiond.actors.guard import perform, run
from sessiond.actors.incarnation import Judgement
from sessiond.actors.loading import Loading
from sessiond.actors.missing import Missing
from sessiond.actors.params import Address, GatewayQuery, Registration, SyncPart, WhichEpoch, checked, checked_name
from sessiond.actors.passive import PassiveDirectory
from sessiond.actors.results import EndedCall, Synced
from sessiond.actors.retention import EndedSession
from sessiond.actors.service import ServiceActor
from sessiond.actors.session import SessionActor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessiond.actors.arguments import GatewayArguments, RegistrationArguments, SyncArguments
    from sessiond.actors.context import Context, Known
    from sessiond.actors.incarnation import Incarnation, Link
    from sessiond.actors.journal import Journal
    from sessiond.actors.residence import Residence
    from sessiond.actors.results import Gateways, Registered, Renewed
    from sessiond.actors.surveyor import WaitingWork
    from sessiond.actors.sync import Sync

__all__ = ["GatewayRegistry", "part_was_refused"]

R = TypeVar("R")


class GatewayRegistry(ServiceActor):
    """Knows the actor of each gateway that has registered."""

    def __init__(self, context: Context) -> None:
        """Keep gateways in the books of ``context``."""
        super().__init__(context)
        self.context = context
        self._gateways: dict[str, GatewayActor] = {}

    # The methods of the contract

    def register_gateway(self, name: str, /, **options: Unpack[RegistrationArguments]) -> Registered:
        """Have a gateway be known that is part of this program: the keys are those of ``params.Registration``.

        It lives as long as ``heartbeat_gateway`` is called, each time before its lease is over.

        Raises:
            Conflict: the policy lets no other incarnation live.
            LimitExceeded: as many gateways are known as may be.
        """
        return self.register(checked_name(name), checked(options, Registration), None)

    def heartbeat_gateway(self, name: str, /, *, epoch: str | None = None) -> Renewed:
        """Renew the lease of an incarnation, on whatever connection or none.

        Raises:
            NotFound: no such incarnation is known.
            Conflict: it was replaced.
        """
        return self.renew(checked_name(name), checked({"epoch": epoch}, WhichEpoch))

    def list_gateways(self, /, **query: Unpack[GatewayArguments]) -> Gateways:
        """One page of the gateways that have registered; the keys are those of ``params.GatewayQuery``."""
        return self.gateways(checked(query, GatewayQuery))

    def sync_sessions(self, name: str, /, **options: Unpack[SyncArguments]) -> Synced:
        """One part of what a gateway has, and where that differs; the keys are those of ``params.SyncPart``.

        In process it is the gateway's newest incarnation that says so.

        Raises:
            InvalidRequest: there is no such ``sync`` any more, or nothing was named.
            Conflict: very many live sessions have one of the external ids.
        """
        gateway = checked_name(name)
        incarnation = self.context.incarnations.newest(gateway)
        try:
            part = checked(options, SyncPart)
        except InvalidRequest:
            part_was_refused(incarnation)
            raise
        return self.sync(gateway, part, incarnation)

    # The same with checked arguments

    def register(self, name: str, asked: Registration, link: Link | None) -> Registered:
        """``register_gateway``, on a connection or in process."""
        bound = None if link is None else link.incarnation
        if bound is not None and (bound.gateway, bound.epoch) != (name, asked.epoch):
            raise Conflict(
                "This connection belongs to another gateway or epoch", gateway=bound.gateway, epoch=bound.epoch
            )
        return run(self._gateway(name), lambda gateway: gateway.register(asked, link))

    def renew(self, name: str, which: WhichEpoch) -> Renewed:
        """``heartbeat_gateway``."""
        incarnation = self.context.incarnations.find(name, which.epoch)
        if incarnation is None:
            raise NotFound("No such incarnation of a gateway is known", gateway=name, epoch=which.epoch)
        return run(self._gateway(name), lambda gateway: gateway.renew(incarnation))

    def gateways(self, query: GatewayQuery) -> Gateways:
        """``list_gateways``."""
        return page(self.context.incarnations, query)

    def sync(self, name: str, part: SyncPart, incarnation: Incarnation | None) -> Synced:
        """``sync_sessions``, by ``incarnation`` or by somebody who is none and only wants to know."""
        sync = self._sync_of(name, part, incarnation)
        residence = self.context.residence
        if residence is None:
            return self._take_in(sync, part)
        passive = self._passive(residence, name, part)
        if not passive and sync.reading is None:
            return self._take_in(sync, part)
        read = functools.partial(self._take_in_later, residence, sync, part)
        pending = residence.after(passive, read, behind=cast("Pending[Synced] | None", sync.reading))
        self._await(sync, cast("Pending[Synced]", pending))
        return pending

    # Inside

    def _take_in_later(self, residence: Residence, sync: Sync, part: SyncPart) -> Synced:
        """Take in a part that had to wait, unless its sync is over; some that it names may have left meanwhile."""
        self.context.syncs.go_on(sync.token, sync.gateway, sync.incarnation, self.context.clock.read())
        passive = self._passive(residence, sync.gateway, part)
        if passive:
            return residence.after(passive, functools.partial(self._take_in_later, residence, sync, part))
        return self._take_in(sync, part)

    def _await(self, sync: Sync, reading: Pending[Synced]) -> None:
        """Have the next part wait for this one. Nobody is missed who was named in one that could not be taken in."""

        def done(_: Synced | None, error: BaseException | None) -> None:
            if sync.reading is reading:
                sync.reading = None
            if error is not None:
                self.context.syncs.fail(sync)

        sync.reading = reading
        reading.then(done)

    def _passive(self, residence: Residence, name: str, part: SyncPart) -> list[int]:
        """The passive sessions that are named."""
        targets = (*(part.ids or ()), *(Address(each, name) for each in part.external_ids or ()))
        return [seq for target in targets for seq in residence.targeted(target)]

    def _take_in(self, sync: Sync, part: SyncPart) -> Synced:
        journal = self.context.journal
        try:
            synced = self._go_on(sync, part)
            return synced if journal is None else _when_kept(journal, synced)
        except BaseException:
            self.context.syncs.fail(sync)  # nobody is to be missed who was named in a part that failed
            raise

    def _go_on(self, sync: Sync, part: SyncPart) -> Synced:
        if part.cursor is not None and not sync.is_complete:
            raise InvalidRequest("cursor: this sync has no result yet", field="cursor")
        live, unknown, ended = self._resolved(sync.gateway, part)
        for session in live:
            sync.named.add(session.seq)
            if sync.incarnation is not None:
                self._confirm(session.seq, sync.incarnation)
        answer = Synced(sync.token, unknown, ended, [], None)
        if not part.final:
            return answer
        missing = self._missing(sync, answer, part.cursor)
        if not sync.is_complete:
            self._judge(sync)
            self.context.syncs.complete(sync)
        return self._work(missing)

    def _missing(self, sync: Sync, answer: Synced, cursor: str | None) -> WaitingWork[Synced]:
        directory, residence = self.context.directory, self.context.residence
        holders = self._holders(sync)
        if residence is None or not isinstance(directory, PassiveDirectory):
            return Missing(sync, directory, holders, answer, cursor)
        known = self.context.incarnations.of.get(sync.gateway, [])
        return Loading(DeepMissing(sync, directory, holders, known, answer, cursor), residence.read, residence.show)

    def _holders(self, sync: Sync) -> set[Incarnation] | None:
        """Whose sessions are missing that were not named; None if they are, whosesoever they are."""
        incarnation = sync.incarnation
        if incarnation is None:
            return None
        return {incarnation, *run(self._gateway(sync.gateway), lambda gateway: gateway.predecessors(incarnation))}

    def _judge(self, sync: Sync) -> None:
        """All has been named."""
        incarnation = sync.incarnation
        if incarnation is not None:
            judgement = Judgement(sync.began, sync.named)
            run(self._gateway(sync.gateway), lambda gateway: gateway.judge(incarnation, judgement))

    def _confirm(self, seq: int, incarnation: Incarnation) -> None:
        """Have a session be held by ``incarnation``; one that crashes over that gets a second chance."""
        try:
            self._try_to_confirm(seq, incarnation)
        except Internal:
            self._try_to_confirm(seq, incarnation)

    def _try_to_confirm(self, seq: int, incarnation: Incarnation) -> None:
        session = self.context.session(seq)
        if session is not None and not isinstance(session, EndedSession):
            perform(session, lambda actor: actor.confirm(incarnation))

    def _sync_of(self, name: str, part: SyncPart, incarnation: Incarnation | None) -> Sync:
        """The sync that ``part`` goes on with, or begins."""
        context = self.context
        now = context.clock.read()
        if part.sync is not None:
            sync = context.syncs.go_on(part.sync, name, incarnation, now)
        elif part.final and part.ids is None and part.external_ids is None:
            raise InvalidRequest("ids: say which sessions there are, [] if there are none", field="ids")
        else:
            sync = context.syncs.begin(name, incarnation, context.directory.last_seq, now)
        return sync

    def _resolved(self, name: str, part: SyncPart) -> tuple[list[SessionActor], list[str], list[EndedCall]]:
        """Of what was named: the live sessions, what is not known, and what has ended."""
        live: list[SessionActor] = []
        unknown: list[str] = []
        ended: list[EndedCall] = []
        for told, found in (*self._by_ids(name, part.ids or ()), *self._by_external_ids(name, part.external_ids or ())):
            for each in found:
                if isinstance(each, EndedSession):
                    ended.append(EndedCall(each.id, each.external_id, each.record.end_reason or ""))
                else:
                    live.append(each)
            if not found:
                unknown.append(told)
        return live, unknown, ended

    def _by_ids(self, name: str, ids: Sequence[str]) -> Iterator[tuple[str, list[Known]]]:
        for each in ids:
            session: Known | None = self.context.directory.by_id.get(each)  # type: ignore[assignment]  # never a standing
            yield each, [] if session is None or session.record.gateway != name else [session]

    def _by_external_ids(self, name: str, external_ids: Sequence[str]) -> Iterator[tuple[str, list[Known]]]:
        for each in external_ids:
            live, ended = self.context.addressed(name, each)
            if len(live) >= MAX_ADDRESSED:  # maybe not all: who is not named must not be missed for that
                raise Conflict("Very many live sessions have this address: use their ids", external_id=each)
            yield each, live or ([] if ended is None else [ended])

    @abc.abstractmethod
    def _work(self, work: WaitingWork[R]) -> R:
        """What comes of a piece of work, done in steps."""

    def _gateway(self, name: str) -> GatewayActor:
        gateway = self._gateways.get(name)
        if gateway is None:
            most = self.context.gateways.max_gateways
            if len(self._gateways) >= most:
                raise LimitExceeded("As many gateways are known as may be", limit="max_gateways", maximum=most)
            gateway = self._start_gateway(name)
        return gateway

    def _start_gateway(self, name: str) -> GatewayActor:
        gateway = self._gateways[name] = GatewayActor.start(self.context, name, self._gone).local()
        return gateway

    def _start_gateways(self) -> None:
        """Have an actor look after each gateway that held sessions before this run.

        It finds the gateway lost, and does so now: whoever registers next must not be taken for one beside it.
        """
        for name in list(self.context.incarnations.of):
            run(self._start_gateway(name), lambda gateway: gateway.look())

    def _gone(self, gateway: GatewayActor, name: str) -> None:
        """Nothing is left of a gateway, and its actor stops; there may be another one already."""
        if self._gateways.get(name) is gateway:
            del self._gateways[name]

    def _stop_gateways(self) -> None:
        for gateway in self._gateways.values():
            gateway.actor_ref.stop(block=False)


def _when_kept(journal: Journal, synced: Synced) -> Synced:
    """An answer once everything is settled that has changed until it is known."""
    if not isinstance(synced, Pending):
        return journal.reply_after_all(synced)
    kept: Pending[Synced] = Pending()

    def done(value: Any, error: BaseException | None) -> None:
        if error is None:
            kept.set(journal.reply_after_all(value))
        else:
            kept.fail(error)

    synced.then(done)
    return cast("Synced", kept)


def part_was_refused(incarnation: Incarnation | None) -> None:
    """Some part of a sync by ``incarnation`` made no sense: nobody is to be missed who may have been named in it."""
    if incarnation is not None:
        incarnation.refused_parts += 1
