"""The command line: what each command takes, and which code runs it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from sessiond import logs
from sessiond._version import __version__
from sessiond.actors.errors import SessiondError, Unavailable
from sessiond.bench.command import bench
from sessiond.bench.command import exit_code as bench_exit_code
from sessiond.bench.dialect import MAX_PIPELINE
from sessiond.bench.measured import Load
from sessiond.bench.progress import ProgressLine
from sessiond.bench.report import as_json, as_table
from sessiond.call import call, error_line, exit_code
from sessiond.config import Config
from sessiond.flags import (
    Add,
    Parser,
    add_config,
    add_server,
    add_timeout,
    command,
    count,
    rate,
    seconds,
    seconds_or_0,
)
from sessiond.options import BY_KEY, OPTIONS, Option
from sessiond.record_command import add_records
from sessiond.serve import serve
from sessiond.sources import ConfigError, as_toml, gather, load
from sessiond.store_commands import add_store_commands

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130
"""What shells say of a command that was ended by SIGINT."""

EXAMPLES = """\
examples:
  sessiond serve
  sessiond call create_session '{"type": "sip", "caller": "+15550100"}'
  sessiond call list_sessions
  sessiond records export --output calls.csv
  sessiond backup --config sessiond.toml /backup/sessiond.db
  sessiond check /backup/sessiond.db
  sessiond config > sessiond.toml
  sessiond bench --duration 5

sessiond COMMAND --help tells more of each.
"""

SERVE_EXAMPLES = """\
Each option can be given in three ways. Flags override the environment, which overrides the file:
  sessiond serve --sessions-idle-timeout 600
  SESSIOND_SESSIONS_IDLE_TIMEOUT=600 sessiond serve
  sessiond serve --config sessiond.toml        # [sessions] idle_timeout = 600

SIGTERM and SIGINT drain: every request received is answered. A second one ends at once.
Exit codes: 0 drained, 1 failed, 2 wrong configuration.
"""

CONFIG_EXAMPLES = """\
examples:
  sessiond config > sessiond.toml              # a file to start from
  sessiond config --config sessiond.toml       # what holds, and where each value comes from
"""

CALL_EXAMPLES = """\
An ARG that is JSON is sent as what it says, any other as text: '"100"' is text too. null is nil.

examples:
  sessiond call server_info
  sessiond call create_session '{"type": "sip", "gateway": "gw1", "external_id": "a84b4c76e66710"}'
  sessiond call update_session_state '{"gateway": "gw1", "external_id": "a84b4c76e66710"}' active
  sessiond call get_session 01890a5d-ac96-774b-bcce-b302099a8057
  sessiond call count_sessions '{"by": "state"}'
  sessiond call --server calls.example:7600 end_session 01890a5d-ac96-774b-bcce-b302099a8057 busy

An error is a line on standard error: CODE: TEXT (DETAILS).
Exit codes: 0 answered, 1 the request was wrong, 2 wrong command line, 3 the service cannot be reached or is stopping,
or the gateway of a command is gone or refuses, 4 any other fault of the service, timeouts among them.
"""

BENCH_EXAMPLES = """\
Each call is six requests: create_session, update_session_state to ringing and to active, update_session_metadata,
get_session, end_session. What the benchmark creates, it ends.

examples:
  sessiond bench                                            # as fast as 50 connections go, one request at a time
  sessiond bench --connections 1 --pipeline 64              # one connection that does not wait for answers
  sessiond bench --rate 4000 --resident 100000              # 24,000 requests/s, whatever the service does
  sessiond bench --rate 1000 --resident 1000000 --touches 20000 --duration 120
  sessiond bench --json > result.json

With --rate the time of a call begins when it was due, not when a connection was free for it.
Ctrl-C ends the measurement and prints what was measured so far.
Exit codes: 0 measured, 1 requests failed, 2 wrong command line, 3 the service cannot be reached or went away.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments``, by default those of the process, ask for; its exit code."""
    parsed = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = parsed.run
    try:
        code = run(parsed)
        sys.stdout.flush()
    except ConfigError as error:
        print(f"sessiond: {logs.escaped(str(error))}", file=sys.stderr)
        return USAGE_ERROR
    except SessiondError as error:
        print(error_line(error), file=sys.stderr)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output, like head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


# What each command does


def _serve(parsed: argparse.Namespace) -> int:
    config = load(parsed.config, os.environ, _flags(parsed))
    logs.configure(config.log_level, config.log_format)
    return serve(config)


def _config(parsed: argparse.Namespace) -> int:
    print(as_toml(gather(parsed.config, os.environ, _flags(parsed))))
    return 0


def _call(parsed: argparse.Namespace) -> int:
    result = call(parsed.server, parsed.timeout, parsed.method, parsed.arguments)
    print(json.dumps(result, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))
    return 0


def _bench(parsed: argparse.Namespace) -> int:
    load = Load(**{field.name: getattr(parsed, field.name) for field in fields(Load) if field.name in parsed})
    report = bench(parsed.server, load, ProgressLine(sys.stderr), has_ceiling=parsed.ceiling)
    print(json.dumps(as_json(report), indent=2) if parsed.json else as_table(report))
    if report.result.lost is not None:
        print(error_line(Unavailable(report.result.lost)), file=sys.stderr)
    return bench_exit_code(report)


def _flags(parsed: argparse.Namespace) -> dict[str, Any]:
    """The options among the flags, by key."""
    return {key: value for key, value in vars(parsed).items() if key in BY_KEY}


# What each command takes


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sessiond",
        description="The session manager of a voice gateway layer.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sessiond {__version__}")
    add = parser.add_subparsers(metavar="COMMAND", required=True).add_parser
    _add_options(command(add, "serve", _serve, "Serve gateways and Prometheus.", SERVE_EXAMPLES))
    _add_options(command(add, "config", _config, "Print the configuration that holds.", CONFIG_EXAMPLES))
    _add_call(command(add, "call", _call, "Call a method of a service and print its result.", CALL_EXAMPLES))
    _add_bench(command(add, "bench", _bench, "Measure how fast a service is, with whole calls.", BENCH_EXAMPLES))
    add_records(add)
    add_store_commands(add)
    return parser


def _add_call(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", metavar="METHOD", help="as on the wire: ping, create_session, ...")
    parser.add_argument("arguments", metavar="ARG", nargs="*", default=[], help="a parameter of it")
    add_server(parser)
    add_timeout(parser, 5.0)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    for flag, metavar, kind, text in (
        ("--connections", "N", count(1), "connections (default: 50)"),
        ("--pipeline", "N", count(1, MAX_PIPELINE), "requests under way on each connection (default: 1)"),
        ("--rate", "CALLS", rate, "calls to begin per second (default: one when another has ended)"),
        ("--resident", "N", count(0), "sessions that are up all the time (default: 0)"),
        ("--touches", "N", rate, "touches of those per second, beside the calls of a rate"),
        ("--duration", "SECONDS", seconds, "how long to measure (default: 10)"),
        ("--warm-up", "SECONDS", seconds_or_0, "how long to do the same before (default: 1)"),
    ):
        parser.add_argument(flag, metavar=metavar, type=kind, default=argparse.SUPPRESS, help=text)
    parser.add_argument(
        "--spacing",
        choices=["poisson", "even"],
        default=argparse.SUPPRESS,
        help="of the calls of a rate: as independent callers have it, or even (default: poisson)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    parser.add_argument(
        "--no-ceiling", dest="ceiling", action="store_false", help="do not measure what the benchmark itself can do"
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Let ``parser`` take every option of the configuration, in groups like the tables of the file."""
    add_config(parser, "FILE", "a TOML file")
    adders: dict[str | None, Add] = {None: parser.add_argument}
    for option in OPTIONS:
        section = option.section
        if section is not None and section not in adders:
            about = type(getattr(Config(), section)).__doc__
            adders[section] = parser.add_argument_group(section, about).add_argument
        _add_option(adders[section], option)


def _add_option(add: Add, option: Option) -> None:
    text = option.description.replace("%", "%%")
    if option.default is False:
        form = {"action": argparse.BooleanOptionalAction, "help": text}
    else:
        form = {"metavar": option.metavar, "help": f"{text} (default: {_shown(option.default)})"}
    add(option.flag, dest=option.key, default=argparse.SUPPRESS, **form)


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(default) or "none"
    return f"{default:g}" if isinstance(default, float) else str(default)
