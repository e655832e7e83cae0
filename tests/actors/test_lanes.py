"""Where commands wait, and that none is lost or overtaken there."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sessiond.actors import lanes as lanes_module
from sessiond.actors.lanes import AT_ONCE, LEFT_OVER, Lanes, Place


class Waiting:
    def __init__(self, gateway="gw"):
        self.gateway = gateway
        self.number = 0
        self.place = Place.NEW
        self.due = 0.0


@pytest.fixture
def lanes():
    return Lanes(most=100)


def added(lanes, count, gateway="gw"):
    commands = [Waiting(gateway) for _ in range(count)]
    assert all(map(lanes.add, commands))
    return commands


def test_commands_have_their_turns_in_the_order_in_which_they_came(lanes):
    commands = added(lanes, 3)
    assert [lanes.ready("gw") for _ in range(4)] == [*commands, None]


def test_there_is_room_for_so_many_and_each_lane_has_its_own(lanes):
    for command in added(lanes, AT_ONCE + 1)[:AT_ONCE]:
        assert lanes.ready("gw") is command
        lanes.put(command, Place.ASKED)
    assert lanes.ready("gw") is None
    (other,) = added(lanes, 1, "other")
    assert lanes.ready("other") is other
    lanes.remove(command)
    assert lanes.ready("gw") is not None


def test_a_lane_takes_so_many_and_no_more(lanes):
    commands = added(lanes, 100)
    assert not lanes.add(Waiting())
    assert lanes.add(Waiting("other"))
    lanes.remove(commands[50])
    assert lanes.add(Waiting())


def test_all_lanes_together_take_so_many_and_no_more(lanes, monkeypatch):
    monkeypatch.setattr(lanes_module, "MOST", 3)
    for gateway in "abc":
        added(lanes, 1, gateway)
    assert not lanes.add(Waiting("d"))


def test_what_waits_for_somebody_has_its_turn_when_he_comes(lanes):
    commands = added(lanes, 3)
    for _ in commands:
        lanes.put(lanes.ready("gw"), Place.ABSENT)
    lanes.remove(commands[1])
    lanes.found("gw")
    assert [lanes.ready("gw") for _ in range(3)] == [commands[0], commands[2], None]


def test_the_agenda_tells_what_is_due_once_and_as_last_filed(lanes):
    first, second, third = added(lanes, 3)
    for command, due in ((first, 5.0), (second, 3.0), (third, 4.0), (first, 5.0), (second, 6.0)):
        lanes.file(command, due)
    lanes.remove(third)
    assert lanes.due(4.9, 10) == []
    assert lanes.due(7.0, 1) == [first]
    assert lanes.due(7.0, 1) == [second]
    assert lanes.due(7.0, 1) == []


def test_an_agenda_of_what_is_over_is_let_go(lanes):
    (resident,) = added(lanes, 1)
    lanes.file(resident, 9e9)
    for n in range(1000):
        (command,) = added(lanes, 1, "other")
        lanes.file(command, 1e9 + n)
        lanes.remove(command)
    assert len(lanes._agenda) <= 3 * LEFT_OVER
    assert lanes.due(9e9, 1) == [resident]


class Model(RuleBasedStateMachine):
    """Every command is in one place, and whatever happens none is forgotten."""

    def __init__(self):
        super().__init__()
        self.lanes = Lanes(most=60)
        self.live = []

    @rule(gateway=st.sampled_from("ab"), count=st.integers(1, 20))
    def add(self, gateway, count):
        for _ in range(count):
            command = Waiting(gateway)
            held = sum(each.gateway == gateway for each in self.live)
            assert self.lanes.add(command) == (held < 60)
            if held < 60:
                self.live.append(command)

    @rule(gateway=st.sampled_from("ab"), place=st.sampled_from([Place.ASKED, Place.ABSENT]))
    def send(self, gateway, place):
        asked = sum(each.gateway == gateway and each.place is Place.ASKED for each in self.live)
        command = self.lanes.ready(gateway)
        waiting = [each for each in self.live if each.gateway == gateway and each.place is Place.READY]
        assert (command is None) == (not waiting or asked >= AT_ONCE)
        if command is not None:
            self.lanes.put(command, place)

    @rule(gateway=st.sampled_from("ab"))
    def found(self, gateway):
        self.lanes.found(gateway)
        assert not any(each.gateway == gateway and each.place is Place.ABSENT for each in self.live)

    @precondition(lambda self: self.live)
    @rule(place=st.integers(0, 1000))
    def remove(self, place):
        command = self.live.pop(place % len(self.live))
        self.lanes.remove(command)
        assert command.place is Place.OVER

    @invariant()
    def all_are_there(self):
        assert sorted(each.number for each in self.lanes.commands) == sorted(each.number for each in self.live)
        assert set(self.lanes.gateways) == {each.gateway for each in self.live}
        assert len(self.lanes) == len(self.live)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=50, stateful_step_count=40)
