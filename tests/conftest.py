"""Shared by all tests: `--no-skips` turns a skip into a failure, for machines where everything is installed."""

from __future__ import annotations

import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a shell: children would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--no-skips`."""
    parser.addoption("--no-skips", action="store_true", help="a skipped test counts as failed")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With `--no-skips`, report a skip as the failure that it is there."""
    outcome = yield
    report = outcome.get_result()
    if item.config.getoption("--no-skips") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where a skip is a failure: {report.longrepr}"
