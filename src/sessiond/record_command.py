"""``sessiond records``: the records of calls, listed for people and exported for programs."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sessiond.call import argument
from sessiond.flags import Add, add_server, add_timeout, command, count
from sessiond.record_output import FORMATS, as_table, format_of
from sessiond.record_pages import export, listed
from sessiond.sources import ConfigError

__all__ = ["add_records"]

_TEXTS = ("type", "gateway", "external_id", "caller", "callee", "direction", "parent", "group")
_LISTS = ("end_reason", "ended_by")
_TIMES = ("ended_after", "ended_before", "created_after", "created_before")

RECORDS_EXAMPLES = """\
The records of calls that have ended, as long as the service keeps them.

examples:
  sessiond records list
  sessiond records export --output calls.csv

sessiond records COMMAND --help tells more of each.
"""

_OF_RECORDS = """\
A TIME is seconds since the epoch, or ISO 8601: 2026-11-23, 2026-11-23T08:00+01:00. Without an offset it is UTC.
"""

LIST_EXAMPLES = f"""\
{_OF_RECORDS}
examples:
  sessiond records list --gateway gw-1 --limit 20
  sessiond records list --end-reason busy --end-reason no_answer --ended-after 2026-11-23
  sessiond records list --metadata account=acc-7

Exit codes: as of sessiond call.
"""

EXPORT_EXAMPLES = f"""\
{_OF_RECORDS}
examples:
  sessiond records export --ended-after 2026-11-01 --ended-before 2026-12-01 --output november.csv
  sessiond records export --format jsonl --gateway gw-1 | gzip > gw-1.jsonl.gz
  sessiond records export --output calls.parquet      # pip install 'sessiond[parquet]'

Without --format the ending of FILE says it: .csv, .jsonl or .parquet. Standard output gets CSV.
FILE is written beside its place, and put there once it is whole.
Exit codes: as of sessiond call; 2 also if FILE cannot be written.
"""


def add_records(add: Add) -> None:
    """Add the command and its own commands to those of the command line."""
    purpose = "List or export the records of calls that have ended."
    records = add(
        "records",
        help=purpose,
        description=purpose,
        epilog=RECORDS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = records.add_subparsers(metavar="COMMAND", required=True).add_parser
    parser = command(add, "list", _list_records, "Print records, the newest first.", LIST_EXAMPLES, "records ")
    parser.add_argument("--limit", metavar="N", type=count(1, 10_000), default=50, help="so many at most (default: 50)")
    parser.add_argument("--order", choices=["asc", "desc"], default="desc", help="by their ends (default: desc)")
    _add_record_options(parser)
    parser = command(add, "export", _export_records, "Write records for other programs.", EXPORT_EXAMPLES, "records ")
    parser.add_argument("--format", choices=FORMATS, help="(default: as FILE ends; csv for standard output)")
    parser.add_argument("--output", metavar="FILE", type=Path, help="where to (default: standard output)")
    _add_record_options(parser)


def _add_record_options(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    add_timeout(parser, 10.0)
    _add_filters(parser.add_argument_group("filters", "All that are given must match.").add_argument)


def _list_records(parsed: argparse.Namespace) -> int:
    query = _filters(parsed) | {"order": parsed.order}
    print(as_table(listed(parsed.server, parsed.timeout, query, parsed.limit)))
    return 0


def _export_records(parsed: argparse.Namespace) -> int:
    form = parsed.format or format_of(parsed.output)
    if form == "parquet" and parsed.output is None and sys.stdout.isatty():
        raise ConfigError("--format parquet is nothing for a terminal: name a file by --output")
    written = export(parsed.server, parsed.timeout, _filters(parsed), form, parsed.output)
    print(f"{written:,} {'record' if written == 1 else 'records'}", file=sys.stderr)
    return 0


def _add_filters(add: Add) -> None:
    """Let a command take the filters of ``list_records``, by their names."""
    for name in _TEXTS:
        add(f"--{_flag(name)}", metavar="TEXT", default=argparse.SUPPRESS, help="exactly")
    for name in _LISTS:
        add(f"--{_flag(name)}", metavar="TEXT", action="append", default=argparse.SUPPRESS, help="any of these")
    add(
        "--metadata", metavar="KEY=VALUE", type=_pair, action="append", default=argparse.SUPPRESS,
        help="with this value, which is JSON or else text; null is without the key",
    )  # fmt: skip
    for name in _TIMES:
        bound = "at or after it" if name.endswith("after") else "before it"
        add(f"--{_flag(name)}", metavar="TIME", type=_moment, default=argparse.SUPPRESS, help=bound)


def _filters(parsed: argparse.Namespace) -> dict[str, Any]:
    """The filters among the flags."""
    given = {name: value for name, value in vars(parsed).items() if name in {*_TEXTS, *_LISTS, *_TIMES}}
    return given | ({"metadata": dict(parsed.metadata)} if "metadata" in parsed else {})


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, not {text!r}")
    try:
        return key, argument(value)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _moment(text: str) -> float:
    """The epoch seconds of a time: what it says, or those of a date or time of ISO 8601, by default in UTC."""
    with contextlib.suppress(ValueError):
        if math.isfinite(seconds := float(text)):
            return seconds
    with contextlib.suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    raise argparse.ArgumentTypeError(f"must be seconds since the epoch or ISO 8601, not {text!r}")
