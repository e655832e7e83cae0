"""What each method takes: what the typed decoders accept is exactly what the contract, said in another way, accepts."""

from __future__ import annotations

import math
from types import MappingProxyType, SimpleNamespace
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from manual_clock import ManualClock
from packing import POISONS, Raw, packed
from plain_msgpack import Refused, Unfinished, parse
from shapes import FIELDS, GROUPS, METHODS, RECORD_FIELDS, STATES

from sessiond.actors.clock import TurnClock
from sessiond.actors.results import Watched
from sessiond.actors.shards import SHARD_MASK
from sessiond.transport import methods
from sessiond.transport.codec import NotAFrameError
from sessiond.transport.observed import Observed
from sessiond.transport.responder import Responder
from sessiond.transport.round import Round


class Yes:
    """A registry, and every session, that does everything it is asked to."""

    _ref = None
    mailbox = SimpleNamespace(is_idle=True)
    sessions = (MappingProxyType({}),) * (SHARD_MASK + 1)
    context = SimpleNamespace(journal=None, requester=None)
    herald = SimpleNamespace(watch=lambda *_: Watched(1, 1, "i", False), unwatch=lambda *_: None)

    def find(self, target: object) -> Yes:
        return self

    def server_info(self) -> dict[str, Any]:
        return {"limits": {}}

    def __getattr__(self, operation: str):
        return lambda *_: "done"


def somebody() -> SimpleNamespace:
    """A client that watches already."""
    return SimpleNamespace(watcher=SimpleNamespace(watches=set()))


def never(*_: object) -> None:
    raise AssertionError("nothing crashes or is pending here")


def outcome(frame: bytes) -> str:
    """What a server makes of a frame: ``ok``, an error code, or ``closed``."""
    observed = Observed(methods.METHODS)
    this = Round(TurnClock(ManualClock()), lambda _: None, never)
    this.begin()
    responder = Responder(Yes(), observed, this, never, never, somebody)
    try:
        responder.answer_all(iter([frame]))
    except NotAFrameError:
        assert not responder.answers
        return "closed"
    codes = [code for _, code in this.failed] or ["ok" for tally in this.answered for _ in range(tally.answered)]
    assert len(codes) <= 1
    answers = list(map(msgpack.unpackb, responder.answers))
    is_request = parse(frame)[0][0] == 0
    assert [error[2]["code"] if error else "ok" for _, _, error, _ in answers] == (codes if is_request else [])
    return codes[0]


def expected(frame: bytes) -> str:
    """The same, by the contract."""
    try:
        message, end = parse(frame)
    except (Refused, Unfinished):
        return "closed"
    method, params = message[-2:]
    if end < len(frame) or type(params) is not list:
        return "closed"
    if method not in METHODS:
        return "unknown_method"
    return "ok" if METHODS[method](params) else "invalid_request"


VALID: dict[str, list[list[Any]]] = {
    "create_session": [
        [{"type": "x" * 64}],
        [{"type": "sip", "metadata": dict.fromkeys(map(str, range(64)), 2**63 - 1)}],
        [{"type": "sip", "caller": "x" * 4096}],
        [{"type": "sip", "request_id": "é" * 2048, "at": 1, "answered_at": None}],
        [{"type": "sip"} | dict.fromkeys(["setup_timeout", "idle_timeout", "max_duration"], 0)],
    ],
    "get_session_history": [["x"], [{"external_id": "x"}]],
    "get_session": [["x"], [""], [{"external_id": "x"}], [{"gateway": None, "external_id": "x"}]],
    "update_session": [["x", {}], ["x", {"caller": None, "callee": ""}, None], ["x", {}, {"if_version": 2**63 - 1}]],
    "update_session_state": [["x", state] for state in STATES] + [["x", "held", {"at": 0, "if_version": None}]],
    "update_session_metadata": [["x", {}], ["x", {"": None}, {}], ["x", {"k": -(2**63), "l": -1.7e308, "m": True}]],
    "touch_session": [["x"]],
    "end_session": [["x"], ["x", None], ["x", None, None], ["x", "own reason", {"sip_code": 699, "q850_cause": 127}]],
    "list_sessions": [[], [None], [{}], [{"state": ["active", "held"], "caller": None, "fields": list(FIELDS)}]],
    "count_sessions": [[], [None], [{}], [{"by": None, "ended": True, "metadata": {"a": None}}]],
    "list_records": [
        [],
        [None],
        [{}],
        [{"gateway": None, "end_reason": ["busy", ""], "ended_by": "admin", "fields": list(RECORD_FIELDS)}],
        [{"ended_by": ["admin"] * 16, "end_reason": "busy", "ended_after": None, "ended_before": 1e11}],
    ],
    "get_record": [["x"], [{"external_id": "x", "gateway": None}]],
    "explain_limit": [["x"], ["", None], ["x", {}], ["x", {"value": True, "limit": 500, "cursor": None}]],
    "watch": [[], [None], [{}], [{"from": 0, "instance": "", "snapshot": False, "ended": "any"}], [{"from": None}]],
    "unwatch": [[0], [2**63 - 1]],
    "terminate_session": [
        ["x"],
        ["x", None, {"timeout": 60, "wait": 0}],
        ["x", {"reason": "x"}, {"timeout": 0.1}],
    ],
    "modify_session": [["x", {}], ["x", {"hold": True, "codec": None}, {"wait": 3600.0, "timeout": None}]],
    "warn_session": [["x", "One minute left"], [{"external_id": "x"}, "x" * 4096, None]],
    "request_sync": [["gw"], ["gw", {}]],
    "end_sessions": [[], [None], [{"gateway": "gw", "dry_run": False, "most": 0, "limit": 256, "cursor": None}]],
    "register_gateway": [
        ["gw"],
        ["gw", None],
        ["x" * 4096, {"epoch": "x" * 64, "capabilities": ["commands"] * 16, "lease": 3600, "metadata": {"a": 1}}],
        ["gw", {"epoch": None, "capabilities": [], "lease": 1, "metadata": None}],
    ],
    "heartbeat_gateway": [["gw"], ["gw", {"epoch": "e"}], ["gw", {"epoch": None}]],
    "list_gateways": [[], [None], [{"name": "gw"}], [{"name": None, "limit": 500, "cursor": ""}]],
    "sync_sessions": [
        ["gw"],
        ["gw", {"ids": ["x"] * 256, "external_ids": [], "final": True}],
        ["gw", {"ids": None, "external_ids": ["é" * 2048], "sync": "s", "cursor": "1", "final": False}],
    ],
    "ping": [[]],
    "server_info": [[]],
}
"""Parameters that are right, at the limits of what is."""


TEXTS = st.sampled_from(
    ["", "sip", "x" * 64, "x" * 65, "Zoë \N{TELEPHONE RECEIVER}", "é" * 64, "\0", *STATES]
) | st.text(max_size=5)
NUMBERS = st.sampled_from(
    [
        0, 1, -1, 99, 100, 127, 128, 500, 501, 699, 700, 10**9, 10**9 + 1, 10**11, 10**11 + 1,
        2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.0, -0.0, -0.5, 1e9, 1.5e9, 1e11, 1.1e11, 1e308,
        math.nan, math.inf, -math.inf,
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | TEXTS | NUMBERS
WORDS = st.sampled_from(
    [
        *STATES, *GROUPS, "inbound", "outbound", "asc", "desc", "any", "caller", "callee", "gateway", "service",
        "admin", "normal", "busy", "crashed", "idle_timeout", "gateway_lost",
    ]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        *FIELDS, "setup_timeout", "idle_timeout", "max_duration", "request_id", "at", "if_version", "created_after",
        "created_before", "ended", "order", "limit", "cursor", "fields", "by", "timeout", "wait", "reason", "dry_run",
        "most", "value", "end_reason", "ended_by", "ended_after", "number", "history",
        "capabilities", "lease", "name", "sync", "ids", "external_ids", "final", "no_such_key", "",
    ]
)  # fmt: skip
GOOD = {
    "type": "sip", "state": "held", "direction": "inbound", "at": 1e9, "answered_at": 1, "if_version": 1, "limit": 500,
    "order": "desc", "ended": "any", "by": "end_reason", "fields": ["id"], "ended_by": "callee", "sip_code": 486,
    "q850_cause": 0, "idle_timeout": 0, "max_duration": 1e9, "metadata": {"a": None}, "created_after": 0,
    "ended_after": 0.5, "end_reason": ["busy"],
    "dry_run": False, "most": 5, "timeout": 1.5, "wait": 0, "reason": "x", "value": 1.5,
    "external_id": "call", "gateway": "gw", "parent": "p", "group": "g", "suspect": False,
    "epoch": "e", "capabilities": ["commands"], "lease": 30, "name": "gw", "sync": "s", "ids": ["x"],
    "external_ids": ["é" * 2049], "final": False, "cursor": "1",
}  # fmt: skip
ENTRIES = st.sampled_from(sorted(GOOD.items(), key=repr)) | st.tuples(
    KEYS, SCALARS | WORDS | st.lists(WORDS, max_size=3) | st.dictionaries(TEXTS, SCALARS, max_size=3)
)
ODD = st.sampled_from([b"bytes", [], {}, [[]], {1: 2}, {b"type": "sip"}, {None: None}, *map(Raw, POISONS.values())])
MAPS = st.lists(ENTRIES, max_size=4).map(dict) | st.lists(
    st.sampled_from(sorted(GOOD.items(), key=repr)), max_size=6
).map(dict)
ARGUMENTS = MAPS | TEXTS | WORDS | st.none() | NUMBERS | ODD
TARGETS = TEXTS | st.just({"external_id": "call", "gateway": "gw"}) | st.just({"external_id": "call"}) | ARGUMENTS
ANY = st.tuples(st.sampled_from([*METHODS, "no_such_method"]), st.lists(ARGUMENTS, max_size=4))


@st.composite
def nearly_right(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A method and its parameters, of which one was left out, added or replaced by whatever it may be."""
    method = draw(st.sampled_from(sorted(VALID)))
    params = list(draw(st.sampled_from(VALID[method])))
    place = draw(st.integers(0, len(params)))
    replacement = draw(MAPS | TARGETS | WORDS | ARGUMENTS)
    if place < len(params) and isinstance(params[place], dict) and isinstance(replacement, dict):
        replacement = params[place] | replacement
    params[place : place + 1] = draw(st.sampled_from([[replacement]] * 4 + [[]]))
    return method, params


CALLS = st.one_of(ANY, nearly_right(), nearly_right())


@settings(max_examples=500)
@given(packed(CALLS.map(lambda call: (0, 7, *call)) | CALLS.map(lambda call: (2, *call))))
@example(msgpack.packb([0, 7, "create_session", [{"type": "sip", "metadata": {"a": math.nan}}]]))
@example(msgpack.packb([0, 7, "create_session", [{"type": "sip", "metadata": {"a": 2**63}}]]))
@example(b"\x94\x00\x07\xaecreate_session\x91\x82\xa4type\xa3sip\xa2at\xca\x7f\xc0\x00\x00")
def test_what_is_accepted_is_what_the_contract_accepts(frame):
    assert outcome(frame) == expected(frame)


@pytest.mark.parametrize(("method", "params"), [(method, params) for method in VALID for params in VALID[method]])
def test_the_decoders_and_the_contract_accept_what_is_right(method, params):
    frame = msgpack.packb([0, 7, method, params])
    assert (outcome(frame), expected(frame)) == ("ok", "ok")


def test_every_method_is_here():
    assert set(METHODS) == set(VALID) == set(methods.METHODS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("poison", POISONS)
def test_what_may_be_nowhere_closes_the_connection(method, poison):
    """Whatever the method, and although its decoder would have refused it in words."""
    for kind in (b"\x94\x00\x07", b"\x93\x02"):
        for params in (
            b"\x91%b",
            b"\x92\xa1x%b",
            b"\x91\x81\xa4type%b",
            b"\x91\x81%b\xc0",
            b"\x9f" + b"\xc0" * 14 + b"%b",
        ):
            assert outcome(kind + msgpack.packb(method) + params % POISONS[poison]) == "closed"
