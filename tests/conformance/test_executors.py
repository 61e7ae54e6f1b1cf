"""The executors of this repository pass the suite that everybody's pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from densnet_parsl.config import ParslOptions
from densnet_parsl.executor import ParslExecutor

from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.executors import Executor
from densnet_core.reference.local import LocalExecutor
from densnet_core.testing.executor import ExecutorTests


class TestLocal(ExecutorTests):
    def make_executor(self, **options: Any) -> Executor:
        return LocalExecutor(LocalExecutorOptions(workers=2, **options))


class TestParsl(ExecutorTests):
    made: ClassVar[ParslExecutor]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _closed_in_the_end(cls) -> Iterator[None]:
        cls.made = ParslExecutor(ParslOptions(workers=2))
        yield
        cls.made.close()

    def make_executor(self, **options: Any) -> Executor:
        return self.made
