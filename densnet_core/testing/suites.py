"""What the conformance suites have in common, and how one is run on an installed component.

A suite is a class of pytest tests. Plugin authors subclass it in a test file of their own; ``densnet plugins check``
runs it without one. Which suite a kind has is said by its ``KindDescription``.
"""

from __future__ import annotations

import sys
import tempfile
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import pytest

from densnet_core.errors import InputError
from densnet_core.options import Options
from densnet_core.plugins.component import Component
from densnet_core.plugins.manager import Manager

MakeOptions = Callable[..., Options]
"""From single options, by keyword, to the validated options of a component; the others are as the user gave them."""


class ConformanceSuite(ABC):
    """Base of the suites. A subclass of a suite gives one method, which makes the object under test."""

    maker: ClassVar[str]
    """Name of that method, for example ``"make_sampler"``; it takes what stands before the options, and options."""

    @classmethod
    def of_component(cls, target: type[Any], make_options: MakeOptions) -> type[ConformanceSuite]:
        """The suite of a component's class, which is made with its validated options as last argument."""

        def make(self: ConformanceSuite, *arguments: Any, **options: Any) -> Any:
            return target(*arguments, make_options(**options))

        return type(cls.__name__, (cls,), {cls.maker: make, "__module__": cls.__module__})


@dataclass(frozen=True)
class Finding:
    """What came of one test.

    Parameters
    ----------
    test : str
        Its name, with the parameters in brackets.
    outcome : {"passed", "failed", "skipped"}
    detail : str
        Why it failed or was skipped, one line.
    report : str
        The whole report of a failure.
    """

    test: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""
    report: str = ""


def suite_of(
    manager: Manager, component: Component, table: Mapping[str, Any] | None = None
) -> type[ConformanceSuite] | None:
    """The suite of an installed component; None if its kind has none.

    Parameters
    ----------
    manager : Manager
    component : Component
    table : mapping or None
        Options, as read from TOML; None: the defaults.

    Raises
    ------
    PluginError
        The component or the suite cannot be loaded.
    ConfigError
        The options are not the component's.
    """
    kind = manager.kinds()[component.kind]
    if kind.suite is None:
        return None
    suite: type[ConformanceSuite] = manager.load_target(kind.suite, f"suite of the kind {kind.name!r}")
    given = dict(table or {})

    def make_options(**options: Any) -> Options:
        return manager.options(component, given | options, f"{component.kind} {component.name}", base=Path.cwd())

    make_options()
    return suite.of_component(manager.load(component), make_options)


_RUNNING: list[type[ConformanceSuite]] = []
_MODULE: Final = "from densnet_core.testing.suites import running\n\nTestSuite = running()\n"


def running() -> type[ConformanceSuite]:
    """The suite that ``run_suite`` runs at the moment; the module that it gives to pytest asks for it."""
    return _RUNNING[-1]


def run_suite(
    suite: type[ConformanceSuite], on_finding: Callable[[Finding], None] = lambda _: None, test: str = ""
) -> list[Finding]:
    """Run the tests of a suite in this process.

    Parameters
    ----------
    suite : type
        With the method that makes the object under test.
    on_finding : callable
        Told each finding as it comes.
    test : str
        Name of the only test to run, with its parameters in brackets; empty: all.

    Raises
    ------
    InputError
        The suite is incomplete, or pytest found no test in it.
    """
    missing: frozenset[str] = getattr(suite, "__abstractmethods__", frozenset())
    if missing:
        raise InputError(f"The suite {suite.__name__} lacks {' and '.join(sorted(missing))}.")
    collector = _Collector(on_finding)
    with tempfile.TemporaryDirectory(prefix="densnet_check_") as folder:
        file = Path(folder, f"test_{Path(folder).name}.py")  # another name every time: modules are kept by theirs
        file.write_text(_MODULE, encoding="utf-8")
        settings = Path(folder, "pytest.ini")
        settings.write_text("[pytest]\n", encoding="utf-8")
        quiet = ["-p", "no:terminal", "-p", "no:cacheprovider", "--import-mode=importlib"]
        _RUNNING.append(suite)
        try:
            pytest.main(
                [*quiet, "-c", str(settings), f"{file}::TestSuite" + (f"::{test}" if test else "")],
                plugins=[collector],
            )
        finally:
            _RUNNING.pop()
            sys.modules.pop(file.stem, None)
    if not collector.findings:
        raise InputError(f"pytest found no test in the suite {suite.__name__}.")
    return collector.findings


def _place(report: pytest.TestReport) -> str:
    """The innermost file and line of a failure, in brackets; code without a file, as of dataclasses, says nothing."""
    entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", ())
    places = [place for entry in entries if (place := getattr(entry, "reprfileloc", None)) is not None]
    files = [f" ({Path(place.path).name}:{place.lineno})" for place in places if place.path.endswith(".py")]
    return files[-1] if files else ""


class _Collector:
    """A plugin of pytest that keeps what came of each test."""

    def __init__(self, on_finding: Callable[[Finding], None]) -> None:
        self.findings: list[Finding] = []
        self._tell = on_finding

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._add(Finding("collection", "failed", str(report.longrepr), str(report.longrepr)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message if crash is not None else str(report.longrepr)
            said = " ".join([line.strip() for line in reason.splitlines() if line.strip()][:2])
            self._add(Finding(name, "failed", said + _place(report), report.longreprtext))
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._add(Finding(name, "skipped", reason.removeprefix("Skipped: ")))
        elif report.when == "call":
            self._add(Finding(name, "passed"))

    def _add(self, finding: Finding) -> None:
        self.findings.append(finding)
        self._tell(finding)
