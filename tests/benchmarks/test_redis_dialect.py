"""What Redis is sent is whole commands, what it replies is understood, and the sessions in it are right."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.redis_dialect import LuaScripts, PlainCommands
from sessiond.bench.dialect import UnreadableError
from sessiond.bench.workload import CALL, RESIDENT, Call, Step

DIALECTS = [LuaScripts, PlainCommands]


def commands(data):
    """The commands in what is sent, each a list of its words."""
    found = []
    while data:
        count, data = header(data, b"*")
        words = []
        for _ in range(count):
            length, data = header(data, b"$")
            words.append(data[:length].decode())
            assert data[length : length + 2] == b"\r\n"
            data = data[length + 2 :]
        found.append(words)
    return found


def header(data, kind):
    line, _, rest = data.partition(b"\r\n")
    assert line[:1] == kind
    return int(line[1:]), rest


def sent(dialect, *steps, number=0):
    """The commands of each step of one call."""
    call = Call(number)
    return [commands(dialect.encode(0, step, call)) for step in steps]


@pytest.mark.parametrize("kind", DIALECTS)
@given(st.integers(0, 2**48))
def test_every_request_is_whole_commands(kind, number):
    requests = sent(kind(), *CALL, Step.TOUCH, number=number)
    key = requests[0][0][1 if kind is PlainCommands else 3]
    assert re.fullmatch(r"s:[0-9a-f-]{36}", key)
    assert all(key in command or key[2:] in command for request in requests for command in request)


def test_a_script_is_told_all_that_is_the_calls_own():
    [[command]] = sent(LuaScripts(), Step.CREATE, number=21)
    (keys, session_key, state, gateway), (session_id, timeout) = command[2:6], command[6:8]
    assert (keys, session_key) == ("3", f"s:{session_id}")
    assert (state, gateway, timeout) == ("ix:state:initializing", "ix:gateway:gw-01", "3600")


@pytest.mark.parametrize("kind", DIALECTS)
def test_a_session_has_ten_fields_and_four_of_metadata(kind):
    [[command, *_]] = sent(kind(), Step.CREATE, number=21)
    words = command[command.index("type") :]
    stored = dict(zip(words[::2], words[1::2], strict=True))
    call = Call(21).fields()
    metadata = {name.removeprefix("m:"): stored.pop(name) for name in list(stored) if name.startswith("m:")}
    assert metadata == call["metadata"]
    assert len(stored) == 10
    shared = ("type", "gateway", "external_id", "caller", "callee", "direction")
    assert {name: stored[name] for name in shared} == {name: call[name] for name in shared}


@pytest.mark.parametrize(
    ("steps", "moves"),
    [
        (CALL, ["initializing ringing", "ringing active"]),
        (RESIDENT, ["initializing active"]),
    ],
)
def test_plain_commands_move_a_session_out_of_the_set_that_it_is_in(steps, moves):
    words = [command for request in sent(PlainCommands(), *steps) for command in request if command[0] == "SMOVE"]
    assert [f"{old} {new}".replace("ix:state:", "") for _, old, new, _ in words] == moves


def test_no_two_sessions_have_one_id():
    dialects = [LuaScripts(), LuaScripts(), PlainCommands()]
    calls = [Call(0) for _ in dialects]
    for dialect, call in zip(dialects, calls, strict=True):
        dialect.encode(0, Step.CREATE, call)
    assert len({call.session_id for call in calls}) == 3


# Replies

FOUND = b"*4\r\n$5\r\nstate\r\n$6\r\nactive\r\n$7\r\nversion\r\n$1\r\n3\r\n"


def pieces(data, cuts):
    ends = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[begin:end] for begin, end in itertools.pairwise([0, *ends, len(data)])]


@given(st.lists(st.integers(0, 200), max_size=8))
def test_replies_are_understood_however_they_arrive(cuts):
    dialect = PlainCommands()
    for slot, step in enumerate((Step.CREATE, Step.GET, Step.METADATA)):
        dialect.encode(slot, step, Call(slot, b"x"))
    data = b":14\r\n:1\r\n:1\r\n:1\r\n" + FOUND + b":0\r\n:3\r\n:1\r\n"
    answers = [answer for piece in pieces(data, cuts) for answer in dialect.decode(piece)]
    assert answers == [(0, None), (1, None), (2, None)]


def test_an_error_of_one_command_is_that_of_its_request():
    dialect = PlainCommands()
    for slot in range(2):
        dialect.encode(slot, Step.METADATA, Call(slot, b"x"))
    replies = b":0\r\n-WRONGTYPE of what it is\r\n:1\r\n" + b":0\r\n:3\r\n:1\r\n"
    assert list(dialect.decode(replies)) == [(0, "WRONGTYPE"), (1, None)]


def test_a_session_that_is_not_there_is_not_found():
    dialect = LuaScripts()
    dialect.encode(7, Step.GET, Call(0, b"x"))
    assert list(dialect.decode(b"*0\r\n")) == [(7, "not_found")]


def test_what_is_no_reply_is_unreadable():
    dialect = LuaScripts()
    dialect.encode(0, Step.GET, Call(0, b"x"))
    with pytest.raises(UnreadableError, match="HTTP"):
        list(dialect.decode(b"HTTP/1.1 400 Bad Request\r\n"))
