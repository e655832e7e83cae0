"""What several commands of the command line take, and how each is made."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from sessiond.config import Config

__all__ = [
    "Add",
    "Parser",
    "add_config",
    "add_server",
    "add_timeout",
    "command",
    "count",
    "rate",
    "seconds",
    "seconds_or_0",
]

Add: TypeAlias = Callable[..., Any]
"""A method of argparse that adds something, and takes more arguments than are worth spelling out."""

TAKES = {"call": " METHOD [ARG...]", "backup": " FILE", "check": " [PATH]"}
"""What commands take beside options."""


class Parser(argparse.ArgumentParser):
    """Its commands refuse what they do not know themselves, and show their own usage.

    argparse would hand it up to the parser of all commands, whose usage has no option of any.
    """

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """See argparse; what is unknown is an error."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown


def command(
    add: Add, name: str, run: Callable[[argparse.Namespace], int], purpose: str, epilog: str, within: str = ""
) -> argparse.ArgumentParser:
    """The parser of a command, of the group ``within`` if that is given: ``run`` does what it is told to."""
    parser: argparse.ArgumentParser = add(
        name,
        help=purpose,
        description=purpose,
        epilog=epilog,
        usage=f"sessiond {within}{name} [OPTION...]{TAKES.get(name, '')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def add_config(parser: argparse.ArgumentParser, metavar: str, purpose: str) -> None:
    """Let a command be told where the configuration of the service is."""
    parser.add_argument(
        "--config",
        metavar=metavar,
        type=Path,
        default=os.environ.get("SESSIOND_CONFIG"),
        help=f"{purpose} (default: $SESSIOND_CONFIG, else none)",
    )


def add_server(parser: argparse.ArgumentParser) -> None:
    """Let a command be told where the service is."""
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=os.environ.get("SESSIOND_SERVER", Config().listen),
        help=f"where the service listens (default: $SESSIOND_SERVER, else {Config().listen})",
    )


def add_timeout(parser: argparse.ArgumentParser, default: float) -> None:
    """Let a command be told how many seconds an answer may take."""
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=default, help="for an answer (default: %(default)s)"
    )


def count(least: int, most: int | None = None) -> Callable[[str], int]:
    """What reads a whole number within these bounds."""
    bounds = f"from {least:,}" if most is None else f"from {least:,} to {most:,}"

    def parse(text: str) -> int:
        with contextlib.suppress(ValueError):
            if least <= (value := int(text)) and (most is None or value <= most):
                return value
        raise argparse.ArgumentTypeError(f"must be a whole number {bounds}, not {text!r}")

    return parse


def rate(text: str) -> float:
    """Reads a number per second."""
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"must be a number per second above 0, not {text!r}")


def seconds_or_0(text: str) -> float:
    """Reads a time that may be none."""
    return 0.0 if text == "0" else seconds(text)


def seconds(text: str) -> float:
    """Reads a time."""
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"must be seconds above 0, not {text!r}")
