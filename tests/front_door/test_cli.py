"""What the commands say of themselves."""

from __future__ import annotations

import os
import re

import pytest

from sessiond import __version__
from sessiond.cli import main
from sessiond.options import OPTIONS

COMMANDS = ("serve", "config", "call", "bench", "records", "backup", "check")


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """Configure nothing by the environment of the tests."""
    for name in [name for name in os.environ if name.startswith("SESSIOND_")]:
        monkeypatch.delenv(name)


def printed(capsys, *arguments):
    """What a command that only prints says."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_it_tells_its_version(capsys):
    assert printed(capsys, "--version") == f"sessiond {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [(), *((name,) for name in COMMANDS), ("records", "list"), ("records", "export")],
    ids=" ".join,
)
def test_the_help_of_every_command_has_examples(command, capsys):
    assert "\n  sessiond " in printed(capsys, *command, "--help")


def test_the_first_help_has_an_example_of_every_command(capsys):
    listed, _, examples = printed(capsys, "--help").partition("examples:")
    assert re.findall(r"^ {4}(\w+) ", listed, re.MULTILINE) == list(COMMANDS)
    assert {*re.findall(r"^ {2}sessiond (\w+)", examples, re.MULTILINE)} == {*COMMANDS}


def test_the_help_of_serve_tells_every_option_and_its_default(capsys):
    text = " ".join(printed(capsys, "serve", "--help").split())
    for option in OPTIONS:
        assert option.flag in text
        assert option.description in text.replace("- ", "-")
    assert "(default: 7200)" in text


@pytest.mark.parametrize("arguments", [(), ("dance",), ("serve", "--listenn", "x"), ("serve", "--lis", "x"), ("call",)])
def test_a_wrong_command_line_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "records list", "check"])
def test_an_unknown_option_of_a_command_shows_the_usage_of_that_command(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--bogus"])
    assert caught.value.code == 2
    assert re.fullmatch(
        rf"usage: sessiond {command} \[OPTION\.\.\.\].*\nsessiond {command}: error: unrecognized arguments: --bogus\n",
        capsys.readouterr().err,
    )


def test_a_call_without_a_method_asks_for_that_alone(capsys):
    with pytest.raises(SystemExit):
        main(["call"])
    assert capsys.readouterr().err.endswith("the following arguments are required: METHOD\n")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_is_a_time(text, capsys):
    with pytest.raises(SystemExit):
        main(["call", "--timeout", text, "ping"])
    assert f"must be seconds above 0, not '{text}'" in capsys.readouterr().err


def test_config_prints_what_holds(monkeypatch, capsys):
    monkeypatch.setenv("SESSIOND_LIMITS_MAX_CONNECTIONS", "7")
    assert main(["config", "--no-allow-unauthenticated", "--sessions-types", "fax,msrp"]) == 0
    out = capsys.readouterr().out
    assert "max_connections = 7\n" in out
    assert "(SESSIOND_LIMITS_MAX_CONNECTIONS in the environment)\n" in out
    assert 'types = ["fax", "msrp"]\n' in out


def test_the_file_can_be_named_in_the_environment(monkeypatch, capsys, tmp_path):
    (tmp_path / "sessiond.toml").write_text("log_level = 'debug'\n")
    monkeypatch.setenv("SESSIOND_CONFIG", str(tmp_path / "sessiond.toml"))
    assert main(["config"]) == 0
    assert 'log_level = "debug"\n' in capsys.readouterr().out


def test_a_wrong_configuration_is_one_line_and_exit_code_2(capsys):
    assert main(["serve", "--listen", "7600\n"]) == 2
    assert capsys.readouterr().err == "sessiond: --listen: listen must be HOST:PORT, not '7600\\n'\n"
