"""The bases of this repository pass the suite that everybody's pass."""

from __future__ import annotations

from typing import Any

from densnet_core.basis.base import BasisProvider
from densnet_core.basis.library import DenSNetL, DenSNetM, DenSNetS
from densnet_core.testing.basis import BasisTests


class TestSmall(BasisTests):
    def make_basis(self, **options: Any) -> BasisProvider:
        return DenSNetS()


class TestMedium(BasisTests):
    def make_basis(self, **options: Any) -> BasisProvider:
        return DenSNetM()


class TestLarge(BasisTests):
    def make_basis(self, **options: Any) -> BasisProvider:
        return DenSNetL()
