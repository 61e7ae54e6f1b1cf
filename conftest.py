"""Settings of the whole test suite, the core's and the plugins'."""

import os
from collections.abc import Generator
from typing import Any

import pytest

# Potentials are compiled in the tests of that alone: half a minute for each molecule is much for all the others.
os.environ.setdefault("DENSNET_COMPILE", "never")

_ADVICE = "--no-skips: nothing may be skipped here; install what is missing or mend the test"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="report every skipped test or file as a failure")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip(item.config, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip(collector.config, (yield))


def _refuse_skip(config: pytest.Config, report: Any) -> Any:
    # An expected failure is reported as skipped too, but it did run.
    if config.getoption("--no-skips") and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason}\n{_ADVICE}"
    return report
