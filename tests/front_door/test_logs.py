"""The logs of the command: one line a record, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond import logs

NASTY = "x\n2026-01-01T00:00:00.000Z ERROR root: forged\r\x1b[2J\u2028\x9b"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def unchanged():
    """Leave logging as pytest has it."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers = []
    yield
    root.setLevel(level)
    root.handlers = handlers
    logging.captureWarnings(capture=False)


def logged(form, log, stream=None, level="info"):
    """What ``log``, called with a logger, leaves in the stream."""
    stream = stream or io.StringIO()
    logs.configure(level, form, stream)
    log(logging.getLogger("sessiond.test"))
    return stream.getvalue()


def fail(logger):
    try:
        int(NASTY)
    except ValueError:
        logger.exception("It failed")


def test_json_has_an_object_a_line():
    line = logged("json", lambda logger: logger.warning("Closed %s", "a\nb"))
    record = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record == {"level": "warning", "logger": "sessiond.test", "message": "Closed a\nb"}
    assert line.count("\n") == 1


def test_json_holds_the_traceback():
    line = logged("json", fail)
    assert line.count("\n") == 1
    assert json.loads(line)["exception"].startswith("Traceback (most recent call last)")


def test_json_holds_the_stack():
    line = logged("json", lambda logger: logger.info("Here", stack_info=True))
    assert json.loads(line)["exception"].startswith("Stack (most recent call last)")


def test_text_is_a_line_for_people():
    line = logged("text", lambda logger: logger.info("Draining on %s", "SIGTERM"))
    assert re.fullmatch(r"\S+Z INFO     sessiond\.test: Draining on SIGTERM\n", line)


def test_nothing_that_is_logged_can_look_like_another_record():
    """Neither a value nor an exception's text begins a line, nor commands the terminal."""
    text = logged("text", lambda logger: (logger.info("%s", NASTY), fail(logger)))
    lines = text.removesuffix("\n").split("\n")
    assert [line for line in lines if not line.startswith("    ")] == [lines[0], lines[1]]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", text)


@given(st.text())
def test_what_is_escaped_is_one_printable_line(text):
    assert len(logs.escaped(text).splitlines()) <= 1
    assert not any(character < " " for character in logs.escaped(text))


@pytest.mark.parametrize(("stream", "is_text"), [(Terminal(), True), (io.StringIO(), False)])
def test_auto_is_text_on_a_terminal_and_json_otherwise(stream, is_text):
    line = logged("auto", lambda logger: logger.info("Hello"), stream)
    assert line.startswith("{") is not is_text


def test_what_is_less_severe_is_left_out():
    assert logged("json", lambda logger: logger.info("Hello"), level="warning") == ""
    assert "Hello" in logged("json", lambda logger: logger.debug("Hello"), level="debug")


def test_warnings_are_logged_too():
    """A line that is not JSON among JSON lines breaks who reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        line = logged("json", lambda _: warnings.warn("old", stacklevel=1))
    assert "old" in json.loads(line)["message"]


def test_the_library_configures_no_logging():
    script = (
        "import logging, sessiond; registry = sessiond.start(); sessiond.stop(registry)\n"
        "loggers = [logging.getLogger(name) for name in (None, *logging.root.manager.loggerDict)]\n"
        "assert not any(logger.handlers for logger in loggers if logger.name.startswith(('root', 'sessiond')))\n"
        "assert logging.getLogger('sessiond').level == logging.NOTSET"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
