"""The suites catch the mistakes they exist for: each broken implementation beside them fails the test named."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from densnet_core.errors import InputError
from densnet_core.testing.basis import BasisTests
from densnet_core.testing.executor import ExecutorTests
from densnet_core.testing.sampler import SamplerTests
from densnet_core.testing.suites import ConformanceSuite, run_suite

sys.path.insert(0, str(Path(__file__).parent / "broken"))
import bases
import executors
import samplers


def sampler_suite(target: type[Any]) -> type[ConformanceSuite]:
    model = samplers.OptionsWithoutSeed if target is samplers.HasNoSeed else samplers.RattleOptions
    return SamplerTests.of_component(target, lambda **options: model(**options))


def executor_suite(target: type[Any]) -> type[ConformanceSuite]:
    made = target()  # one for all tests, as a plugin with workers that stay would have it
    return ExecutorTests.of_component(target if target is not executors.WorksOnce else lambda _: made, lambda: None)


def basis_suite(target: type[Any]) -> type[ConformanceSuite]:
    return BasisTests.of_component(target, lambda: None)


CASES = [
    *((sampler_suite, target, test) for target, test in samplers.BROKEN.items()),
    *((executor_suite, target, test) for target, test in executors.BROKEN.items()),
    *((basis_suite, target, test) for target, test in bases.BROKEN.items()),
]


@pytest.mark.parametrize(("suite", "target", "test"), CASES, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_implementation_fails_the_test_named(suite, target, test):
    (finding,) = run_suite(suite(target), test=test)
    assert (finding.test, finding.outcome) == (test, "failed")
    assert re.search(r"\S.* \(\w+\.py:\d+\)$", finding.detail), finding.detail  # what was said, and where


@pytest.mark.parametrize(
    ("suite", "target"),
    [(sampler_suite, samplers.Rattle), (executor_suite, executors.Working), (basis_suite, bases.Small)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_same_without_the_mistake_passes(suite, target):
    told = []
    findings = run_suite(suite(target), told.append)
    assert findings == told
    assert [finding for finding in findings if finding.outcome != "passed"] == []


def test_an_incomplete_suite_and_one_without_tests_are_refused():
    with pytest.raises(InputError, match="lacks make_sampler"):
        run_suite(SamplerTests)
    with pytest.raises(InputError, match="no test in the suite ConformanceSuite"):
        run_suite(ConformanceSuite)
