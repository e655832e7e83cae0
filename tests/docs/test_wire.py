"""docs/wire.md says what the service does: its tables are compared with the code, its examples with real answers."""

from __future__ import annotations

import json
import re
from typing import get_args

import msgpack
import msgspec
import pytest
from likeness import play
from msgspec import inspect
from pages import blocks, code, page, section, table

from sessiond.actors import params, tally
from sessiond.actors.counting import MAX_GROUPS
from sessiond.actors.deadlines import Timeouts
from sessiond.actors.directory import MAX_ADDRESSED
from sessiond.actors.ender import MOST
from sessiond.actors.errors import BY_CODE
from sessiond.actors.events import DROP_REASONS
from sessiond.actors.gateway import MAX_INCARNATIONS
from sessiond.actors.herald import MAX_WATCHES
from sessiond.actors.missing import MAX_MISSING
from sessiond.actors.record import Session
from sessiond.actors.registration import EVENTS, JOINED, Policy
from sessiond.actors.results import Gateway
from sessiond.actors.settings import GatewaySettings, Settings, WatchSettings
from sessiond.actors.states import CHANGE, STATES, TRANSITIONS
from sessiond.actors.sync import MAX_OWN, MAX_STRANGERS, SYNC_SECONDS
from sessiond.transport import codec
from sessiond.transport.methods import METHODS
from sessiond.transport.settings import Limits
from sessiond.transport.watch_methods import MAX_WATCHES_PER_CONNECTION, NOTIFICATIONS

WIRE = page("docs/wire.md")


# Examples


@pytest.fixture
def configuration():
    (limits,) = blocks(WIRE, "toml")
    return limits


def annotated(block):
    """The values of a hex dump: the bytes of each and what the dump says that they are."""
    dumped = b""
    for line in block.splitlines():
        digits, said = re.fullmatch(r" *((?:[0-9a-f]{2}(?: |$))*) *(.*)", line).groups()
        dumped += bytes.fromhex(digits)
        if said:
            yield dumped, said
            dumped = b""
    assert not dumped


def encoded(said):
    """What the words of a hex dump say, in MessagePack."""
    packer = msgpack.Packer()
    if header := re.match(r"(array|map) of (\d+)", said):
        kind, size = header.groups()
        return (packer.pack_array_header if kind == "array" else packer.pack_map_header)(int(size))
    return packer.pack(json.loads(re.sub(r"\Anil\b", "null", said).partition(",")[0]))


@pytest.mark.parametrize("block", blocks(WIRE, "hex"))
def test_the_hex_dump_is_what_it_says(block):
    for dumped, said in annotated(block):
        assert dumped == encoded(said), said


def test_the_request_of_the_hex_dump_gets_its_answer(service, connection):
    request, answer = (b"".join(dumped for dumped, _ in annotated(block)) for block in blocks(WIRE, "hex"))
    answered = service.ask(connection, request)
    id, said = (msgpack.unpackb(each)[3]["id"].encode() for each in (answered, answer))
    assert answered == answer.replace(said, id)


def test_every_example_is_answered_as_it_says(service, connection):
    assert play(WIRE, connection) == set(METHODS)


# Methods and what they take


def test_the_table_of_methods_has_them_all():
    rows = table(section(WIRE, "## Methods"), "method")
    assert [code(name)[0] for name, *_ in rows] == list(METHODS)
    for name, arguments, _ in rows:
        names = [each.rstrip("?") for each in re.findall(r"[a-z]+\??", code(arguments)[0])]
        assert names == list(kind(code(name)[0]).__struct_fields__)


def kind(method):
    """The type of a method's parameters."""
    return METHODS[method].decode.__self__.type


def parameters(method):
    """The names of a method's parameters: ``id`` and ``options.at``."""
    for field in inspect.type_info(kind(method)).fields:
        types = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        inner = [each.fields for each in types if isinstance(each, inspect.StructType)]
        if inner and field.name != "id":
            yield from (f"{field.name}.{each.encode_name}" for each in inner[0])
        else:
            yield field.name


def names(text, first):
    return {code(row[0])[0] for row in table(text, first)}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_takes_what_its_table_says(method):
    text = section(WIRE, f"### `{method}`")
    said = set() if "No parameters." in text else names(text, "parameter")
    if "[filters](#filters)" in text:
        said |= names(section(WIRE, "### Filters"), "filter")
    assert said == set(parameters(method)), method


def test_registrations_and_syncs_have_the_limits_and_outcomes_of_their_tables():
    gateways = section(WIRE, "## Gateways")
    assert f"({GatewaySettings().grace:.0f} s, configured)" in gateways
    assert f"at most {params.MAX_NAMED} of each in a part" in gateways
    assert f"`missing` from its list, {MAX_MISSING} on a page" in gateways
    assert f"more than {SYNC_SECONDS:.0f} s after the one" in re.sub(r"\s+", " ", gateways)
    policies = {code(row[0])[0] for row in table(section(WIRE, "### Registration, lease and epoch"), "policy")}
    assert policies == set(get_args(Policy))
    outcomes = {code(row[0])[0] for row in table(section(WIRE, "### `register_gateway`"), "`outcome`")}
    assert outcomes == {JOINED, *EVENTS} - {"refused", "lost", "forgotten"}


def test_a_gateway_has_the_keys_of_its_table():
    rows = table(section(WIRE, "### `list_gateways`"), "key")
    assert [name for row in rows for name in code(row[0])] == list(Gateway.__struct_fields__)


def test_a_count_is_grouped_by_what_its_table_says():
    ((_, _, said),) = table(section(WIRE, "### `count_sessions`"), "parameter")
    assert tuple(code(said)) == params.GroupField.__args__


# Watching


def test_the_notifications_are_those_of_the_table():
    rows = table(section(WIRE, "## Watching"), "notification")
    said = {code(name)[0]: re.findall(r"[a-z]+", code(params)[0]) for name, params, _ in rows}
    assert said == {name: list(kind.__struct_fields__) for kind, name in NOTIFICATIONS.items()}


def test_how_much_is_kept_for_watchers_and_for_how_long():
    kept = WatchSettings()
    coming_back = section(WIRE, "### Coming back")
    assert f"keeps {kept.history:,} changes (configurable), and for {kept.keep:g} s" in coming_back
    reading = section(WIRE, "### Reading in time").replace("\n", " ")
    assert f"When {kept.backlog:,} changes wait, or you have read nothing for {kept.patience:g} s" in reading
    assert all(f"`{reason}`" in reading for reason in DROP_REASONS)


# The session


def test_a_session_has_the_fields_of_the_table():
    assert [code(row[0])[0] for row in table(section(WIRE, "## The session"), "field")] == list(
        Session.__struct_fields__
    )


def test_the_states_and_their_ways():
    rows = table(section(WIRE, "### States"), "from")
    said = {code(state)[0]: set(code(ways)) for state, ways in rows}
    assert said == {state: {wanted for wanted in STATES if TRANSITIONS[state][wanted] is CHANGE} for state in STATES}


def test_the_reasons_of_an_end():
    rows = table(section(WIRE, "### The end"), "`end_reason`")
    assert {name for row in rows if row[1] == "gateway" for name in code(row[0])} == set(tally.GATEWAY_REASONS)
    assert {name for row in rows if row[1] == "service only" for name in code(row[0])} == params.SERVICE_REASONS


@pytest.mark.parametrize(("name", "first"), [("docs/wire.md", "timeout"), ("README.md", "timeout")])
def test_the_timeouts_are_the_defaults(name, first):
    said = {code(row[0])[0]: float(row[1].removesuffix(" s").replace(",", "")) for row in table(page(name), first)}
    assert said == msgspec.structs.asdict(Settings().timeouts)
    assert list(said) == list(Timeouts.__struct_fields__)


# Errors and limits


def test_the_codes_are_those_of_the_table():
    said = {code(row[0])[0]: row[1] for row in table(section(WIRE, "## Errors"), "code")}
    assert said == {name: str(int(error.caller_at_fault)) for name, error in BY_CODE.items()}
    assert f"at most {MAX_ADDRESSED}" in section(WIRE, "## Errors")


def test_the_limits_are_those_of_the_tables():
    _, *tables = re.split(r"^\| limit .*$", section(WIRE, "## Limits"), flags=re.MULTILINE)
    inside, frame, client = map(numbers, tables)
    short = next(meta.max_length for meta in params.ShortName.__metadata__)
    assert inside == {
        "string": [params.MAX_STRING_BYTES],
        "`type`, `reason`": [short],
        "metadata of a session": [params.MAX_METADATA_KEYS, params.MAX_METADATA_BYTES],
        "page": [params.MAX_PAGE],
        "groups of a count": [MAX_GROUPS],
        "live sessions": [Settings().max_sessions],
        "gateways": [GatewaySettings().max_gateways, MAX_INCARNATIONS],
        "syncs under way": [MAX_OWN, MAX_STRANGERS, SYNC_SECONDS],
        "bulk ends under way": [MOST],
        "watches of a connection": [MAX_WATCHES_PER_CONNECTION],
        "watches in all": [MAX_WATCHES],
    }
    limits = Limits()
    assert frame == {
        "frame": [codec.MAX_FRAME],
        "nesting": [codec.MAX_DEPTH],
        "array": [codec.MAX_ARRAY],
        "map": [codec.MAX_MAP],
        "time from the first byte of a frame to its last": [limits.frame_timeout],
    }
    assert client == {
        "connections": [limits.max_connections],
        "requests of a connection whose answers are pending": [limits.max_in_flight],
        "unread answers of a connection": [limits.write_buffer >> 20],
        "time that takes": [limits.write_timeout],
    }


def numbers(part):
    """The numbers in the second cell of each row, where there are some, by the first cell."""
    rows = (line.split("|")[1:3] for line in part.splitlines() if line.startswith("| "))
    found = {name.strip(): re.findall(r"(?<![\w-])\d[\d,]*", said) for name, said in rows}
    return {name: [int(each.replace(",", "")) for each in said] for name, said in found.items() if said}
