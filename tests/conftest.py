"""What every test room shares: tests that need a program, and how loudly a skip is told.

A skip is for a developer's machine without one of the programs. Where all of them must be there, as in CI, the
environment has NO_SKIPPED_TESTS=1 and a skipped test is a failed one.
"""

from __future__ import annotations

import os
import shutil

import hypothesis
import pytest

# The same examples every time, and no deadline: a busy machine is no failure.
hypothesis.settings.register_profile("sessiond", derandomize=True, deadline=None)
hypothesis.settings.load_profile("sessiond")

NO_SKIPS = os.environ.get("NO_SKIPPED_TESTS") == "1"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked ``needs(program, ...)`` where one of them is missing."""
    for marker in item.iter_markers("needs"):
        missing = [program for program in marker.args if shutil.which(program) is None]
        if missing:
            pytest.skip(f"{', '.join(missing)} not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> pytest.TestReport:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> pytest.CollectReport:
    return _refuse_skip((yield))


def _refuse_skip(report):
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which NO_SKIPPED_TESTS forbids: {_reason(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell which tests did not run, and why."""
    skipped = terminalreporter.getreports("skipped")
    if skipped:
        terminalreporter.section("THESE TESTS DID NOT RUN", sep="!", red=True, bold=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {_reason(report)}")


def _reason(report) -> str:
    """The reason of a skip: the last of (path, line, "Skipped: reason")."""
    return report.longrepr[-1].removeprefix("Skipped: ")
