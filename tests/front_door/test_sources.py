"""The configuration comes from a file, the environment and flags, and whatever is wrong in them is named."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.config import Config
from sessiond.options import BY_KEY, OPTIONS
from sessiond.sources import ConfigError, as_toml, gather, load

EXAMPLES = {
    bool: [("true", True), ("false", False)],
    int: [("2000", 2000), ("3000", 3000), ("4000", 4000)],
    float: [("1.5", 1.5), ("60", 60.0), ("7e2", 700.0)],
    tuple: [("a", ("a",)), ("a,b", ("a", "b")), (" c , d,", ("c", "d"))],
    str: [("[::1]:0", "[::1]:0"), ("gw-1.example:65535", "gw-1.example:65535"), ("127.0.0.1:7", "127.0.0.1:7")],
}
WORDS = {
    "log_level": ["debug", "warning", "error"],
    "log_format": ["json", "text", "auto"],
    "policy": ["refuse", "take_over", "share"],
    "kind": ["sqlite", "memory", "sqlite"],
    "durability": ["relaxed", "commit", "relaxed"],
}


SMALL = {"commands.timeout", "commands.attempts", "store.interval"}
"""Options whose values cannot be large."""


def examples(option):
    """Values of an option, each as text and as itself."""
    if option.key in SMALL:
        return [("5", 5), ("7", 7)]
    if option.name in WORDS:
        return [(word, word) for word in WORDS[option.name]]
    return EXAMPLES[type(option.default)]


def value(config, option):
    return getattr(config if option.section is None else getattr(config, option.section), option.name)


@pytest.fixture
def write(tmp_path):
    """Write a configuration file; its path."""

    def write(text):
        path = tmp_path / "sessiond.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_without_sources_everything_is_the_default():
    assert load(None, {}, {}) == Config()


def test_every_field_of_the_configuration_is_an_option():
    sections, tables = {"sessions", "gateways", "watch", "limits", "commands", "store", "records"}, {"limit", "sink"}
    fields = set(Config.__struct_fields__) - sections - tables
    for section in sections:
        fields |= {f"{section}.{name}" for name in getattr(Config(), section).__struct_fields__}
    assert set(BY_KEY) == fields


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.key)
def test_an_option_goes_by_three_names(option, write):
    """Flags override the environment, which overrides the file, and each takes effect alone."""
    (in_file, environment, flag) = (examples(option) * 2)[:3]
    table = "" if option.section is None else f"[{option.section}]\n"
    literal = in_file[0] if isinstance(option.default, bool | int | float) else repr(in_file[1]).replace("'", '"')
    literal = f"[{literal.strip('(),')}]" if isinstance(option.default, tuple) else literal
    path = write(f"{table}{option.name} = {literal}\n")
    environ, flags = {option.variable: environment[0]}, {option.key: flag[0]}
    assert value(load(path, {}, {}), option) == in_file[1]
    assert value(load(path, environ, {}), option) == environment[1]
    assert value(load(path, environ, flags), option) == flag[1]
    assert value(load(None, {}, flags), option) == flag[1]


@given(st.dictionaries(st.sampled_from(OPTIONS), st.integers(0, 1), max_size=6))
def test_what_is_not_given_stays_as_it_is(choices):
    """Any options may be given together; the others keep their defaults."""
    given_ = {option.variable: examples(option)[number][0] for option, number in choices.items()}
    config = load(None, given_, {})
    for option in OPTIONS:
        expected = examples(option)[choices[option]][1] if option in choices else option.default
        assert value(config, option) == expected


def test_the_names_of_an_option():
    option = BY_KEY["sessions.idle_timeout"]
    assert (option.variable, option.flag) == ("SESSIOND_SESSIONS_IDLE_TIMEOUT", "--sessions-idle-timeout")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lissten = 1", "unknown option lissten"),
        ("[sessions]\nidle = 1", "unknown option sessions.idle"),
        ("[session]\nidle_timeout = 1", "unknown option session"),
        ("sessions = 1", "unknown option sessions"),
        ("[sessions]\nidle_timeout = -1", "sessions.idle_timeout must be seconds from 0 to 1,000,000,000, not -1"),
        ("[sessions]\nidle_timeout = nan", "sessions.idle_timeout must be seconds from 0 to 1,000,000,000, not nan"),
        ("[sessions]\nidle_timeout = '60'", "sessions.idle_timeout must be seconds from 0 to 1,000,000,000, not '60'"),
        ("[sessions]\ntypes = 'fax'", "sessions.types must be a list of names, not 'fax'"),
        ("[limits]\nwrite_timeout = 0", "limits.write_timeout must be seconds above 0 to 3,600, not 0"),
        ("[limits]\nmax_in_flight = 1.5", "limits.max_in_flight must be a whole number from 1 to 65,536, not 1.5"),
        ("allow_unauthenticated = 'yes'", "allow_unauthenticated must be true or false, not 'yes'"),
        ("log_level = 'loud'", "log_level must be one of debug, error, info, warning, not 'loud'"),
        ("listen = 7600", "listen must be HOST:PORT, not 7600"),
    ],
)
def test_a_mistake_in_the_file_is_named(text, complaint, write):
    """The file's path comes first, so that it is clear which one."""
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load(path, {}, {})
    assert str(caught.value) == f"{path}: {complaint}"


def test_a_mistake_that_is_overridden_is_still_one(write):
    """Else it would come up on the day when the override goes."""
    with pytest.raises(ConfigError):
        load(write("log_level = 'loud'"), {}, {"log_level": "info"})


def test_a_file_that_is_not_toml_is_refused(write):
    with pytest.raises(ConfigError, match=r"sessiond.toml: .*line 1"):
        load(write("listen: 127.0.0.1:7600\n"), {}, {})


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes(b"listen = '\xe4'")
    with pytest.raises(ConfigError, match=r"latin.toml"):
        load(path, {}, {})


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml: No such file"):
        load(tmp_path / "none.toml", {}, {})


def test_a_mistake_in_the_environment_is_named():
    with pytest.raises(ConfigError, match=r"^SESSIOND_SESSIONS_IDLE_TIMEOUT in the environment: sessions.idle_timeout"):
        load(None, {"SESSIOND_SESSIONS_IDLE_TIMEOUT": "soon"}, {})


@pytest.mark.parametrize("name", ["SESSIOND_LISTEM", "SESSIOND_IDLE_TIMEOUT", "SESSIOND_LISTEN_PORT", "SESSIOND_"])
def test_an_unknown_variable_is_named(name):
    with pytest.raises(ConfigError, match=rf"^{name} in the environment: there is no such option"):
        load(None, {name: "1"}, {})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SESSIOND_CONFIG", "/etc/sessiond.toml"),
        ("SESSIOND_SERVER", "127.0.0.1:7600"),
        ("SESSIOND_SERVICE_HOST", "10.96.0.1"),
        ("SESSIOND_SERVICE_PORT_METRICS", "9600"),
        ("SESSIOND_PORT", "tcp://10.96.0.1:7600"),
        ("SESSIOND_PORT_7600_TCP", "tcp://10.96.0.1:7600"),
        ("SESSIOND_PORT_7600_TCP_ADDR", "10.96.0.1"),
        ("SESSIOND_METRICS_SERVICE_PORT", "9600"),
        ("PATH", "/bin"),
    ],
)
def test_variables_that_are_no_options_are_left_alone(name, text):
    """Kubernetes puts some into every container beside a Service that is named like this one."""
    assert load(None, {name: text}, {}) == Config()


@pytest.mark.parametrize(
    "text", ["7600", ":7600", "::1:7600", "127.0.0.1", "127.0.0.1:", "h:65536", "h:-1", "a b:1", "h:1\n"]
)
def test_an_address_is_host_and_port(text):
    with pytest.raises(ConfigError, match=r"^--listen: listen must be HOST:PORT"):
        load(None, {}, {"listen": text})


def test_each_value_tells_where_it_came_from(write):
    path = write("log_level = 'debug'\n[limits]\nmax_connections = 7\n")
    found = gather(path, {"SESSIOND_LIMITS_MAX_CONNECTIONS": "8"}, {"listen": "127.0.0.1:0"})
    sources = {key: source for key, (_, source) in found.items() if source != "default"}
    assert sources == {
        "listen": "--listen",
        "log_level": str(path),
        "limits.max_connections": "SESSIOND_LIMITS_MAX_CONNECTIONS in the environment",
    }


def test_what_is_printed_configures_the_same(write):
    """The effective configuration is a file that can be loaded."""
    environ = {"SESSIOND_SESSIONS_TYPES": 'fax,"q\\u00e4"', "SESSIOND_LISTEN": "[::1]:0", "SESSIOND_LOG_LEVEL": "error"}
    text = as_toml(gather(None, environ, {}))
    assert load(write(text), {}, {}) == load(None, environ, {})
    assert set(tomllib.loads(text)) == set(Config.__struct_fields__) - {"limit", "sink"}
