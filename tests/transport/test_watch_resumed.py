"""Watchers whose connections are lost a thousand times in the middle of everything, and what they have at last."""

from __future__ import annotations

import random

import msgpack
import pytest
from still_service import StillService, still_service
from viewers import lasting, viewing

from sessiond.actors.params import Filters
from sessiond.actors.selection import record_checks
from sessiond.actors.session import SessionActor
from sessiond.actors.settings import WatchSettings

DISCONNECTS = 1000
LEASE = 1.0
VIEWS = [
    {},
    {"gateway": "gw-1"},
    {"state": ["active", "held"], "direction": "inbound"},
    {"metadata": {"codec": "opus"}},
    {"caller": None, "ended": "any"},
]


class Frail(SessionActor):
    """Crashes at a certain metadata: before the change, or after it."""

    def annotate(self, metadata, *args):
        if metadata.get("crash") == "before":
            raise RuntimeError
        answer = super().annotate({key: value for key, value in metadata.items() if key != "crash"}, *args)
        if "crash" in metadata:
            raise RuntimeError
        return answer


class Traffic:
    """Gateways that create, change and end sessions, crash and come back, as chance has it."""

    def __init__(self, service: StillService, chance: random.Random) -> None:
        self.service, self.context, self.chance = service, service.context, chance
        self.registry = service.registry.local()
        self.live: list[str] = []
        self.epochs = 0
        self.restart()

    def go_on(self, doings: int) -> None:
        for _ in range(doings):
            self._go_on()

    def _go_on(self):
        doing = self.chance.choices(
            [self.create, self.move, self.annotate, self.amend, self.end, self.touch, self.crash, self.lose,
             self.find, self.restart, self.wait],
            [24, 24, 12, 8, 16, 4, 2, 2, 3, 1, 4],
        )[0]  # fmt: skip
        doing()

    def ask(self, method, *params):
        """Send a request, in the name of the gateway or not."""
        service = self.service
        incarnation = self.incarnation if self.chance.random() < 0.5 else None
        self.context.ask_as(incarnation if incarnation is not None and incarnation.loss is None else None)
        service.connection.data_received(msgpack.packb([0, 1, method, params]))
        self.context.ask_as(None)
        if self.chance.random() < 0.4:  # else more comes in the same turn of the loop
            service.loop.settle()

    def some(self):
        return self.chance.choice(self.live) if self.live else "none"

    def create(self):
        fields = {"type": "sip", "state": self.chance.choice(["initializing", "ringing", "active"])}
        fields["gateway"] = self.chance.choice(["gw-1", "gw-1", "gw-2"])
        fields["direction"] = self.chance.choice(["inbound", "outbound"])
        fields["caller"] = self.chance.choice([None, "+1"])
        self.ask("create_session", fields)
        self.live = [
            known.record.id for known in self.context.directory.by_id.values() if known.record.state != "ended"
        ]

    def move(self):
        self.ask("update_session_state", self.some(), self.chance.choice(["ringing", "active", "active", "held"]))

    def annotate(self):
        self.ask("update_session_metadata", self.some(), {"codec": self.chance.choice(["opus", "pcmu", None])})

    def amend(self):
        changes = self.chance.choice([{"caller": None}, {"caller": "+2"}, {"idle_timeout": 60}, {"group": "g"}])
        self.ask("update_session", self.some(), changes)

    def end(self):
        self.ask("end_session", self.some())

    def touch(self):
        self.ask("touch_session", self.some())

    def crash(self):
        session_id = self.some()
        metadata = {"codec": "opus", "crash": self.chance.choice(["before", "after"])}
        for _ in range(self.chance.choice([1, 4])):  # four times is the end
            self.ask("update_session_metadata", session_id, metadata)

    def lose(self):
        self.pass_time(LEASE + 1)

    def find(self):
        if self.incarnation is not None:
            self.registry.heartbeat_gateway("gw-1", epoch=f"e{self.epochs}")

    def restart(self):
        self.epochs += 1
        self.registry.register_gateway("gw-1", epoch=f"e{self.epochs}", lease=LEASE)

    def wait(self):
        self.pass_time(self.chance.choice([0.5, 0.5, 5, 70]))

    def pass_time(self, seconds):
        """Let time pass: leases lapse, graces end, sessions time out and are forgotten."""
        self.service.clock.advance(seconds)
        self.service.loop.pass_time(max(2.0, seconds))

    @property
    def incarnation(self):
        """That of the gateway as it is now."""
        return self.context.incarnations.find("gw-1", f"e{self.epochs}")


def expected(service, filters):
    """What there is that a viewer with these filters should have."""
    known = service.context.directory.by_id.values()
    query = Filters(**filters)
    checks = record_checks(query)
    return {each.record.id: lasting(each.get()) for each in known if all(check(each.record) for check in checks)}


def seen(service, viewer):
    """What it has; whatever of that has been forgotten meanwhile, nobody tells."""
    known = service.context.directory.by_id
    return {id: lasting(session) for id, session in viewer.mirror.sessions.items() if id in known}


@pytest.mark.parametrize("history", [25, 100_000], ids=["so short that there are gaps", "long"])
def test_watchers_disconnected_a_thousand_times_have_exactly_what_there_is(history):
    chance = random.Random(f"{history} changes are kept")
    watching = WatchSettings(history=history, backlog=history)
    with still_service(session_class=Frail, watching=watching) as service:
        traffic = Traffic(service, chance)
        traffic.go_on(50)
        with viewing(service, *VIEWS) as viewers:
            for disconnect in range(DISCONNECTS):
                traffic.go_on(chance.choice([0, 1, 3, 8]))
                disconnected(chance.choice(viewers), traffic, chance)
                chance.choice(viewers).take()
                if disconnect % 25 == 0:
                    check(service, viewers)
            check(service, viewers)
        snapshots, gaps = (sum(getattr(viewer, what) for viewer in viewers) for what in ("snapshots", "gaps"))
        assert traffic.epochs > 10
        assert snapshots > 50
        assert gaps > 50 if history == 25 else gaps == 0


def disconnected(viewer, traffic, chance):
    """Have a viewer lose its connection after so much of what came to it, and come back after a while."""
    viewer.take(chance.randint(0, viewer.unread))
    viewer.cut()
    traffic.go_on(chance.choice([0, 0, 1, 2, 8, 40]) if chance.random() < 0.5 else 1)
    if chance.random() < 0.1:
        viewer.forget()
    viewer.connect()


def check(service, viewers):
    service.loop.settle()
    for viewer, filters in zip(viewers, VIEWS, strict=True):
        while viewer.unread:
            viewer.take()
            service.loop.settle()
        assert viewer.mirror.is_complete
        assert seen(service, viewer) == expected(service, filters), filters


def test_the_traffic_of_this_test_is_what_it_says():
    """Else the test above would prove less than it says."""
    with still_service(session_class=Frail) as service:
        traffic = Traffic(service, random.Random(1))
        traffic.go_on(4000)
        tally = service.context.tally
        reasons = {reason for _, reason in tally.ended}
        assert {"crashed", "normal", "failed", "setup_timeout", "gateway_lost"} <= reasons
        assert tally.restarts["session"] > 20
        assert all(tally.gateways[event] > 5 for event in ("lost", "resumed", "restarted", "shared"))
