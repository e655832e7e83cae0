"""Limits and sinks come from tables of the file, and what is wrong in one is named: file, table, field."""

from __future__ import annotations

import tomllib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond import Config, Limit
from sessiond.records.settings import FileSink, WebhookSink
from sessiond.sources import ConfigError, as_toml, gather, load
from sessiond.tables import LIMITS

TRUNK = 'name = "t"\nby = "metadata.trunk"\n'


@pytest.fixture
def write(tmp_path):
    """Write a configuration file; its path."""

    def write(text):
        path = tmp_path / "sessiond.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_limits_are_read_in_their_order(write):
    path = write(
        'listen = "127.0.0.1:0"\n'
        f'[[limit]]\n{TRUNK}value = "t-3"\nconcurrent = 100\nper_second = 10\n'
        '[sessions]\nidle_timeout = 60\n[[limit]]\nname = "callers"\nby = "caller"\nconcurrent = 0\n'
    )
    config = load(path, {}, {})
    assert config.limit == (
        Limit(name="t", by="metadata.trunk", value="t-3", concurrent=100, per_second=10.0),
        Limit(name="callers", by="caller", concurrent=0),
    )
    assert config.sessions.idle_timeout == 60
    assert gather(path, {}, {})["limit"].source == str(path)


def test_without_tables_there_are_no_limits(write):
    assert load(write(""), {}, {}).limit == load(None, {}, {}).limit == ()


@pytest.mark.parametrize("value", [True, 7, 7.5, "x"])
def test_a_value_of_metadata_keeps_its_kind(value, write):
    path = write(f"[[limit]]\n{TRUNK}concurrent = 1\nvalue = {str(value).lower() if value != 'x' else repr(value)}\n")
    (limit,) = load(path, {}, {}).limit
    assert type(limit.value) is type(value)
    assert limit.value == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("limit = 5", "limit must be tables, each headed [[limit]]"),
        ("limit = [5]", "limit must be tables, each headed [[limit]]"),
        ("[limit]\nname = 'x'", "limit must be tables, each headed [[limit]]"),
        ("[[limit]]\nby = 'caller'", "[[limit]] 1: name is missing"),
        (f"[[limit]]\n{TRUNK}concurrent = 1\n[[limit]]\nname = 'x'", "[[limit]] 2 (x): by is missing"),
        (f"[[limit]]\n{TRUNK}most = 1", "[[limit]] 1 (t): unknown option most"),
        (f"[[limit]]\n{TRUNK}", "[[limit]] 1 (t): concurrent or per_second is missing"),
        ("[[limit]]\nname = 5", "[[limit]] 1: by is missing"),
        ("[[limit]]\nname = 5\nby = 'caller'", "[[limit]] 1: name must be a string of 1 to 64 characters, not 5"),
        (
            f"[[limit]]\n{TRUNK}concurrent = -1",
            "[[limit]] 1 (t): concurrent must be a whole number from 0 to 10,000,000, not -1",
        ),
        (
            f"[[limit]]\n{TRUNK}per_second = 0",
            "[[limit]] 1 (t): per_second must be a number above 0 to 100,000, not 0",
        ),
        (
            f"[[limit]]\n{TRUNK}concurrent = 1\nvalue = []",
            "[[limit]] 1 (t): value must be a string, or where it is of metadata also a number, true or false, not []",
        ),
        (
            "[[limit]]\nname = 'x'\nby = 'caller'\nvalue = 5\nconcurrent = 1",
            "[[limit]] 1 (x): value must be a string, since caller is, not 5",
        ),
        (f"[[limit]]\n{TRUNK}concurrent = 1\n" * 2, "limit t: there are several of that name"),
    ],
)
def test_a_mistake_in_a_table_is_named(text, complaint, write):
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load(path, {}, {})
    assert str(caught.value) == f"{path}: {complaint}"


@pytest.mark.parametrize(
    ("name", "low", "high", "beyond"),
    [("concurrent", 0, 10_000_000, [-1, 10_000_001]), ("per_second", 1e-9, 100_000, [0, -1, 100_001])],
)
def test_what_an_error_says_to_be_allowed_is(name, low, high, beyond):
    """It is written down beside the type, not made of it."""
    (option,) = (each for each in LIMITS.options(Limit) if each.name == name)
    assert option.expected.endswith(f"{high:,.0f}")
    for value in (low, high):
        assert msgspec.convert(value, option.type) == value
    for value in beyond:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value, option.type)


def test_limits_do_not_come_from_the_environment():
    with pytest.raises(ConfigError, match=r"^SESSIOND_LIMIT in the environment: there is no such option"):
        load(None, {"SESSIOND_LIMIT": "x"}, {})


def test_a_program_that_embeds_is_told_of_two_limits_of_one_name():
    limit = Limit(name="x", by="caller", concurrent=1)
    with pytest.raises(ValueError, match="limit x: there are several of that name"):
        Config(limit=(limit, limit))


names = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=64)
limits = st.builds(
    Limit,
    name=names,
    by=names.map(lambda key: f"metadata.{key}"),
    value=names | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    concurrent=st.integers(0, 10_000_000),
    per_second=st.none() | st.floats(0, 100_000, exclude_min=True),
)


@given(st.lists(limits, max_size=3, unique_by=lambda limit: limit.name))
def test_what_is_printed_configures_the_same(tmp_path_factory, some):
    """The effective configuration is a file that can be loaded."""
    path = tmp_path_factory.mktemp("printed") / "sessiond.toml"
    found = gather(None, {}, {}) | {"limit": ((*some,), "x.toml")}
    path.write_text(as_toml(found), encoding="utf-8")
    assert load(path, {}, {}).limit == tuple(some)


@pytest.mark.parametrize("name", ["limit", "sink"])
def test_without_tables_an_example_is_printed_that_could_be_one(name, write):
    """It needs only to be uncommented."""
    text = as_toml(gather(None, {}, {}))
    assert name not in tomllib.loads(text)
    head, rest = text.split(f"# [[{name}]]\n")
    example = [line.removeprefix("# ") for line in rest.split("\n\n")[0].splitlines()]
    head = head.replace('kind = "memory"', 'kind = "sqlite"')
    (table,) = getattr(load(write("\n".join((f"{head}[[{name}]]", *example))), {}, {}), name)
    assert table.name in {"trunk-3-calls", "billing"}


FILE = 'name = "f"\nkind = "file"\npath = "/tmp/f.jsonl"\n'
HOOK = 'name = "h"\nkind = "webhook"\nurl = "https://cdr.example/in"\ndead_letters = "/tmp/h.jsonl"\n'
STORE = '[store]\nkind = "sqlite"\n'


def test_sinks_are_read_in_their_order(write):
    more = 'secret = "env:HOOK"\nbatch = 7\n[sink.headers]\nX-A = "b"\n'
    config = load(write(f"{STORE}[[sink]]\n{HOOK}{more}[[sink]]\n{FILE}rotate_bytes = 5\n"), {}, {})
    assert config.sink == (
        WebhookSink(
            name="h",
            url="https://cdr.example/in",
            dead_letters="/tmp/h.jsonl",
            secret="env:HOOK",
            batch=7,
            headers={"X-A": "b"},
        ),
        FileSink(name="f", path="/tmp/f.jsonl", rotate_bytes=5),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[sink]]\nname = "x"', "[[sink]] 1 (x): kind is missing"),
        ('[[sink]]\nname = "x"\nkind = "kafka"', "[[sink]] 1 (x): kind must be one of file, webhook, not 'kafka'"),
        ('[[sink]]\nname = "x"\nkind = ["file"]', "[[sink]] 1 (x): kind must be one of file, webhook, not ['file']"),
        ('[[sink]]\nname = "x"\nkind = "file"', "[[sink]] 1 (x): path is missing"),
        (f"[[sink]]\n{FILE}batch = 5", "[[sink]] 1 (f): unknown option batch"),
        (
            f"[[sink]]\n{FILE.replace('/tmp/f.jsonl', '/tmp/')}",
            "[[sink]] 1 (f): path must be the path of a file, not '/tmp/'",
        ),
        (
            '[[sink]]\nname = "X"\nkind = "file"\npath = "x"',
            "[[sink]] 1 (X): name must be up to 63 of a-z, 0-9, _ and -, the first a letter or a digit, not 'X'",
        ),
        (
            f"[[sink]]\n{HOOK.replace('https://', 'https://me:pw@')}",
            "[[sink]] 1 (h): url must be http://HOST[:PORT]/PATH or https://..., without user and password",
        ),
        (
            f"[[sink]]\n{HOOK}secret = 's3cret'",
            "[[sink]] 1 (h): secret must be env:VARIABLE or file:PATH",
        ),
        (f"[[sink]]\n{HOOK}timeout = 0", "[[sink]] 1 (h): timeout must be seconds above 0 to 60, not 0"),
        (f"[[sink]]\n{FILE}" * 2, "sink f: there are several of that name"),
    ],
)
def test_a_mistake_in_a_sink_is_named(text, complaint, write):
    path = write(STORE + text)
    with pytest.raises(ConfigError) as caught:
        load(path, {}, {})
    assert str(caught.value) == f"{path}: {complaint}"


def test_sinks_need_a_store(write):
    with pytest.raises(ConfigError, match=r'^sink f: there are no records without a store; set kind = "sqlite"'):
        load(write(f"[[sink]]\n{FILE}"), {}, {})


def test_two_sinks_do_not_write_to_one_file(write):
    with pytest.raises(ConfigError, match=r"^sink f: another one writes to /tmp/f.jsonl too"):
        load(write(f"{STORE}[[sink]]\n{FILE}[[sink]]\n{HOOK.replace('/tmp/h', '/tmp/f')}"), {}, {})


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
names_of_sinks = words.map(str.lower)
sinks = st.builds(FileSink, name=names_of_sinks, path=words, rotate_bytes=st.integers(0, 1 << 40)) | st.builds(
    WebhookSink,
    name=names_of_sinks,
    url=words.map("http://{}/".format),
    dead_letters=words,
    secret=st.none() | words.map("env:{}".format),
    headers=st.dictionaries(words, st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)), max_size=3),
)


@given(
    st.lists(
        sinks,
        max_size=3,
        unique_by=(lambda sink: sink.name, lambda sink: getattr(sink, "path", None) or sink.dead_letters),
    )
)
def test_the_sinks_that_are_printed_are_the_same(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("printed") / "sessiond.toml"
    found = gather(None, {"SESSIOND_STORE_KIND": "sqlite"}, {}) | {"sink": ((*some,), "x.toml")}
    path.write_text(as_toml(found), encoding="utf-8")
    assert load(path, {}, {}).sink == tuple(some)
