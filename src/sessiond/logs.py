"""The logs of the command: text for people, JSON lines for collectors. The library itself configures none."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

__all__ = ["JsonFormatter", "TextFormatter", "configure", "escaped"]

_ESCAPES = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004
    for code in (*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029)
} | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Log to ``stream``, by default standard error, from ``level`` on.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        form: ``text``, ``json``, or ``auto``: text if the stream is a terminal.
        stream: where to.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    is_text = form == "text" or (form == "auto" and stream.isatty())
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


def escaped(text: str) -> str:
    """``text`` in one line and without control characters.

    So what callers send can neither forge a line of the log nor command a terminal.
    """
    return text.translate(_ESCAPES)


class TextFormatter(logging.Formatter):
    """A line for people; the lines of a traceback follow indented, so that none can look like another record."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        line = f"{_time(record)} {record.levelname:8} {record.name}: {escaped(record.getMessage())}"
        return "\n    ".join((line, *(escaped(each) for each in _exception(self, record).splitlines())))


class JsonFormatter(logging.Formatter):
    """An object in a line, with ``time``, ``level``, ``logger``, ``message`` and, if there is one, ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if exception := _exception(self, record):
            fields["exception"] = exception
        return json.dumps(fields)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback and the stack of a record, or nothing."""
    exception = formatter.formatException(record.exc_info) if record.exc_info else ""
    stack = formatter.formatStack(record.stack_info) if record.stack_info else ""
    return "\n".join(filter(None, (exception, stack)))
