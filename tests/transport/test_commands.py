"""Commands over real sockets: to gateways that the test plays, message by message, and to sessiond's own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import msgpack
import pytest
from clients import CLIENTS
from serving import serving
from wire import PATIENCE, Peer, notification, peer, request

from sessiond import Config, Gateway, errors
from sessiond.actors.results import Commanded, Failure
from sessiond.actors.settings import Commanding
from sessiond.transport.settings import Limits


class Running:
    """A service, and what a test does to it."""

    def __init__(self, served, stack):
        self.served = served
        self._stack = stack

    @property
    def port(self):
        return self.served.port

    def connect(self) -> Peer:
        return self._stack.enter_context(peer(self.served.port))

    def gateway(self, *capabilities, name="gw") -> Peer:
        """A connection of a gateway, by default one on which it takes commands."""
        connected = self.connect()
        connected.call("register_gateway", name, {"epoch": "e1", "capabilities": capabilities or ["commands"]})
        return connected


@pytest.fixture
def run():
    with ExitStack() as stack:

        def start(limits=None, **commands):
            config = Config(commands=Commanding(**commands), limits=limits or Limits())
            return Running(stack.enter_context(serving(config)), stack)

        yield start


def create(wire, **fields):
    return wire.call("create_session", {"type": "sip", "state": "active"} | fields)["id"]


def response(asked, result=None, error=None):
    """The bytes that answer a request of the service."""
    return msgpack.packb([1, asked[1], error, result])


def terminate(wire, session_id, *params, msgid=100):
    """Ask for the end of a call; ``told`` has the answer."""
    wire.send(request(msgid, "terminate_session", session_id, *params))


def told(wire, msgid=100):
    """The error and the result of a request that was sent before."""
    kind, answered, error, result = wire.receive()
    assert (kind, answered) == (1, msgid)
    return error, result


def await_loss(wire, name="gw"):
    """Return when the service has seen that a gateway is gone."""
    while wire.call("list_gateways", {"name": name})["gateways"][0]["connections"]:
        pass


# One gateway, one command


def test_a_call_is_hung_up_for_an_administrator(run):
    running = run()
    gateway, operator = running.gateway(), running.connect()
    session_id = create(gateway, external_id="call-1")
    terminate(operator, session_id, {"reason": "fraud"})
    asked = gateway.receive()
    assert asked == [0, 1, "terminate_session", [{"id": session_id, "external_id": "call-1", "reason": "fraud"}]]
    assert running.connect().call("get_session", session_id)["state"] == "active"
    gateway.send(response(asked))
    error, result = told(operator)
    assert (error, set(result)) == (None, {"version", "ended_at", "duration", "talk_duration", "gateway"})
    assert result["gateway"] == "done"
    session = operator.call("get_session", session_id)
    assert (session["end_reason"], session["ended_by"]) == ("admin", "admin")


NOT_FOUND = {
    "a text": "not_found",
    "bytes": b"not_found",
    "the service's own": [1, "Gone", {"code": "not_found"}],
    "a map": {"code": "not_found"},
}


@pytest.mark.parametrize("error", NOT_FOUND.values(), ids=NOT_FOUND)
def test_a_call_that_the_gateway_does_not_have_is_over(run, error):
    running = run()
    gateway, operator = running.gateway(), running.connect()
    terminate(operator, create(gateway))
    gateway.send(response(gateway.receive(), error=error))
    assert told(operator)[1]["gateway"] == "not_found"


def test_a_gateway_that_refuses(run):
    running = run()
    gateway, operator = running.gateway(), running.connect()
    session_id = create(gateway)
    terminate(operator, session_id)
    gateway.send(response(gateway.receive(), error=[0, "No media server", {"code": "media"}]))
    fault, text, details = told(operator)[0]
    assert (fault, text) == (0, "The gateway refused: No media server")
    assert details == {
        "code": "unavailable", "gateway": "failed", "error": {"code": "media", "text": "No media server"},
    }  # fmt: skip
    assert operator.call("get_session", session_id)["state"] == "active"


def test_the_gateway_ends_the_session_before_it_answers(run):
    """All in one write: its own end stands."""
    running = run()
    gateway, operator = running.gateway(), running.connect()
    session_id = create(gateway)
    terminate(operator, session_id)
    asked = gateway.receive()
    gateway.send(notification("end_session", session_id, "normal", {"sip_code": 200}), response(asked))
    assert told(operator)[1]["gateway"] == "done"
    assert operator.call("get_session", session_id)["end_reason"] == "normal"


def test_a_gateway_that_does_not_answer(run):
    running = run(timeout=0.01)
    gateway, operator = running.gateway(), running.connect()
    session_id = create(gateway)
    terminate(operator, session_id)
    asked = gateway.receive_many(3)
    assert [each[1:3] for each in asked] == [[n, "terminate_session"] for n in (1, 2, 3)]
    assert told(operator)[0][2] == {"code": "timeout", "gateway": "timeout"}
    gateway.send(*(response(each) for each in asked))
    assert gateway.call("ping") == "pong"
    assert operator.call("get_session", session_id)["state"] == "active"


def test_answers_that_come_late_twice_or_to_nothing_mean_nothing(run):
    running = run()
    gateway, operator = running.gateway(), running.connect()
    first, second = create(gateway), create(gateway)
    gateway.send(msgpack.packb([1, 1, None, None]), msgpack.packb([1, 77, None, None]))
    terminate(operator, first)
    asked = gateway.receive()
    gateway.send(response(asked), response(asked, error="no"), response(asked))
    assert told(operator)[1]["gateway"] == "done"
    terminate(operator, second)
    again = gateway.receive()
    gateway.send(response(asked), response(again, error="no"))
    assert told(operator)[0][2]["gateway"] == "failed"


def test_an_answer_may_come_in_pieces_and_among_requests(run):
    running = run()
    gateway, operator = running.gateway(), running.connect()
    session_id = create(gateway)
    operator.send(request(100, "modify_session", session_id, {"hold": True}))
    asked = gateway.receive()
    pieces = request(1, "ping") + response(asked, result={"é": [1.5, None, "x" * 300]}) + request(2, "ping")
    for place in range(0, len(pieces), 7):
        gateway.send(pieces[place : place + 7])
    assert told(operator) == (None, {"gateway": "done", "result": {"é": [1.5, None, "x" * 300]}})
    assert [gateway.receive(), gateway.receive()] == [[1, 1, None, "pong"], [1, 2, None, "pong"]]


@pytest.mark.parametrize("result", ["x" * (1 << 18), [[[[[[[[]]]]]]]], msgpack.ExtType(5, b"x")])
def test_an_answer_that_is_no_frame_closes_the_connection_and_the_command_goes_on(run, result):
    running = run()
    bad, operator = running.gateway(), running.connect()
    session_id = create(bad)
    terminate(operator, session_id)
    bad.send(response(bad.receive(), result=result))
    bad.rest()
    gateway = running.gateway()
    gateway.send(response(gateway.receive()))
    assert told(operator)[1]["gateway"] == "done"


def test_a_gateway_that_floods_the_service_with_answers_keeps_nobody_waiting(run):
    running = run()
    gateway, other = running.gateway(), running.connect()
    stray = b"".join(msgpack.packb([1, n, None, "x" * 20]) for n in range(1000))
    with ThreadPoolExecutor() as pool:
        flood = pool.submit(lambda: [gateway.send(stray) for _ in range(50)])
        while not flood.done():
            assert other.call("ping") == "pong"
        flood.result()
    terminate(other, create(other, gateway="gw"))
    gateway.send(response(gateway.receive()))
    assert told(other)[1]["gateway"] == "done"


# Connections that come and go


def test_another_connection_takes_over_when_one_is_lost_in_the_midst_of_a_command(run):
    running = run()
    links, operator = [running.gateway(), running.gateway()], running.connect()
    for n in (1, 2):
        terminate(operator, create(operator, gateway="gw", external_id=str(n)), msgid=n)
    asked = {link: link.receive() for link in links}
    links[0].close()
    repeated = links[1].receive()
    assert repeated[3] == asked[links[0]][3]
    links[1].send(response(asked[links[1]]), response(repeated))
    assert [error for _, _, error, _ in operator.receive_many(2)] == [None, None]


def test_connections_without_the_capability_are_asked_for_nothing(run):
    running = run()
    deaf, gateway, operator = running.gateway("other"), running.gateway(), running.connect()
    for _ in range(3):
        terminate(operator, create(deaf))
        gateway.send(response(gateway.receive()))
        assert told(operator)[1]["gateway"] == "done"
    assert deaf.call("ping") == "pong"


def test_a_gateway_that_is_gone_and_comes_back_in_time(run):
    running = run()
    gateway, operator, other = running.gateway(), running.connect(), running.connect()
    session_id = create(gateway)
    gateway.close()
    await_loss(other)
    terminate(operator, session_id)
    assert other.call("get_session", session_id)["suspect"]
    back = running.gateway()
    back.send(response(back.receive()))
    assert told(operator)[1]["gateway"] == "done"


def test_a_gateway_that_is_gone_and_does_not_come_back_in_time(run):
    running = run()
    gateway, operator = running.gateway(), running.connect()
    session_id = create(gateway)
    gateway.close()
    await_loss(operator)
    terminate(operator, session_id, None, {"wait": 0.05})
    assert told(operator)[0][2] == {"code": "unavailable", "gateway": "absent"}
    assert operator.call("get_session", session_id)["state"] == "active"
    assert running.gateway().call("ping") == "pong"


def test_an_operator_who_has_gone_leaves_nothing_behind(run):
    running = run()
    gateway, operator, other = running.gateway(), running.connect(), running.connect()
    session_id = create(gateway)
    terminate(operator, session_id)
    asked = gateway.receive()
    operator.close()
    gateway.send(response(asked), request(1, "ping"))
    gateway.receive()
    assert other.call("get_session", session_id)["end_reason"] == "admin"


def test_a_command_may_be_a_notification(run):
    running = run()
    gateway, operator = running.gateway(), running.connect()
    session_id = create(gateway)
    operator.send(notification("terminate_session", session_id))
    asked = gateway.receive()
    gateway.send(response(asked), request(1, "ping"))
    gateway.receive()
    assert operator.call("get_session", session_id)["end_reason"] == "admin"


# Many


def test_a_gateway_may_command_itself_on_one_connection_however_often(run):
    """Its answers are read although very many answers to it are pending."""
    running = run(limits=Limits(max_in_flight=2))
    gateway = running.gateway()
    ids = [create(gateway) for _ in range(20)]
    gateway.send(*(request(100 + n, "terminate_session", each) for n, each in enumerate(ids)))
    asked = gateway.receive_many(20)
    gateway.send(*map(response, asked))
    answers = gateway.receive_many(20)
    assert sorted(answer[1] for answer in answers) == [*range(100, 120)]
    assert {answer[3]["gateway"] for answer in answers} == {"done"}


def test_ends_in_bulk_with_some_failures(run):
    running = run(rate=1000)
    gateway, operator = running.gateway(), running.connect()
    ids = [create(gateway, external_id=str(n)) for n in range(10)]
    dry = operator.call("end_sessions", {"gateway": "gw"})
    assert dry == {"matched": 10, "dry_run": True, "ids": ids, "ended": 0, "failed": [], "cursor": None}
    operator.send(request(100, "end_sessions", {"gateway": "gw", "dry_run": False, "limit": 6, "most": 10}))
    for _ in range(6):
        asked = gateway.receive()
        odd = int(asked[3][0]["external_id"]) % 2
        gateway.send(response(asked, error="not now" if odd else None))
    error, result = told(operator)
    assert error is None
    assert (result["matched"], result["ended"]) == (10, 3)
    failure = {"code": "unavailable", "text": "The gateway refused: not now"}
    assert sorted(result["failed"], key=lambda each: ids.index(each["id"])) == [
        failure | {"id": ids[n]} for n in (1, 3, 5)
    ]
    operator.send(request(101, "end_sessions", {"gateway": "gw", "dry_run": False, "cursor": result["cursor"]}))
    for _ in range(4):
        gateway.send(response(gateway.receive()))
    _, result = told(operator, 101)
    assert result == {"matched": 7, "dry_run": False, "ids": [], "ended": 4, "failed": [], "cursor": None}
    assert operator.call("count_sessions", {"gateway": "gw"}) == {"count": 3}


# The service itself


def test_the_gateway_is_told_of_a_call_that_timed_out(run):
    running = run()
    gateway = running.gateway()
    session_id = create(gateway, external_id="c", max_duration=0.01)
    asked = gateway.receive()
    assert asked[2:] == ["terminate_session", [{"id": session_id, "external_id": "c", "reason": "max_duration"}]]
    gateway.send(response(asked))
    entries = gateway.call("get_session_history", session_id)["entries"]
    assert [entry["change"] for entry in entries] == ["created", "ended", "command"]
    assert (entries[-1]["author"], entries[-1]["outcome"]) == ({"kind": "service"}, "done")


def test_the_service_does_not_stop_for_commands_that_wait(run):
    running = run()
    gateway, operator = running.gateway(), running.connect()
    terminate(operator, create(gateway))
    gateway.receive()
    drained = asyncio.run_coroutine_threadsafe(running.served.service._front_end.drain(), running.served.loop)
    assert told(operator)[0][2] == {"code": "unavailable"}
    for each in (gateway, operator):
        assert each.rest() == []
        each.close()
    drained.result(PATIENCE)


# Both ends by sessiond


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_clients_give_commands_and_the_gateway_class_carries_them_out(run, kind):
    running = run(rate=1000)
    calls = {
        name: {"type": "sip", "state": "active", "gateway": "gw", "external_id": name, "request_id": name}
        for name in ("call 0", "call 1", "call 2", "call 3")
    }
    warned = []

    def hang_up(arguments):
        if arguments["external_id"] == "call 1":
            raise errors.NotFound("No such call")
        if arguments["external_id"] == "call 3":
            raise errors.Unavailable("The media server is away")

    commands = {
        "terminate_session": hang_up,
        "modify_session": lambda arguments: arguments["changes"],
        "warn_session": lambda arguments: warned.append(arguments["text"]),
    }
    with (
        Gateway("gw", port=running.port, sessions=lambda: list(calls.values()), commands=commands) as gateway,
        CLIENTS[kind](running.port) as operator,
    ):
        ids = [gateway.client.create_session(**call).id for call in calls.values()]
        assert operator.modify_session(ids[0], {"hold": True}) == Commanded("done", {"hold": True})
        assert operator.warn_session(ids[0], "One minute left", timeout=5, wait=0) == Commanded("done")
        assert warned == ["One minute left"]
        assert operator.terminate_session(ids[0], "fraud").gateway == "done"
        assert operator.terminate_session({"gateway": "gw", "external_id": "call 1"}).gateway == "not_found"
        with pytest.raises(errors.Unavailable) as caught:
            operator.terminate_session(ids[3])
        assert caught.value.details["gateway"] == "failed"
        assert operator.end_sessions(gateway="gw").ids == ids[2:]
        ended = operator.end_sessions(gateway="gw", dry_run=False, most=2)
        assert (ended.ended, ended.cursor) == (1, None)
        assert ended.failed == [Failure(ids[3], "unavailable", "The gateway refused: The media server is away")]
        assert operator.request_sync("gw") == Commanded("done")
        with pytest.raises(errors.NotFound):
            operator.request_sync("no such gateway")


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_command_may_take_longer_than_other_requests_of_a_client(run, kind):
    running = run()
    gateway = running.gateway()
    session_id = create(gateway)
    with CLIENTS[kind](running.port, timeout=0.1) as operator, ThreadPoolExecutor() as pool:
        operator.ping()
        ended = pool.submit(operator.terminate_session, session_id, timeout=PATIENCE)
        asked = gateway.receive()
        with running.served.hung(), pytest.raises(errors.RequestTimeout):
            operator.ping()
        assert not ended.done()
        gateway.send(response(asked))
        assert ended.result(PATIENCE).gateway == "done"


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_gives_up_when_the_service_does_not_answer_in_that_time_either(run, kind):
    running = run(attempts=10)
    session_id = create(running.gateway())
    with CLIENTS[kind](running.port, timeout=0.01) as operator, pytest.raises(errors.RequestTimeout) as caught:
        operator.terminate_session(session_id, timeout=0.1, wait=0.0)
    assert str(caught.value) == "No answer to terminate_session within 0.31 s"
